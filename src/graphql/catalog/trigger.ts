import { may, targetOf } from "../../access/grants.ts";
import { events } from "../event/event.ts";
import { builder } from "../kit/builder.ts";
import { byFlag, byId, byText, byTime } from "../kit/filter.ts";
import { defineList } from "../kit/list.ts";
import { addRootFields } from "../kit/root.ts";
import { byWords } from "../kit/text-filter.ts";
import { rules } from "../rule/rule.ts";

/** Where requests to a webhook go, on this server. */
export const webhookPath = (key: string) => `/webhooks/${key}`;

/** A kind of event. */
export const Trigger = builder.drizzleNode("triggers", {
  name: "Trigger",
  description: "A kind of event: what rules on it configure, and what its events carry.",
  id: { column: (trigger) => trigger.id },
  select: { columns: { id: true } },
  fields: (t) => ({
    ref: t.exposeString("ref", { description: "Its name in the whole system: `pack.name`." }),
    packRef: t.exposeString("packRef", { nullable: true, description: "The ref of its pack." }),
    label: t.exposeString("label", { description: "Its name for people." }),
    description: t.exposeString("description", { nullable: true, description: "What it stands for." }),
    enabled: t.exposeBoolean("enabled", { description: "Whether it takes events." }),
    isAdhoc: t.exposeBoolean("isAdhoc", { description: "Whether a person made it, rather than a pack's files." }),
    paramSchema: t.expose("paramSchema", {
      type: "JSONObject",
      nullable: true,
      description: "The parameters that a rule on it gives, by name.",
    }),
    outSchema: t.expose("outSchema", {
      type: "JSONObject",
      nullable: true,
      description: "What its events' payloads hold, by name.",
    }),
    sensorRef: t.exposeString("sensorRef", {
      nullable: true,
      description: "The ref of the sensor that watches for it.",
    }),
    webhookEnabled: t.exposeBoolean("webhookEnabled", {
      description: "Whether requests to its webhook become events.",
    }),
    webhookPath: t.string({
      nullable: true,
      description:
        "Where its webhook takes requests: whoever knows it may try to send. Null until it is enabled, and for those who may not change the trigger.",
      select: { columns: { ref: true, webhookEnabled: true, webhookKey: true } },
      resolve: ({ ref, webhookEnabled, webhookKey }, _args, { session }) =>
        webhookEnabled && webhookKey && session && may(session, "trigger", "update", targetOf(ref))
          ? webhookPath(webhookKey)
          : null,
    }),
    created: t.expose("created", { type: "DateTime", description: "When it was made." }),
    updated: t.expose("updated", {
      type: "DateTime",
      description: "When it last changed; give it as `expectedUpdated` to change only what you have read.",
    }),
    pack: t.relation("pack", { nullable: true, description: "Its pack." }),
    sensor: t.relation("sensor", { nullable: true, description: "The sensor that watches for it, if one does." }),
    rules: t.relatedConnection("rules", rules.related("The rules on it."), rules.connection),
    events: t.relatedConnection("events", events.related("Its events."), events.connection),
  }),
});

/** Triggers, wherever they are listed. */
export const triggers = defineList("Trigger", "triggers", {
  ref: Trigger,
  where: {
    id: byId("Trigger", "id", "The trigger itself."),
    ref: byText("ref", "Its ref."),
    pack: byText("packRef", "The ref of its pack."),
    label: byText("label", "Its label."),
    description: byText("description", "Its description."),
    text: byWords(["ref", "label", "description"]),
    enabled: byFlag("enabled", "Whether it takes events."),
    isAdhoc: byFlag("isAdhoc", "Whether a person made it."),
    webhookEnabled: byFlag("webhookEnabled", "Whether it has a webhook that takes requests."),
    sensor: byText("sensorRef", "The ref of the sensor that watches for it."),
    created: byTime("created", "When it was made."),
    updated: byTime("updated", "When it last changed."),
  },
  order: { ref: "Its ref.", label: "Its label.", created: "When it was made.", updated: "When it last changed." },
  defaultOrder: ["ref", "asc"],
});

addRootFields({
  table: "triggers",
  name: "Trigger",
  one: "trigger",
  many: "triggers",
  ref: Trigger,
  list: triggers,
  hasRef: true,
});
