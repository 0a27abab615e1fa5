import { createHash } from "node:crypto";
import { sql } from "drizzle-orm";
import { formOf } from "../catalog/signature-form.ts";
import type { WebhookConfig } from "../catalog/webhook.ts";
import { type Db, rows } from "../db/client.ts";
import type { Tx } from "../db/tx.ts";
import { causeHeader, readCause } from "../execution/cause.ts";
import type { Json, JsonObject } from "../lib/json.ts";
import type { Keyring } from "../secrecy/keyring.ts";
import { type EventTrigger, emitEvents, originOf } from "./record.ts";
import { checkSignature } from "./signature.ts";

/** The webhook of a trigger. */
export interface Webhook {
  trigger: EventTrigger;
  config: WebhookConfig;
  /** The encrypted secret of its signatures; null when it has none. */
  secret: string | null;
}

/** A request to a webhook; header names are in lower case. */
export interface Delivery {
  headers: Record<string, string>;
  query: JsonObject;
  /** Without its encoding: this is what senders sign. */
  body: Uint8Array;
  /** The URL that the sender used; null where the server does not know it. */
  url: string | null;
  sourceIp: string | null;
  startedAt: number;
}

/** The response to a delivery: 202 with a new event, 200 with the first event of a repeated delivery, else a refusal, or 500 for a failure. */
export interface DeliveryResponse {
  status: 200 | 202 | 400 | 401 | 409 | 413 | 500;
  event: string | null;
  error: string | null;
}

/** Returns the webhook with that key; null when it does not exist or is disabled. */
export async function findWebhook(db: Db, key: string): Promise<Webhook | null> {
  const [webhook] = await rows<Webhook>(
    db,
    sql`select jsonb_build_object('id', t.id::text, 'ref', t.ref, 'enabled', t.enabled, 'outSchema', t.out_schema) as trigger,
        t.webhook_config as config, t.webhook_secret as secret
      from attune.trigger t where t.webhook_key = ${key} and t.webhook_enabled`,
  );
  return webhook ?? null;
}

/** Headers with the sender's credentials, which are never stored. */
const credentials = new Set([
  "authorization",
  "proxy-authorization",
  "cookie",
  "x-api-key",
  "x-auth-token",
  causeHeader,
]);

/** How many refused deliveries of a webhook are stored in an hour, because anyone who knows its path can send them. */
const maxRefused = 100;
/** How many characters of a refused delivery's headers, of one of them, and of the reason are stored. */
const longest = { headers: 2000, header: 200, reason: 500 };

/** Stores a refused delivery, with the reason; beyond 100 in an hour for the webhook, nothing. */
export async function recordRefusedDelivery(
  tx: Tx,
  webhook: Webhook,
  delivery: Delivery,
  { status, error }: DeliveryResponse,
): Promise<void> {
  const verified = status === 401 ? false : null;
  await tx.db.execute(
    sql`insert into attune.webhook_delivery (trigger, source_ip, headers, status_code, error, duration_ms, size, hmac_verified)
      select ${webhook.trigger.id}::bigint, ${delivery.sourceIp}::inet, ${refusedHeaders(webhook, delivery)}::text::jsonb,
        ${status}::int, ${error?.slice(0, longest.reason) ?? null}, ${elapsed(delivery)}::int, ${delivery.body.length}::int, ${verified}::boolean
      where (select count(*) from (select from attune.webhook_delivery where trigger = ${webhook.trigger.id}::bigint
        and error is not null and created > now() - interval '1 hour' limit ${maxRefused}::int) recent) < ${maxRefused}::int`,
  );
}

/**
 * Stores a verified delivery, whose body has that value, and its event. A repeated delivery returns the first event. Throws ConflictError (the trigger is disabled), InvalidInputError (the payload violates its schema).
 */
export async function acceptDelivery(
  tx: Tx,
  webhook: Webhook,
  delivery: Delivery & { value: Json },
  { signed, id }: Verified,
): Promise<DeliveryResponse> {
  const verified = signed || null;
  const deliveryId = id !== null && id.length > longestId ? createHash("sha256").update(id).digest("hex") : id;
  const [stored] = await rows<{ id: string }>(
    tx.db,
    sql`insert into attune.webhook_delivery (trigger, source_ip, status_code, duration_ms, size, hmac_verified, delivery_id)
      values (${webhook.trigger.id}::bigint, ${delivery.sourceIp}::inet, 202,
        ${elapsed(delivery)}::int, ${delivery.body.length}::int, ${verified}::boolean, ${deliveryId}::text)
      on conflict (trigger, delivery_id) do nothing returning id::text`,
  );
  if (!stored) {
    const [first] = await rows<{ event: string | null }>(
      tx.db,
      sql`select event::text from attune.webhook_delivery
        where trigger = ${webhook.trigger.id}::bigint and delivery_id = ${deliveryId}`,
    );
    return { status: 200, event: first?.event ?? null, error: null };
  }
  const cause = readCause(tx.keyring, delivery.headers[causeHeader]);
  const origin = cause === null ? null : await originOf(tx.db, cause);
  const payload = { body: delivery.value, headers: cleanHeaders(webhook, delivery), query: delivery.query };
  const [event] = await emitEvents(tx, [
    {
      ...{ trigger: webhook.trigger, payload, config: { ...webhook.config } as JsonObject },
      ...{ source: null, rule: null, ...(origin ?? { traceTag: null, cause: null, generation: 0 }) },
    },
  ]);
  await tx.db.execute(
    sql`update attune.webhook_delivery set event = ${event ?? null}::bigint where id = ${stored.id}::bigint`,
  );
  return { status: 202, event: event ?? null, error: null };
}

/** A delivery that may be accepted: whether it is signed, and the id by which a repetition is known. */
export interface Verified {
  signed: boolean;
  id: string | null;
}

/** What an index can hold many of. */
const longestId = 200;

/** Checks the delivery's signature, where the webhook needs one, and what its scheme has against repetition. Returns the refusal, if any. */
export function verifyDelivery(
  keyring: Keyring,
  { config, secret }: Webhook,
  delivery: Delivery,
): Verified | { error: string } {
  const { hmac, delivery_header: idHeader } = config;
  if (!hmac) return { signed: false, id: (idHeader && delivery.headers[idHeader]?.trim()) || null };
  if (secret === null) return { error: "the webhook has no secret to check the signature with: enable it again" };
  const checked = checkSignature(delivery, { config: hmac, secrets: [keyring.open(secret)], idHeader });
  return checked.error === undefined ? { signed: true, id: checked.id } : { error: checked.error };
}

function cleanHeaders({ config }: Webhook, { headers }: Delivery): JsonObject {
  const signature = config.hmac ? formOf(config.hmac).header : null;
  return Object.fromEntries(Object.entries(headers).filter(([name]) => !credentials.has(name) && name !== signature));
}

/** The headers of a refused delivery, shortened; those of an accepted one are in its event. */
function refusedHeaders(webhook: Webhook, delivery: Delivery): string {
  const kept: [string, string][] = [];
  let left = longest.headers;
  for (const [name, value] of Object.entries(cleanHeaders(webhook, delivery))) {
    const shown: [string, string] = [name.slice(0, longest.header), String(value).slice(0, longest.header)];
    left -= shown[0].length + shown[1].length;
    if (left < 0) break;
    kept.push(shown);
  }
  return JSON.stringify(Object.fromEntries(kept)).replaceAll("\\u0000", "");
}

function elapsed({ startedAt }: Delivery): number {
  return Math.round(performance.now() - startedAt);
}
