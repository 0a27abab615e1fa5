import { createHash, timingSafeEqual } from "node:crypto";
import { sql } from "drizzle-orm";
import { formOf } from "../catalog/signature-form.ts";
import type { WebhookConfig } from "../catalog/webhook.ts";
import { type Db, rows } from "../db/client.ts";
import type { Tx } from "../db/tx.ts";
import { causeHeader, readCause } from "../execution/cause.ts";
import type { Json, JsonObject } from "../lib/json.ts";
import { createNetworks } from "../lib/network.ts";
import type { Keyring } from "../secrecy/keyring.ts";
import { type EventTrigger, emitEvents, type NewEvent, originOf } from "./record.ts";
import { checkSignature } from "./signature.ts";
import { type KeptFile, storeFiles } from "./webhook-files.ts";

/** The webhook of a trigger. */
export interface Webhook {
  trigger: EventTrigger;
  config: WebhookConfig;
  /** The encrypted secrets of its signatures; two while the former one is still valid. */
  secrets: string[];
  /** What a sender must know to have its challenge returned, encrypted; null when it has none. */
  verifyToken: string | null;
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

/**
 * The response to a delivery: 202 with new events, 200 with the first events of a repeated delivery, or with a challenge of the sender, else a
 * refusal, or 500 for a failure.
 */
export interface DeliveryResponse {
  status: 200 | 202 | 400 | 401 | 403 | 409 | 413 | 429 | 500;
  /** Null for an event that has been deleted. */
  events: (string | null)[];
  error: string | null;
  /** Of 429: after how many seconds the next request is accepted. */
  retryAfter?: number;
  /** What the sender wants to read to know that this server has the secret. */
  challenge?: string;
}

/** Returns the webhook with that key, or with it before its last rotation; null when it does not exist or is disabled. */
export async function findWebhook(db: Db, key: string): Promise<Webhook | null> {
  const [webhook] = await rows<Webhook>(
    db,
    sql`select jsonb_build_object('id', t.id::text, 'ref', t.ref, 'enabled', t.enabled, 'outSchema', t.out_schema) as trigger,
        t.webhook_config as config, t.webhook_verify_token as "verifyToken",
        array_remove(array[t.webhook_secret, case when t.webhook_previous_secret_until > now() then t.webhook_previous_secret end], null) as secrets
      from attune.trigger t where t.webhook_enabled
        and (t.webhook_key = ${key} or t.webhook_previous_key = ${key} and t.webhook_previous_key_until > now())`,
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

/** Returns whether the webhook accepts requests from the address. */
export function acceptsAddress({ config }: Webhook, address: string | null): boolean {
  return !config.allow || (address !== null && createNetworks(config.allow).has(address));
}

/** Stores a refused delivery, with the reason; beyond 100 in an hour for the webhook, nothing. */
export async function recordRefusedDelivery(
  tx: Tx,
  webhook: Webhook,
  delivery: Delivery,
  { status, error }: DeliveryResponse,
): Promise<void> {
  const verified = status === 401 ? false : null;
  // A reason may quote what was sent, which a column of text need not be able to hold.
  const reason = error?.replaceAll("\0", "\ufffd").slice(0, longest.reason).toWellFormed() ?? null;
  await tx.db.execute(
    sql`insert into attune.webhook_delivery (trigger, source_ip, headers, status_code, error, duration_ms, size, hmac_verified, rate_limited)
      select ${webhook.trigger.id}::bigint, ${delivery.sourceIp}::inet, ${refusedHeaders(webhook, delivery)}::text::jsonb,
        ${status}::int, ${reason}, ${elapsed(delivery)}::int, ${delivery.body.length}::int, ${verified}::boolean,
        ${status === 429}::boolean
      where (select count(*) from (select from attune.webhook_delivery where trigger = ${webhook.trigger.id}::bigint
        and error is not null and created > now() - interval '1 hour' limit ${maxRefused}::int) recent) < ${maxRefused}::int`,
  );
}

/** One event of a delivery: the body of its payload, and the id by which a repetition is known. */
export interface DeliveredEvent {
  body: Json;
  id: string | null;
  /** The files that the body describes. */
  files?: readonly KeptFile[];
}

/**
 * Stores a verified delivery and its events, of which all but a single one have an id. Repeated events are their first ones. A delivery beyond
 * the webhook's rate is refused. Throws ConflictError (the trigger is disabled), InvalidInputError (a payload violates its schema).
 */
export async function acceptDelivery(
  tx: Tx,
  webhook: Webhook,
  delivery: Delivery & { signed: boolean },
  delivered: readonly DeliveredEvent[],
): Promise<DeliveryResponse> {
  const retryAfter = await secondsToWait(tx, webhook, delivered.length);
  if (retryAfter > 0) {
    const { requests, seconds } = webhook.config.rate_limit ?? { requests: 0, seconds: 0 };
    const error = `more than ${requests} events in ${seconds} seconds: try again in ${retryAfter} seconds`;
    return { status: 429, events: [], error, retryAfter };
  }
  const ids = delivered.map(({ id }) => (id !== null && id.length > longestId ? digestOf(id) : id));
  // In one order, so that two deliveries with the same ids do not wait for each other. They count for the rate from now on, not from the beginning of
  // the transaction, which may have waited.
  const stored = await rows<{ id: string; deliveryId: string | null }>(
    tx.db,
    sql`insert into attune.webhook_delivery (created, trigger, source_ip, status_code, duration_ms, size, hmac_verified, delivery_id)
      select clock_timestamp(), ${webhook.trigger.id}::bigint, ${delivery.sourceIp}::inet, 202,
        ${elapsed(delivery)}::int, ${delivery.body.length}::int, ${delivery.signed || null}::boolean, r.id
      from jsonb_to_recordset(${JSON.stringify(ids.map((id) => ({ id })))}::text::jsonb) as r(id text) order by r.id
      on conflict (trigger, delivery_id) do nothing returning id::text as "id", delivery_id as "deliveryId"`,
  );
  const rowOf = new Map(stored.map(({ id, deliveryId }) => [deliveryId, id]));
  const fresh = [...rowOf].map(([deliveryId, row]) => ({ row, at: ids.indexOf(deliveryId) }));
  const linked = fresh.length === 0 ? [] : await emitFresh(tx, webhook, delivery, { fresh, delivered });
  const isRepeated = delivered.length > fresh.length;
  const first = isRepeated ? await firstEvents(tx, webhook, ids) : new Map<string | null, string | null>();
  const events = ids.map((id, at) => linked.find((each) => each.at === at)?.event ?? first.get(id) ?? null);
  return { status: fresh.length > 0 ? 202 : 200, events, error: null };
}

/** Stores the events of the rows that are new, and returns them with their rows. */
async function emitFresh(
  tx: Tx,
  webhook: Webhook,
  delivery: Delivery,
  { fresh, delivered }: { fresh: readonly { row: string; at: number }[]; delivered: readonly DeliveredEvent[] },
): Promise<{ row: string; at: number; event: string | null }[]> {
  const events = fresh.flatMap(({ at }) => delivered[at] ?? []);
  await storeFiles(tx, webhook.trigger.ref, events);
  const emitted = await emitEvents(tx, await eventsOf(tx, webhook, delivery, events));
  const linked = fresh.map((each, index) => ({ ...each, event: emitted[index] ?? null }));
  await tx.db.execute(
    sql`update attune.webhook_delivery d set event = r.event
      from jsonb_to_recordset(${JSON.stringify(linked)}::text::jsonb) as r("row" bigint, event bigint) where d.id = r."row"`,
  );
  return linked;
}

const digestOf = (id: string) => createHash("sha256").update(id).digest("hex");

/**
 * Returns after how many seconds the webhook's rate has room for so many events; 0: now. More events than the rate ever allows need it whole.
 * Deliveries of one webhook wait for each other, so that the rate holds however many processes accept them.
 */
async function secondsToWait(tx: Tx, { trigger, config }: Webhook, events: number): Promise<number> {
  if (!config.rate_limit) return 0;
  const { requests, seconds } = config.rate_limit;
  const room = Math.min(Math.max(events, 1), requests);
  await rows(tx.db, sql`select pg_advisory_xact_lock(hashtextextended('attune.webhook', ${trigger.id}::bigint))`);
  const [last] = await rows<{ wait: number }>(
    tx.db,
    sql`select ceil(extract(epoch from created + make_interval(secs => ${seconds}::int) - clock_timestamp()))::int as wait
      from attune.webhook_delivery where trigger = ${trigger.id}::bigint and error is null
      order by created desc, id desc offset ${requests - room}::int limit 1`,
  );
  return Math.max(0, last?.wait ?? 0);
}

async function firstEvents(tx: Tx, { trigger }: Webhook, ids: readonly (string | null)[]) {
  const found = await rows<{ id: string; event: string | null }>(
    tx.db,
    sql`select delivery_id as "id", event::text as "event" from attune.webhook_delivery where trigger = ${trigger.id}::bigint
      and delivery_id in (select jsonb_array_elements_text(${JSON.stringify(ids)}::text::jsonb))`,
  );
  return new Map<string | null, string | null>(found.map(({ id, event }) => [id, event]));
}

async function eventsOf(
  tx: Tx,
  webhook: Webhook,
  delivery: Delivery,
  delivered: readonly DeliveredEvent[],
): Promise<NewEvent[]> {
  const cause = readCause(tx.keyring, delivery.headers[causeHeader]);
  const origin = (cause === null ? null : await originOf(tx.db, cause)) ?? noOrigin;
  const rest = { headers: cleanHeaders(webhook, delivery), query: delivery.query };
  const config = { ...webhook.config } as JsonObject;
  return delivered.map(({ body }) => ({
    ...{ trigger: webhook.trigger, payload: { body, ...rest }, config, source: null, rule: null, ...origin },
  }));
}

const noOrigin = { traceTag: null, cause: null, generation: 0 };

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
  { config, secrets }: Webhook,
  delivery: Delivery,
): Verified | { error: string } {
  const { hmac, delivery_header: idHeader } = config;
  if (!hmac) return { signed: false, id: (idHeader && delivery.headers[idHeader]?.trim()) || null };
  if (secrets.length === 0) return { error: "the webhook has no secret to check the signature with: enable it again" };
  const checked = checkSignature(delivery, {
    config: hmac,
    secrets: secrets.map((each) => keyring.open(each)),
    idHeader,
  });
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

/** Returns whether the text is the webhook's verify token, in constant time. */
export function isVerifyToken(keyring: Keyring, { verifyToken }: Webhook, given: string): boolean {
  if (verifyToken === null) return false;
  return timingSafeEqual(Buffer.from(digestOf(given)), Buffer.from(digestOf(keyring.open(verifyToken))));
}
