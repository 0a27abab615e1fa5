import { type SQL, sql } from "drizzle-orm";
import { anyOf, rows } from "../db/client.ts";
import type { Tx } from "../db/tx.ts";
import type { PendingEvent } from "./match.ts";

/**
 * Stored bytes of payloads after which a batch takes no further event: they stay pending without having been read, so that neither the memory
 * nor the length of the transaction, which holds back the feed, grows with what the events hold.
 */
const batchBytes = 1024 * 1024;

/** A locked event; one beyond the batch's bytes, as are all that follow it, comes without its payload. */
export interface LockedEvent extends PendingEvent {
  isBeyond: boolean;
}

/** Locks and returns up to `limit` pending events that are due, the oldest first, without those that another transaction holds. */
export async function takeEvents(tx: Tx, limit: number): Promise<LockedEvent[]> {
  return await lock(tx, sql`${due} order by p.event limit ${limit}::int for update skip locked`);
}

/** SQL: the pending events that are due. */
export const due = sql`select p.event from attune.pending_event p where (p.retry_at is null or p.retry_at <= clock_timestamp())`;

/** Locks and returns the events with these ids that are pending. */
export async function lockEvents(tx: Tx, ids: readonly string[]): Promise<LockedEvent[]> {
  return await lock(
    tx,
    sql`select p.event from attune.pending_event p where p.event = ${anyOf(ids)} order by p.event for update`,
  );
}

/** Locks pending events, and then the events, with the revision of their triggers' rules in this snapshot. */
async function lock(tx: Tx, pending: SQL): Promise<LockedEvent[]> {
  return await rows<LockedEvent>(
    tx.db,
    sql`with s as materialized (
        select e.id, sum(pg_column_size(e.payload)) over (order by e.id) - pg_column_size(e.payload) >= ${batchBytes}::int as beyond
        from attune.event e where e.id = any (array(${pending})))
      select e.id::text as "id", e.trigger::text as "trigger", e.trigger_ref as "triggerRef", coalesce(s.beyond, false) as "isBeyond",
        case when s.beyond is not true then e.payload end as "payload",
        e.rule::text as "rule", e.trace_tag as "traceTag", e.trace_context as "traceContext", e.generation as "generation",
        to_jsonb(e.created) #>> '{}' as "created", to_jsonb(now()) #>> '{}' as "now", t.rules_revision::text as "rulesRevision"
      from s join attune.event e on e.id = s.id left join attune.trigger t on t.id = e.trigger
      order by e.id for no key update of e`,
  );
}

/** Stores that the events were evaluated. `omitted` has the numbers of evaluations that were not recorded, by event. */
export async function markEvaluated(
  tx: Tx,
  events: readonly PendingEvent[],
  omitted: Readonly<Record<string, number>> = {},
): Promise<void> {
  if (events.length === 0) return;
  const ids = events.map(({ id }) => id);
  await Promise.all([
    removePending(tx, ids),
    rows(
      tx.db,
      sql`update attune.event set evaluated_at = clock_timestamp(),
          skipped = case when trigger is null then 'its trigger no longer exists' end,
          evaluations_omitted = coalesce((${JSON.stringify(omitted)}::text::jsonb ->> id::text)::int, 0)
        where id = ${anyOf(ids)}`,
    ),
  ]);
}

/** Removes events from those that are to be evaluated. */
export async function removePending(tx: Tx, ids: readonly string[]): Promise<void> {
  await rows(tx.db, sql`delete from attune.pending_event where event = ${anyOf(ids)}`);
}

/** Lets an event wait for its next try. */
export async function postponeEvent(tx: Tx, id: string, seconds: number): Promise<void> {
  await rows(
    tx.db,
    sql`update attune.pending_event set retry_at = clock_timestamp() + make_interval(secs => ${seconds}::int) where event = ${id}::bigint`,
  );
}
