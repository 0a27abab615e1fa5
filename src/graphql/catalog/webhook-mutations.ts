import { disableWebhook, enableWebhook, rotateWebhookKey } from "../../catalog/trigger.ts";
import { builder } from "../kit/builder.ts";
import type { Context } from "../kit/context.ts";
import { HmacAlgorithm } from "../kit/enums.ts";
import { addRowMutation } from "../kit/mutation-field.ts";
import { refusable } from "../kit/refusals.ts";
import { Trigger, webhookPath } from "./trigger.ts";

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

const triggerInput = (name: string, description: string) =>
  builder.inputType(name, {
    description,
    fields: (t) => ({ trigger: t.string({ required: true, description: "The trigger's ref." }) }),
  });
const DisableWebhookInput = triggerInput("DisableWebhookInput", "The trigger whose webhook to switch off.");
const RotateWebhookKeyInput = triggerInput("RotateWebhookKeyInput", "The trigger whose webhook gets another path.");

interface WithWebhook {
  id: bigint;
  path: string;
}

/** A payload with the webhook's path, which whoever may change the trigger may see. */
const webhookPayload = (name: string) =>
  builder.objectRef<WithWebhook>(name).implement({
    description: "It was done.",
    fields: (t) => ({
      path: t.exposeString("path", {
        description: "Where to send requests, on this server. Whoever knows it may try to.",
      }),
      trigger: t.drizzleField({
        type: Trigger,
        nullable: true,
        description: "The trigger.",
        resolve: (query, { id }, _args, ctx) => ctx.written.query.triggers.findFirst(query({ where: { id } })),
      }),
    }),
  });
const EnableWebhookPayload = webhookPayload("EnableWebhookPayload");
const RotateWebhookKeyPayload = webhookPayload("RotateWebhookKeyPayload");

async function withPath(ctx: Context, { id }: { id: bigint }): Promise<WithWebhook> {
  const trigger = await ctx.written.query.triggers.findFirst({ where: { id }, columns: { webhookKey: true } });
  return { id, path: webhookPath(trigger?.webhookKey ?? "") };
}

builder.mutationField("enableWebhook", (t) =>
  t.withAuth({ may: "trigger:update" }).field({
    type: EnableWebhookPayload,
    nullable: true,
    description: "Gives a trigger a webhook, or changes the one it has, whose path stays.",
    args: { input: t.arg({ type: EnableWebhookInput, required: true, description: "The webhook." }) },
    errors: { ...refusable("webhook", "The webhook."), directResult: true },
    resolve: async (_root, { input }, ctx) => withPath(ctx, await enableWebhook(ctx.engine, ctx.session, input)),
  }),
);

builder.mutationField("rotateWebhookKey", (t) =>
  t.withAuth({ may: "trigger:update" }).field({
    type: RotateWebhookKeyPayload,
    nullable: true,
    description: "Gives a trigger's webhook another path; the one that it had leads nowhere from now on.",
    args: { input: t.arg({ type: RotateWebhookKeyInput, required: true, description: "The trigger." }) },
    errors: { ...refusable("webhook", "The webhook."), directResult: true },
    resolve: async (_root, { input }, ctx) => withPath(ctx, await rotateWebhookKey(ctx.engine, ctx.session, input)),
  }),
);

addRowMutation({
  table: "triggers",
  ref: Trigger,
  name: "disableWebhook",
  may: "trigger:update",
  description: "Switches a trigger's webhook off: requests to it are refused. Enabled again, it has the same path.",
  input: DisableWebhookInput,
  about: "The trigger.",
  payload: ["trigger", "The trigger as it is now."],
  run: (ctx, input) => disableWebhook(ctx.engine, ctx.session, input),
});
