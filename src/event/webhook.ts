import { createHmac, timingSafeEqual } from "node:crypto";
import { sql } from "drizzle-orm";
import type { WebhookConfig } from "../catalog/trigger.ts";
import { type Db, rows } from "../db/client.ts";
import type { Tx } from "../db/tx.ts";
import { InvalidInputError } from "../errors.ts";
import type { Json, JsonObject } from "../lib/json.ts";
import { parseJson } from "../lib/json-text.ts";
import type { Keyring } from "../secrecy/keyring.ts";
import { type EventTrigger, emitEvents } from "./record.ts";

/** The webhook of a trigger. */
export interface Webhook {
  trigger: EventTrigger;
  config: WebhookConfig;
  /** The encrypted HMAC secret; null when the webhook has none, or when its key was deleted. */
  secret: string | null;
}

/** A request to a webhook; header names are in lower case. */
export interface Delivery {
  headers: Record<string, string>;
  query: JsonObject;
  body: Uint8Array;
  sourceIp: string | null;
  startedAt: number;
}

/** The response to a delivery: 202 with a new event, 200 with the first event of a repeated delivery, else a refusal. */
export interface DeliveryResponse {
  status: 200 | 202 | 400 | 401 | 409 | 413;
  event: string | null;
  error: string | null;
}

/** Returns the webhook with that key; null when it does not exist or is disabled. */
export async function findWebhook(db: Db, key: string): Promise<Webhook | null> {
  const [webhook] = await rows<Webhook>(
    db,
    sql`select jsonb_build_object('id', t.id::text, 'ref', t.ref, 'enabled', t.enabled, 'outSchema', t.out_schema) as trigger,
        t.webhook_config as config, k.value as secret
      from attune.trigger t left join attune.key k on k.ref = t.webhook_config #>> '{hmac,key}'
      where t.webhook_key = ${key} and t.webhook_enabled`,
  );
  return webhook ?? null;
}

/** Headers with the sender's credentials, which are never stored. */
const credentials = new Set(["authorization", "proxy-authorization", "cookie", "x-api-key", "x-auth-token"]);

/** Stores a refused delivery, with the reason. */
export async function recordRefusedDelivery(
  tx: Tx,
  webhook: Webhook,
  delivery: Delivery,
  { status, error }: DeliveryResponse,
): Promise<void> {
  const verified = status === 401 ? false : null;
  await tx.db.execute(
    sql`insert into attune.webhook_delivery (trigger, source_ip, headers, status_code, error, duration_ms, size, hmac_verified)
      values (${webhook.trigger.id}::bigint, ${delivery.sourceIp}::inet, ${headerText(webhook, delivery)}::text::jsonb,
        ${status}::int, ${error}, ${elapsed(delivery)}::int, ${delivery.body.length}::int, ${verified}::boolean)`,
  );
}

/**
 * Stores a delivery and its event; its signature has been verified (null: it needs none). A repeated delivery id returns the first
 * event. Throws ConflictError (the trigger is disabled), InvalidInputError (the payload violates its schema).
 */
export async function acceptDelivery(
  tx: Tx,
  webhook: Webhook,
  delivery: Delivery,
  verified: true | null,
): Promise<DeliveryResponse> {
  const deliveryId = delivery.headers[webhook.config.delivery_header] ?? null;
  const [stored] = await rows<{ id: string }>(
    tx.db,
    sql`insert into attune.webhook_delivery (trigger, source_ip, headers, status_code, duration_ms, size, hmac_verified, delivery_id)
      values (${webhook.trigger.id}::bigint, ${delivery.sourceIp}::inet, ${headerText(webhook, delivery)}::text::jsonb, 202,
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
  const payload = { body: bodyOf(delivery), headers: cleanHeaders(webhook, delivery), query: delivery.query };
  const [event] = await emitEvents(tx, [
    { trigger: webhook.trigger, payload, config: null, rule: null, traceTag: null, cause: null, generation: 0 },
  ]);
  await tx.db.execute(
    sql`update attune.webhook_delivery set event = ${event ?? null}::bigint where id = ${stored.id}::bigint`,
  );
  return { status: 202, event: event ?? null, error: null };
}

/** Returns whether the delivery's signature is valid; null when the webhook needs none. The comparison takes constant time. */
export function verifyDelivery(keyring: Keyring, { config, secret }: Webhook, delivery: Delivery): boolean | null {
  const { hmac } = config;
  if (!hmac) return null;
  const given = delivery.headers[hmac.header];
  if (secret === null || given === undefined || !given.startsWith(hmac.prefix)) return false;
  const expected = createHmac(hmac.algorithm, keyring.open(secret)).update(delivery.body).digest();
  const signature = Buffer.from(given.slice(hmac.prefix.length), "hex");
  return signature.length === expected.length && timingSafeEqual(signature, expected);
}

function bodyOf({ headers, body }: Delivery): Json {
  const text = Buffer.from(body).toString("utf8");
  const type = headers["content-type"] ?? "";
  if (type.startsWith("application/x-www-form-urlencoded")) return Object.fromEntries(new URLSearchParams(text));
  if (text === "") return null;
  try {
    return parseJson(text, "payload.body");
  } catch (error) {
    if (error instanceof InvalidInputError && error.cause instanceof SyntaxError) return text; // whatever the header declares
    throw error;
  }
}

function cleanHeaders({ config }: Webhook, { headers }: Delivery): JsonObject {
  return Object.fromEntries(
    Object.entries(headers).filter(([name]) => !credentials.has(name) && name !== config.hmac?.header),
  );
}

function headerText(webhook: Webhook, delivery: Delivery): string {
  return JSON.stringify(cleanHeaders(webhook, delivery)).replaceAll("\\u0000", "");
}

function elapsed({ startedAt }: Delivery): number {
  return Math.round(performance.now() - startedAt);
}
