import { sql } from "drizzle-orm";
import { rows } from "../db/client.ts";
import type { Tx } from "../db/tx.ts";
import { Refusal } from "../errors.ts";
import type { JsonObject } from "../lib/json.ts";
import { checkPayload } from "../schema/payload.ts";
import { type EventTrigger, emitEvents } from "./record.ts";

/** How many are taken in one transaction. */
export const platformBatch = 100;

interface Pending {
  id: string;
  triggerRef: string;
  payload: JsonObject;
  cause: string | null;
  generation: number;
  traceTag: string | null;
  /** Null when the trigger was deleted. */
  trigger: EventTrigger | null;
}

/**
 * Makes events of what database triggers have written of the platform's own life (`attune.tell`), each once, and returns how many were taken. What no
 * longer is an event of its trigger, because that was changed or disabled, is dropped.
 */
export async function emitPlatformEvents(tx: Tx): Promise<number> {
  const pending = await rows<Pending>(
    tx.db,
    sql`select p.id::text as "id", p.trigger_ref as "triggerRef", p.payload, p.cause_execution::text as "cause", p.generation, p.trace_tag as "traceTag",
        (select jsonb_build_object('id', t.id::text, 'ref', t.ref, 'enabled', t.enabled, 'outSchema', t.out_schema)
          from attune.trigger t where t.ref = p.trigger_ref) as "trigger"
      from attune.platform_event p order by p.id limit ${platformBatch}::int for update of p skip locked`,
  );
  if (pending.length === 0) return 0;
  const events = pending.flatMap(({ trigger, payload, cause, generation, traceTag, ...each }) => {
    const fault = faultOf(trigger, payload);
    if (trigger === null || fault !== null) {
      tx.log.warn({ trigger: each.triggerRef, fault }, "an event of the platform was dropped");
      return [];
    }
    return [{ trigger, payload, cause, generation, traceTag, config: null, source: null, rule: null }];
  });
  const ids = JSON.stringify(pending.map(({ id }) => id));
  await tx.db.execute(
    sql`delete from attune.platform_event where id in (select value::bigint from jsonb_array_elements_text(${ids}::text::jsonb))`,
  );
  if (events.length > 0) await emitEvents(tx, events);
  return pending.length;
}

function faultOf(trigger: EventTrigger | null, payload: JsonObject): string | null {
  if (trigger === null) return "the trigger was deleted";
  if (!trigger.enabled) return "the trigger is disabled";
  try {
    checkPayload(trigger, payload);
    return null;
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    return error.message;
  }
}

/** A condition of the platform that lasts, and that needs attention. */
export interface Alert {
  name: "disk" | "lag";
  title: string;
  details: JsonObject;
}

/** Reports an alert at its beginning, as an event of `core.alert`; null instead of the alert: it is over. */
export async function reportAlert(tx: Tx, name: Alert["name"], alert: Alert | null): Promise<void> {
  if (alert === null) {
    await tx.db.execute(sql`delete from attune.platform_alert where name = ${name}`);
    return;
  }
  const payload = { title: alert.title, severity: "warning", source: "attune", details: alert.details };
  await tx.db.execute(
    sql`with begun as (insert into attune.platform_alert (name) values (${name}) on conflict do nothing returning id)
      select attune.tell('core.alert', ${JSON.stringify(payload)}::text::jsonb) from begun`,
  );
}
