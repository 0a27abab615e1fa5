import { disableWebhook, enableWebhook, rotateWebhookKey } from "../../catalog/webhook.ts";
import { builder } from "../kit/builder.ts";
import { HmacAlgorithm, WebhookScheme } from "../kit/enums.ts";
import { addMutation, addRowField, addRowMutation } from "../kit/mutation.ts";
import { Trigger, webhookPath } from "./trigger.ts";

const WebhookHmacInput = builder.inputType("WebhookHmacInput", {
  description: "How requests to a webhook are signed.",
  fields: (t) => ({
    secret: t.string({
      required: true,
      description:
        "The secret that the sender signs with; stored encrypted, never shown. For STANDARD_WEBHOOKS with its prefix `whsec_`.",
    }),
    scheme: t.field({
      type: WebhookScheme,
      description: "The sender's scheme; GITHUB by default, BODY where another header is named.",
    }),
    algorithm: t.field({ type: HmacAlgorithm, description: "The hash algorithm; SHA256 by default." }),
    header: t.string({
      description: "The header with the signature, for GITHUB and BODY; `x-hub-signature-256` by default.",
    }),
    prefix: t.string({
      description: "The prefix of the signature, for GITHUB and BODY; `sha256=` or `sha512=` by default.",
    }),
  }),
});

const EnableWebhookInput = builder.inputType("EnableWebhookInput", {
  description: "The webhook of a trigger.",
  fields: (t) => ({
    trigger: t.string({ required: true, description: "The trigger's ref." }),
    hmac: t.field({
      type: WebhookHmacInput,
      description: "How requests are signed. By default signatures are not checked.",
    }),
    maxBytes: t.int({ description: "The largest body that is accepted, in bytes; 1 MiB by default, at most 25 MiB." }),
    deliveryHeader: t.string({
      description:
        "The header with the delivery's id, by which repeated deliveries are ignored; `x-github-delivery` by default, none for the scheme BODY. A signed request without it is refused.",
    }),
  }),
});

const triggerInput = (name: string, description: string) =>
  builder.inputType(name, {
    description,
    fields: (t) => ({ trigger: t.string({ required: true, description: "The trigger's ref." }) }),
  });
const DisableWebhookInput = triggerInput("DisableWebhookInput", "The trigger whose webhook to disable.");
const RotateWebhookKeyInput = triggerInput("RotateWebhookKeyInput", "The trigger whose webhook gets a new path.");

/** A payload with the webhook's path: callers who may update the trigger may see it. */
function webhookPayload(name: string) {
  const payload = builder.objectRef<{ id: bigint; webhookKey: string }>(name).implement({
    description: "The webhook was changed.",
    fields: (t) => ({
      path: t.string({
        description: "The path on this server that accepts requests. Anyone who knows it can send them.",
        resolve: ({ webhookKey }) => webhookPath(webhookKey),
      }),
    }),
  });
  addRowField(payload, "trigger", { table: "triggers", ref: Trigger, description: "The trigger." });
  return payload;
}

addMutation({
  name: "enableWebhook",
  may: "trigger:update",
  description: "Enables a trigger's webhook, or changes it. Its path stays the same.",
  input: EnableWebhookInput,
  inputDescription: "The webhook.",
  secretFields: ["hmac"],
  type: webhookPayload("EnableWebhookPayload"),
  payload: null,
  run: enableWebhook,
});

addMutation({
  name: "rotateWebhookKey",
  may: "trigger:update",
  description: "Gives a trigger's webhook a new path. Requests to the old path are refused from now on.",
  input: RotateWebhookKeyInput,
  inputDescription: "The trigger.",
  type: webhookPayload("RotateWebhookKeyPayload"),
  payload: null,
  run: rotateWebhookKey,
});

addRowMutation({
  table: "triggers",
  ref: Trigger,
  name: "disableWebhook",
  may: "trigger:update",
  description: "Disables a trigger's webhook: requests to it are refused. If enabled again, it keeps its path.",
  input: DisableWebhookInput,
  inputDescription: "The trigger.",
  payload: ["trigger", "The trigger as it is now."],
  run: disableWebhook,
});
