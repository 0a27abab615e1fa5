import { randomBytes } from "node:crypto";
import { sql } from "drizzle-orm";
import { z } from "zod";
import { lockRow, updateRow } from "../access/rows.ts";
import type { Session } from "../access/session.ts";
import { rows } from "../db/client.ts";
import type { Tx } from "../db/tx.ts";
import { ConflictError, invalid } from "../errors.ts";
import { isNetwork } from "../lib/network.ts";
import { checkInput } from "../schema/input.ts";
import { checkDeliveryHeader, type HmacConfig, headerName, hmacInput, readHmac } from "./signature-form.ts";

/** How a webhook verifies its requests. The secret is stored separately, encrypted. Earlier versions stored fewer fields: `configOf` adds them. */
export interface WebhookConfig {
  /** How requests are signed; null: they are not. */
  hmac: HmacConfig | null;
  max_bytes: number;
  /** The header with the delivery's id; null for none. A signed request must have it, unless its scheme signs an id or a time. */
  delivery_header: string | null;
  /** The most events within that many seconds. */
  rate_limit?: { requests: number; seconds: number } | null;
  /** The addresses and networks that requests may come from; null: any. */
  allow?: string[] | null;
  /** Whether requests are CloudEvents. */
  cloud_events?: boolean;
}

const network = z
  .string()
  .refine(isNetwork, "must be an address such as 192.0.2.7, or a network such as 192.0.2.0/24 or 2001:db8::/32")
  .refine((text) => !/^::ffff:/i.test(text), "must be in the notation of IPv4, such as 192.0.2.0/24");

const overlap = z
  .int()
  .min(0)
  .max(30 * 86_400)
  .nullish();

const webhookInput = z.object({
  hmac: hmacInput.nullish(),
  maxBytes: z
    .int()
    .min(1)
    .max(25 * 1024 * 1024)
    .nullish(),
  deliveryHeader: headerName.nullish(),
  rateLimit: z.object({ requests: z.int().min(1).max(1000), seconds: z.int().min(1).max(86_400) }).nullish(),
  allow: z.array(network).min(1, "must name an address or a network, or be left out").max(100).nullish(),
  cloudEvents: z.boolean().nullish(),
  verifyToken: z.string().min(6, "must have at least 6 characters").max(1000).nullish(),
  secretOverlapSeconds: overlap,
});

const rotationInput = z.object({ trigger: z.string(), overlapSeconds: overlap });

/** Returns the time at which an overlap ends, by the database's clock; null: nothing overlaps. */
async function endOf(tx: Tx, seconds: number | null | undefined): Promise<Date | null> {
  if (!seconds) return null;
  const [now] = await rows<{ ms: number }>(tx.db, sql`select (extract(epoch from now()) * 1000)::float8 as ms`);
  return new Date((now?.ms ?? 0) + seconds * 1000);
}

const githubDelivery = "x-github-delivery";

/** The configuration of a webhook that has none yet. */
const initial = {
  hmac: null,
  max_bytes: 1024 * 1024,
  delivery_header: githubDelivery,
  rate_limit: null,
  allow: null,
  cloud_events: false,
} satisfies WebhookConfig;

/** Returns how the row's webhook is configured; null if it was never enabled. What earlier versions did not store has its default. */
export function configOf(row: { webhookKey: string | null; webhookConfig: unknown }): Required<WebhookConfig> | null {
  return row.webhookKey === null ? null : { ...initial, ...(row.webhookConfig as Partial<WebhookConfig>) }; // as it was stored here
}

/** Returns what is given, `kept` if nothing is, and `cleared` for null. */
const given = <T>(value: T | null | undefined, kept: T, cleared: T): T =>
  value === undefined ? kept : (value ?? cleared);

type Given = z.infer<typeof webhookInput>;

/** Returns how requests are signed from now on, and the header with the delivery's id, which belongs to the scheme. */
function signingOf({ hmac, deliveryHeader }: Given, former: WebhookConfig) {
  if (hmac) return readHmac(hmac, deliveryHeader ?? null);
  if (hmac === null) return { hmac, deliveryHeader: deliveryHeader ?? githubDelivery };
  const kept = { hmac: former.hmac, deliveryHeader: former.delivery_header };
  if (deliveryHeader === undefined) return kept;
  if (kept.hmac === null) return { ...kept, deliveryHeader: deliveryHeader ?? githubDelivery };
  return { ...kept, deliveryHeader: checkDeliveryHeader(kept.hmac, deliveryHeader) };
}

