import { may, targetOf } from "../../access/grants.ts";
import { events } from "../event/event.ts";
import { builder } from "../kit/builder.ts";
import { byFlag, byOwnId, byText, byTime } from "../kit/filter.ts";
import { defineList } from "../kit/list.ts";
import { addRootFields } from "../kit/root.ts";
import { byWords } from "../kit/text-filter.ts";
import { rules } from "../rule/rule.ts";
import { Webhook, webhookColumns, webhookOf } from "./webhook.ts";
import { deliveries } from "./webhook-delivery.ts";

/** Returns the path on this server that accepts requests to a webhook. */
export const webhookPath = (key: string) => `/webhooks/${key}`;

/** A kind of event. */
export const Trigger = builder.drizzleNode("triggers", {
  name: "Trigger",
  description: "A kind of event. It defines the parameters of its rules and the payloads of its events.",
  id: { column: (trigger) => trigger.id },
  select: { columns: { id: true } },
  fields: (t) => ({
    ref: t.exposeString("ref", { description: "Its unique name: `pack.name`." }),
    packRef: t.exposeString("packRef", { nullable: true, description: "The ref of its pack." }),
    label: t.exposeString("label", { description: "Its display name." }),
    description: t.exposeString("description", { nullable: true, description: "What it represents." }),
    enabled: t.exposeBoolean("enabled", { description: "Whether it accepts events." }),
    isAdhoc: t.exposeBoolean("isAdhoc", {
      description: "Whether it was created by hand rather than loaded from a pack's files.",
    }),
    paramSchema: t.expose("paramSchema", {
      type: "JSONObject",
      nullable: true,
      description: "The parameters that its rules provide, by name.",
    }),
    outSchema: t.expose("outSchema", {
      type: "JSONObject",
      nullable: true,
      description: "What the payloads of its events contain, by name.",
    }),
    sensorRef: t.exposeString("sensorRef", {
      nullable: true,
      description: "The ref of the sensor that emits its events.",
    }),
    webhookEnabled: t.exposeBoolean("webhookEnabled", {
      description: "Whether requests to its webhook become events.",
    }),
    webhookPath: t.string({
      nullable: true,
      description:
        "The path on this server where its webhook accepts requests. Treat it as a secret. Null if the webhook is disabled or you may not update the trigger.",
      select: { columns: { ref: true, webhookEnabled: true, webhookKey: true } },
      resolve: ({ ref, webhookEnabled, webhookKey }, _args, { session }) =>
        webhookEnabled && webhookKey && session && may(session, "trigger", "update", targetOf(ref))
          ? webhookPath(webhookKey)
          : null,
    }),
    webhook: t.field({
      type: Webhook,
      nullable: true,
      description: "How its webhook is configured, enabled or not; null if it was never enabled.",
      select: { columns: webhookColumns },
      resolve: webhookOf,
    }),
    created: t.expose("created", { type: "DateTime", description: "When it was created." }),
    updated: t.expose("updated", {
      type: "DateTime",
      description: "When it last changed. Pass it as `expectedUpdated` to update only the version that you read.",
    }),
    pack: t.relation("pack", { nullable: true, description: "Its pack." }),
    sensor: t.relation("sensor", { nullable: true, description: "The sensor that emits its events, if any." }),
    rules: t.relatedConnection("rules", rules.related("Its rules."), rules.connection),
    events: t.relatedConnection("events", events.related("Its events."), events.connection),
    webhookDeliveries: t.relatedConnection(
      "deliveries",
      deliveries.related(
        "The requests to its webhook: those of seven days, of refused ones 100 in an hour; signed ones that only their id shows to be repeated are kept for longer.",
      ),
      deliveries.connection,
    ),
  }),
});

/** Lists of triggers: filters, orders and connection. */
export const triggers = defineList("Trigger", "triggers", {
  ref: Trigger,
  where: {
    id: byOwnId("Trigger", "The trigger itself."),
    ref: byText("ref", "Its ref."),
    pack: byText("packRef", "The ref of its pack."),
    label: byText("label", "Its label."),
    description: byText("description", "Its description."),
    text: byWords(["ref", "label", "description"]),
    enabled: byFlag("enabled", "Whether it accepts events."),
    isAdhoc: byFlag("isAdhoc", "Whether it was created by hand."),
    webhookEnabled: byFlag("webhookEnabled", "Whether its webhook accepts requests."),
    sensor: byText("sensorRef", "The ref of the sensor that emits its events."),
    created: byTime("created", "When it was created."),
    updated: byTime("updated", "When it last changed."),
  },
  order: { ref: "Its ref.", label: "Its label.", created: "When it was created.", updated: "When it last changed." },
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
