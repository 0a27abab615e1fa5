import { disableWebhook, enableWebhook, rotateWebhookKey } from "../../catalog/webhook.ts";
import { builder } from "../kit/builder.ts";
import { addMutation, addRowField, addRowMutation } from "../kit/mutation.ts";
import { Trigger, webhookPath } from "./trigger.ts";
import { HmacAlgorithm, HmacEncoding, WebhookScheme } from "./webhook-enums.ts";

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
      description: "The sender's scheme; GITHUB by default, BODY where something else than GitHub's form is described.",
    }),
    algorithm: t.field({
      type: HmacAlgorithm,
      description: "The hash algorithm, for GITHUB, TWILIO and BODY; SHA256 by default, SHA1 for TWILIO.",
    }),
    encoding: t.field({ type: HmacEncoding, description: "How the signature is written, for BODY; HEX by default." }),
    header: t.string({
      description:
        "The header with the signature, for GITHUB, TOKEN and BODY; `X-Hub-Signature-256` by default, `Authorization` for TOKEN.",
    }),
    prefix: t.string({
      description:
        "The prefix of the signature, for GITHUB, TOKEN and BODY; `sha256=` by the algorithm's name by default, `Bearer ` for TOKEN.",
    }),
    timestampHeader: t.string({
      description:
        "The header with the signed time, in seconds or milliseconds since 1970, for BODY. Each signature is then accepted once.",
    }),
    signedText: t.string({
      description:
        "The text that is signed, for BODY; `{body}` by default. `{body}`, `{timestamp}`, `{id}` (the delivery's) and `{url}` are replaced: `v0:{timestamp}:{body}` is Slack's.",
    }),
    toleranceSeconds: t.int({
      description:
        "The farthest that the signed time may be from this server's, in seconds, for BODY; 300 by default, at most 86400.",
    }),
  }),
});

const WebhookRateLimitInput = builder.inputType("WebhookRateLimitInput", {
  description: "The most events of a webhook within any period of that length. Further requests are refused with 429.",
  fields: (t) => ({
    requests: t.int({ required: true, description: "How many events; at most 1000." }),
    seconds: t.int({ required: true, description: "The length of the period, in seconds; at most 86400." }),
  }),
});

const EnableWebhookInput = builder.inputType("EnableWebhookInput", {
  description:
    "The webhook of a trigger. What is left out stays as it is, or is the default if the webhook was never enabled; null makes it the default.",
  fields: (t) => ({
    trigger: t.string({ required: true, description: "The trigger's ref." }),
    hmac: t.field({
      type: WebhookHmacInput,
      description: "How requests are signed, and the secret. By default signatures are not checked.",
    }),
    maxBytes: t.int({ description: "The largest body that is accepted, in bytes; 1 MiB by default, at most 25 MiB." }),
    rateLimit: t.field({
      type: WebhookRateLimitInput,
      description: "How many events it accepts; by default any number.",
    }),
    allow: t.stringList({
      description:
        "The addresses and networks that requests may come from, such as `192.0.2.0/24`; at most 100, by default any. Others are refused with 403.",
    }),
    secretOverlapSeconds: t.int({
      description:
        "With `hmac`: for how many seconds requests that are signed with the secret until now are accepted too, at most 30 days; by default not at all. The scheme must stay the same.",
    }),
    verifyToken: t.string({
      description:
        "The token that a request of Meta, `GET` with `hub.verify_token`, must have so that its `hub.challenge` is returned; stored encrypted, never shown.",
    }),
    cloudEvents: t.boolean({
      description:
        "Whether requests are CloudEvents 1.0, structured, binary or in batches; others are refused. The body of the payload is the event in its JSON format.",
    }),
    deliveryHeader: t.string({
      description:
        "The header with the delivery's id, by which repeated deliveries are ignored. By default that of the scheme, `X-GitHub-Delivery` without signatures, none for BODY and TOKEN. A signed request without it is refused.",
    }),
  }),
});

const triggerInput = (name: string, description: string) =>
  builder.inputType(name, {
    description,
    fields: (t) => ({ trigger: t.string({ required: true, description: "The trigger's ref." }) }),
  });
const DisableWebhookInput = triggerInput("DisableWebhookInput", "The trigger whose webhook to disable.");
const RotateWebhookKeyInput = builder.inputType("RotateWebhookKeyInput", {
  description: "The trigger whose webhook gets a new path.",
  fields: (t) => ({
    trigger: t.string({ required: true, description: "The trigger's ref." }),
    overlapSeconds: t.int({
      description:
        "For how many seconds the old path stays valid, at most 30 days; by default it is refused from now on.",
    }),
  }),
});

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
  description:
    "Enables a trigger's webhook, or changes it. Its path stays the same, and so does what the input leaves out.",
  input: EnableWebhookInput,
  inputDescription: "The webhook.",
  secretFields: ["hmac", "verifyToken"],
  type: webhookPayload("EnableWebhookPayload"),
  payload: null,
  run: enableWebhook,
});

addMutation({
  name: "rotateWebhookKey",
  may: "trigger:update",
  description:
    "Gives a trigger's webhook a new path. Requests to the old path are refused from now on, or after an overlap.",
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
  description:
    "Disables a trigger's webhook: requests to it are refused. If enabled again, it keeps its path and its configuration.",
  input: DisableWebhookInput,
  inputDescription: "The trigger.",
  payload: ["trigger", "The trigger as it is now."],
  run: disableWebhook,
});
