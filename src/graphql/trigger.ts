import { createTrigger, enableWebhook } from "../event/trigger.ts";
import { builder } from "./builder.ts";
import { HmacAlgorithm } from "./enums.ts";
import { events } from "./event.ts";
import { byFlag, byId, byText, byTime } from "./filter.ts";
import { defineList } from "./list.ts";
import { refusable } from "./refusals.ts";
import { addRootFields } from "./root.ts";
import { rules } from "./rule.ts";

const webhookPath = (key: string) => `/webhooks/${key}`;

const Trigger = builder.drizzleNode("triggers", {
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
      description: "Where its webhook takes requests; null until it is enabled. Whoever knows it may try to send.",
      select: { columns: { webhookEnabled: true, webhookKey: true } },
      resolve: ({ webhookEnabled, webhookKey }) => (webhookEnabled && webhookKey ? webhookPath(webhookKey) : null),
    }),
    created: t.expose("created", { type: "DateTime", description: "When it was made." }),
    updated: t.expose("updated", { type: "DateTime", description: "When it last changed." }),
    pack: t.relation("pack", { nullable: true, description: "Its pack." }),
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
    enabled: byFlag("enabled", "Whether it takes events."),
    isAdhoc: byFlag("isAdhoc", "Whether a person made it."),
    webhookEnabled: byFlag("webhookEnabled", "Whether it has a webhook that takes requests."),
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

const CreateTriggerInput = builder.inputType("CreateTriggerInput", {
  description: "A trigger to make.",
  fields: (t) => ({
    ref: t.string({
      required: true,
      description: "Its ref, `pack.name`; the pack must exist (`default` always does).",
    }),
    label: t.string({ description: "Its name for people; its ref when left out." }),
    description: t.string({ description: "What it stands for." }),
    enabled: t.boolean({ description: "Whether it takes events; true unless said otherwise." }),
    paramSchema: t.field({ type: "JSONObject", description: "The parameters that a rule on it gives, by name." }),
    outSchema: t.field({
      type: "JSONObject",
      description: "What its events' payloads must hold, by name; anything when left out.",
    }),
  }),
});

builder.mutationField("createTrigger", (t) =>
  t.withAuth({ may: "trigger:create" }).drizzleField({
    type: Trigger,
    nullable: true,
    description: "Makes a trigger.",
    args: { input: t.arg({ type: CreateTriggerInput, required: true, description: "The trigger." }) },
    errors: refusable("trigger", "The new trigger."),
    resolve: async (query, _root, { input }, ctx) => {
      const { id } = await createTrigger(ctx.engine, ctx.session, input);
      return await ctx.written.query.triggers.findFirst(query({ where: { id } }));
    },
  }),
);

const WebhookHmacInput = builder.inputType("WebhookHmacInput", {
  description: "How requests to a webhook are signed.",
  fields: (t) => ({
    secret: t.string({
      required: true,
      description: "The secret that the sender signs with; stored encrypted, never shown.",
    }),
    algorithm: t.field({ type: HmacAlgorithm, description: "The hash; SHA256 unless said otherwise." }),
    header: t.string({ description: "The header with the signature; `x-hub-signature-256` unless said otherwise." }),
    prefix: t.string({
      description: "What stands before the signature; `sha256=` or `sha512=` unless said otherwise.",
    }),
  }),
});

const EnableWebhookInput = builder.inputType("EnableWebhookInput", {
  description: "A webhook to give to a trigger.",
  fields: (t) => ({
    trigger: t.string({ required: true, description: "The trigger's ref." }),
    hmac: t.field({
      type: WebhookHmacInput,
      description: "How requests are signed; when left out, any request is taken.",
    }),
    maxBytes: t.int({ description: "The largest body taken, in bytes; 1 MiB unless said otherwise, at most 25 MiB." }),
    deliveryHeader: t.string({
      description:
        "The header that names a delivery, so that a repeated one is taken once; `x-github-delivery` unless said otherwise.",
    }),
  }),
});

const EnableWebhookPayload = builder.objectRef<{ id: bigint; path: string }>("EnableWebhookPayload").implement({
  description: "It was done.",
  fields: (t) => ({
    path: t.exposeString("path", {
      description: "Where to send requests, on this server. Whoever knows it may try to.",
    }),
    trigger: t.drizzleField({
      type: Trigger,
      nullable: true,
      description: "The trigger.",
      resolve: (query, { id }, _args, ctx) => ctx.db.query.triggers.findFirst(query({ where: { id } })),
    }),
  }),
});

builder.mutationField("enableWebhook", (t) =>
  t.withAuth({ may: "trigger:update" }).field({
    type: EnableWebhookPayload,
    nullable: true,
    description: "Gives a trigger a webhook, or changes the one it has, whose path stays.",
    args: { input: t.arg({ type: EnableWebhookInput, required: true, description: "The webhook." }) },
    errors: { ...refusable("webhook", "The webhook."), directResult: true },
    resolve: async (_root, { input }, ctx) => {
      const { id } = await enableWebhook(ctx.engine, ctx.session, input);
      const trigger = await ctx.db.query.triggers.findFirst({ where: { id }, columns: { webhookKey: true } });
      return { id, path: webhookPath(trigger?.webhookKey ?? "") };
    },
  }),
);
