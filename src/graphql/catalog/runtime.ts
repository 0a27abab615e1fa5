import { builder } from "../kit/builder.ts";
import { RuntimeType } from "../kit/enums.ts";
import { byEnum, byOwnId, byText, byTime } from "../kit/filter.ts";
import { RuntimeTypeFilter } from "../kit/filter-inputs.ts";
import { defineList } from "../kit/list.ts";
import { addRootFields } from "../kit/root.ts";
import { byWords } from "../kit/text-filter.ts";
import { actions } from "./action.ts";
import { sensors } from "./sensor.ts";
import { workers } from "./worker.ts";

/** An interpreter. */
export const Runtime = builder.drizzleNode("runtimes", {
  name: "Runtime",
  description: "An interpreter that actions or sensors run in.",
  id: { column: (runtime) => runtime.id },
  select: { columns: { id: true } },
  fields: (t) => ({
    ref: t.exposeString("ref", {
      description: "Its unique name: `pack.action.name` or `pack.sensor.name`.",
    }),
    packRef: t.exposeString("packRef", { nullable: true, description: "The ref of the pack that defines it." }),
    name: t.exposeString("name", { description: "Its display name." }),
    description: t.exposeString("description", { nullable: true, description: "What it is." }),
    runtimeType: t.expose("runtimeType", { type: RuntimeType, description: "The kind of entity that runs in it." }),
    distributions: t.expose("distributions", {
      type: "JSONObject",
      description: "How a worker checks that it has the interpreter.",
    }),
    installation: t.expose("installation", {
      type: "JSONObject",
      nullable: true,
      description: "How an environment for a pack is built.",
    }),
    created: t.expose("created", { type: "DateTime", description: "When it was created." }),
    updated: t.expose("updated", {
      type: "DateTime",
      description: "When it last changed. Pass it as `expectedUpdated` to update only the version that you read.",
    }),
    pack: t.relation("pack", { nullable: true, description: "The pack that defines it." }),
    actions: t.relatedConnection("actions", actions.related("The actions that run in it."), actions.connection),
    sensors: t.relatedConnection("sensors", sensors.related("The sensors that run in it."), sensors.connection),
    workers: t.relatedConnection(
      "workers",
      workers.related("The workers that are reserved for it."),
      workers.connection,
    ),
  }),
});

/** Lists of runtimes: filters, orders and connection. */
export const runtimes = defineList("Runtime", "runtimes", {
  ref: Runtime,
  where: {
    id: byOwnId("Runtime", "The runtime itself."),
    ref: byText("ref", "Its ref."),
    pack: byText("packRef", "The ref of the pack that defines it."),
    name: byText("name", "Its name."),
    description: byText("description", "Its description."),
    text: byWords(["ref", "name", "description"]),
    runtimeType: byEnum(RuntimeTypeFilter, "runtimeType", "The kind of entity that runs in it."),
    created: byTime("created", "When it was created."),
    updated: byTime("updated", "When it last changed."),
  },
  order: { ref: "Its ref.", name: "Its name.", created: "When it was created.", updated: "When it last changed." },
  defaultOrder: ["ref", "asc"],
});

addRootFields({
  table: "runtimes",
  name: "Runtime",
  one: "runtime",
  many: "runtimes",
  ref: Runtime,
  list: runtimes,
  hasRef: true,
});
