import { sql } from "drizzle-orm";
import { parametersOf } from "../../schema/fields.ts";
import { hideSecrets } from "../../secrecy/settings.ts";
import { events } from "../event/event.ts";
import { builder } from "../kit/builder.ts";
import { byFlag, byId, byOwnId, byText, byTime } from "../kit/filter.ts";
import { defineList } from "../kit/list.ts";
import { addRootFields } from "../kit/root.ts";
import { byWords } from "../kit/text-filter.ts";
import { SensorProcess } from "./sensor-process.ts";
import { triggers } from "./trigger.ts";

/** A program that watches something. */
export const Sensor = builder.drizzleNode("sensors", {
  name: "Sensor",
  description: "A program that watches something and emits events of its triggers.",
  id: { column: (sensor) => sensor.id },
  select: { columns: { id: true } },
  fields: (t) => ({
    ref: t.exposeString("ref", { description: "Its unique name: `pack.name`." }),
    packRef: t.exposeString("packRef", { nullable: true, description: "The ref of its pack." }),
    label: t.exposeString("label", { description: "Its display name." }),
    description: t.exposeString("description", { nullable: true, description: "What it watches." }),
    entrypoint: t.exposeString("entrypoint", { description: "The entrypoint: a file of its pack." }),
    runtimeRef: t.exposeString("runtimeRef", { description: "The ref of its runtime." }),
    enabled: t.exposeBoolean("enabled", { description: "Whether it may run." }),
    isAdhoc: t.exposeBoolean("isAdhoc", {
      description: "Whether it was created by hand rather than loaded from a pack's files.",
    }),
    paramSchema: t.expose("paramSchema", {
      type: "JSONObject",
      nullable: true,
      description: "Its settings, by name: type, default, limits.",
    }),
    config: t.field({
      type: "JSONObject",
      nullable: true,
      description: "The values of its settings; secret ones are hidden.",
      select: { columns: { config: true, paramSchema: true } },
      resolve: ({ config, paramSchema }) => config && hideSecrets(parametersOf(paramSchema ?? {}), config),
    }),
    created: t.expose("created", { type: "DateTime", description: "When it was created." }),
    updated: t.expose("updated", {
      type: "DateTime",
      description: "When it last changed. Pass it as `expectedUpdated` to update only the version that you read.",
    }),
    pack: t.relation("pack", { nullable: true, description: "Its pack." }),
    runtime: t.relation("runtime", { nullable: true, description: "The runtime that it runs in." }),
    process: t.relation("process", {
      type: SensorProcess,
      nullable: true,
      description: "Its process; null if it has never been started.",
    }),
    triggers: t.relatedConnection(
      "triggers",
      triggers.related("The triggers whose events it emits."),
      triggers.connection,
    ),
    events: t.relatedConnection("events", events.related("The events that it emitted."), events.connection),
  }),
});

/** Lists of sensors: filters, orders and connection. */
export const sensors = defineList("Sensor", "sensors", {
  ref: Sensor,
  where: {
    id: byOwnId("Sensor", "The sensor itself."),
    ref: byText("ref", "Its ref."),
    pack: byText("packRef", "The ref of its pack."),
    label: byText("label", "Its label."),
    description: byText("description", "Its description."),
    text: byWords(["ref", "label", "description"]),
    runtime: byText("runtimeRef", "The ref of its runtime."),
    trigger: {
      ...byId("Trigger", () => sql`of_sensor.id`, "A trigger whose events it emits."),
      some: (sensor, passes) =>
        sql`exists (select from attune.trigger of_sensor where of_sensor.sensor = ${sensor["id"]} and ${passes})`,
    },
    enabled: byFlag("enabled", "Whether it may run."),
    isAdhoc: byFlag("isAdhoc", "Whether it was created by hand."),
    created: byTime("created", "When it was created."),
    updated: byTime("updated", "When it last changed."),
  },
  order: { ref: "Its ref.", label: "Its label.", created: "When it was created.", updated: "When it last changed." },
  defaultOrder: ["ref", "asc"],
});

addRootFields({
  table: "sensors",
  name: "Sensor",
  one: "sensor",
  many: "sensors",
  ref: Sensor,
  list: sensors,
  hasRef: true,
});