/**
 * Enables or changes the trigger's webhook and keeps its path. What the input leaves out stays as it is, and null makes it the default. The secret
 * belongs to the trigger and is stored encrypted in its row. Throws NotFoundError, InvalidInputError, ForbiddenError.
 */
export async function enableWebhook(
  tx: Tx,
  session: Session,
  input: { trigger: string; hmac?: unknown; maxBytes?: number | null; deliveryHeader?: string | null } & {
    rateLimit?: unknown;
    allow?: readonly string[] | null;
    cloudEvents?: boolean | null;
    verifyToken?: string | null;
    secretOverlapSeconds?: number | null;
  },
): Promise<{ id: bigint; webhookKey: string }> {
  const checked = checkInput(webhookInput, input);
  const stored = await lockRow(tx, session, { of: "trigger", doing: "update", which: { ref: input.trigger } });
  const former = configOf(stored) ?? initial;
  const signing = signingOf(checked, former);
  const webhookConfig = {
    hmac: signing.hmac,
    max_bytes: given(checked.maxBytes, former.max_bytes, initial.max_bytes),
    delivery_header: signing.deliveryHeader,
    rate_limit: given(checked.rateLimit, former.rate_limit, null),
    allow: given(checked.allow, former.allow, null),
    cloud_events: given(checked.cloudEvents, former.cloud_events, false),
  } satisfies WebhookConfig;
  const webhookKey = stored.webhookKey ?? newWebhookKey();
  const secrets = await secretsOf(tx, checked, { stored, isSameScheme: former.hmac?.scheme === signing.hmac?.scheme });
  await updateRow(tx, "trigger", {
    id: stored.id,
    fields: { ...secrets, webhookEnabled: true, webhookConfig, webhookKey },
  });
  return { id: stored.id, webhookKey };
}

/** Returns the columns of the secrets that change. */
async function secretsOf(
  tx: Tx,
  { hmac, verifyToken, secretOverlapSeconds }: Given,
  { stored, isSameScheme }: { stored: { webhookSecret: string | null }; isSameScheme: boolean },
) {
  const until = await endOf(tx, secretOverlapSeconds);
  if (until !== null && (stored.webhookSecret === null || !hmac || !isSameScheme)) {
    throw invalid("secretOverlapSeconds", "needs a secret of the same scheme that is replaced: leave it out");
  }
  const sealed = (secret: string | null | undefined) => (secret ? tx.keyring.seal(secret) : null);
  return {
    ...(hmac === undefined
      ? {}
      : {
          webhookSecret: sealed(hmac?.secret),
          webhookPreviousSecret: until === null ? null : stored.webhookSecret,
          webhookPreviousSecretUntil: until,
        }),
    ...(verifyToken === undefined ? {} : { webhookVerifyToken: sealed(verifyToken) }),
  };
}

/** Disables the trigger's webhook, which keeps its path. Throws NotFoundError, ForbiddenError. */
export async function disableWebhook(tx: Tx, session: Session, input: { trigger: string }): Promise<{ id: bigint }> {
  const { id, webhookEnabled } = await lockRow(tx, session, {
    of: "trigger",
    doing: "update",
    which: { ref: input.trigger },
  });
  if (webhookEnabled) await updateRow(tx, "trigger", { id, fields: { webhookEnabled: false } });
  return { id };
}

/** Gives the webhook a new path; the old one stays valid for the overlap, if there is any. Throws NotFoundError, ForbiddenError, ConflictError (no webhook). */
export async function rotateWebhookKey(
  tx: Tx,
  session: Session,
  input: { trigger: string; overlapSeconds?: number | null },
): Promise<{ id: bigint; webhookKey: string }> {
  const until = await endOf(tx, checkInput(rotationInput, input).overlapSeconds);
  const stored = await lockRow(tx, session, { of: "trigger", doing: "update", which: { ref: input.trigger } });
  if (stored.webhookKey === null) {
    throw new ConflictError(`The trigger "${input.trigger}" has no webhook: enable it first.`);
  }
  const webhookKey = newWebhookKey();
  await updateRow(tx, "trigger", {
    id: stored.id,
    fields: {
      webhookKey,
      webhookPreviousKey: until === null ? null : stored.webhookKey,
      webhookPreviousKeyUntil: until,
    },
  });
  return { id: stored.id, webhookKey };
}

/** Returns the columns of a webhook whose senders do not sign, with a new path. */
export function unsignedWebhook() {
  return { webhookKey: newWebhookKey(), webhookConfig: initial };
}

const newWebhookKey = () => randomBytes(32).toString("base64url");
