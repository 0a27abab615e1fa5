import { formOf, type HmacConfig } from "../../catalog/signature-form.ts";
import { configOf, type WebhookConfig } from "../../catalog/webhook.ts";
import { builder } from "../kit/builder.ts";
import { HmacAlgorithm, HmacEncoding, WebhookScheme } from "./webhook-enums.ts";

/** The columns of a trigger that `webhookOf` needs. */
export const webhookColumns = {
  webhookKey: true,
  webhookConfig: true,
  webhookPreviousKey: true,
  webhookPreviousKeyUntil: true,
  webhookPreviousSecret: true,
  webhookPreviousSecretUntil: true,
  webhookVerifyToken: true,
} as const;

interface Row {
  webhookKey: string | null;
  webhookConfig: unknown;
  webhookPreviousKey: string | null;
  webhookPreviousKeyUntil: Date | null;
  webhookPreviousSecret: string | null;
  webhookPreviousSecretUntil: Date | null;
  webhookVerifyToken: string | null;
}

interface Shape {
  config: Required<WebhookConfig>;
  previousPathUntil: Date | null;
  previousSecretUntil: Date | null;
  hasVerifyToken: boolean;
}

/** Returns the configuration of a trigger's webhook without its secrets; null if the webhook was never enabled. */
export function webhookOf(row: Row): Shape | null {
  const config = configOf(row);
  const open = (value: string | null, until: Date | null) =>
    value !== null && until !== null && until.getTime() > Date.now() ? until : null;
  return (
    config && {
      config,
      previousPathUntil: open(row.webhookPreviousKey, row.webhookPreviousKeyUntil),
      previousSecretUntil: open(row.webhookPreviousSecret, row.webhookPreviousSecretUntil),
      hasVerifyToken: row.webhookVerifyToken !== null,
    }
  );
}

const WebhookHmac = builder.objectRef<HmacConfig>("WebhookHmac").implement({
  description: "How requests to a webhook show who sent them. The secret is never shown.",
  fields: (t) => ({
    scheme: t.expose("scheme", { type: WebhookScheme, description: "The sender's scheme." }),
    algorithm: t.field({
      type: HmacAlgorithm,
      nullable: true,
      description: "The hash algorithm of the signature; null where the header contains the secret itself.",
      resolve: (hmac) => {
        const { algorithm } = formOf(hmac);
        return algorithm === "token" ? null : algorithm;
      },
    }),
    encoding: t.field({
      type: HmacEncoding,
      nullable: true,
      description: "How the signature is written; null where the header contains the secret itself.",
      resolve: (hmac) => (formOf(hmac).algorithm === "token" ? null : formOf(hmac).encoding),
    }),
    header: t.string({
      description: "The header with the signature, or with the secret.",
      resolve: (hmac) => formOf(hmac).header,
    }),
    prefix: t.string({
      description: "What precedes the signature in its header; empty for nothing.",
      resolve: (hmac) => formOf(hmac).prefix,
    }),
    timestampHeader: t.string({
      nullable: true,
      description: "The header with the signed time; null where none is signed, or where it is beside the signature.",
      resolve: (hmac) => formOf(hmac).timestamp_header,
    }),
    signedText: t.string({
      nullable: true,
      description:
        "The text that is signed, with `{body}`, `{timestamp}`, `{id}`, `{url}` and, for the parameters of a form, `{form}`; null where nothing is.",
      resolve: (hmac) => (formOf(hmac).algorithm === "token" ? null : formOf(hmac).signed_text),
    }),
    toleranceSeconds: t.int({
      nullable: true,
      description:
        "The farthest that the signed time may be from this server's, in seconds; null where none is signed.",
      resolve: (hmac) => {
        const form = formOf(hmac);
        return form.timestamp_header === null && form.timestamp_prefix === null ? null : form.tolerance_seconds;
      },
    }),
  }),
});

const WebhookRateLimit = builder.objectRef<{ requests: number; seconds: number }>("WebhookRateLimit").implement({
  description: "The most events of a webhook within any period of that length.",
  fields: (t) => ({
    requests: t.exposeInt("requests", { description: "How many events." }),
    seconds: t.exposeInt("seconds", { description: "The length of the period, in seconds." }),
  }),
});

/** How a trigger's webhook is configured. */
export const Webhook = builder.objectRef<Shape>("Webhook").implement({
  description: "How a trigger's webhook is configured. Its secrets are never shown.",
  fields: (t) => ({
    hmac: t.field({
      type: WebhookHmac,
      nullable: true,
      description: "How requests are signed; null: signatures are not checked.",
      resolve: ({ config }) => config.hmac,
    }),
    deliveryHeader: t.string({
      nullable: true,
      description:
        "The header with the delivery's id, by which a repetition is known; null where none is read. CloudEvents are known by their source and id.",
      resolve: ({ config }) => (config.hmac && formOf(config.hmac).id_header) ?? config.delivery_header,
    }),
    maxBytes: t.int({
      description: "The largest body that is accepted, in bytes.",
      resolve: ({ config }) => config.max_bytes,
    }),
    rateLimit: t.field({
      type: WebhookRateLimit,
      nullable: true,
      description: "How many events it accepts; null: any number.",
      resolve: ({ config }) => config.rate_limit,
    }),
    allow: t.stringList({
      nullable: true,
      description: "The addresses and networks that requests may come from; null: any.",
      resolve: ({ config }) => config.allow,
    }),
    cloudEvents: t.boolean({
      description: "Whether requests are CloudEvents 1.0.",
      resolve: ({ config }) => config.cloud_events,
    }),
    hasVerifyToken: t.exposeBoolean("hasVerifyToken", {
      description: "Whether Meta's challenge is returned to who knows the `verifyToken`.",
    }),
    previousPathUntil: t.expose("previousPathUntil", {
      type: "DateTime",
      nullable: true,
      description: "Until when the path before the last rotation is accepted too; null: it is not.",
    }),
    previousSecretUntil: t.expose("previousSecretUntil", {
      type: "DateTime",
      nullable: true,
      description: "Until when the secret before the last one is accepted too; null: it is not.",
    }),
  }),
});
