import { type SQL, sql } from "drizzle-orm";
import { anyOf, type Db, rows } from "../db/client.ts";
import type { Tx } from "../db/tx.ts";
import { endParked, type ParkedEnd } from "../execution/parked.ts";
import type { Json } from "../lib/json.ts";

const batch = 200;

/** SQL: whether the execution `e` waits for an inquiry that is not there: its row was deleted by hand. */
export const hasLostInquiry: SQL = sql.raw(`e.waits_for = 'inquiry'
  and not exists (select from attune.inquiry i where i.execution = e.id and i.status = 'pending')`);

/** Returns in how many milliseconds the next inquiry or wait is due; null when none is. */
export async function untilNextDue(db: Db): Promise<number | null> {
  const [next] = await rows<{ ms: number | null }>(
    db,
    sql`select (extract(epoch from least(
          (select min(timeout_at) from attune.inquiry where status = 'pending' and timeout_at is not null),
          (select min(deadline) from attune.execution where waits_for = 'inquiry'))
          - clock_timestamp()) * 1000)::float8 as ms`,
  );
  return next?.ms ?? null;
}

/**
 * Ends inquiries that have expired, with their default responses, and in the same transaction the executions that wait for them.
 * Any number of processes may do so at the same time. Returns how many.
 */
export async function expireDue(tx: Tx): Promise<number> {
  const due = await rows<{ id: string; execution: string | null }>(
    tx.db,
    sql`select id::text, execution::text from attune.inquiry where status = 'pending' and timeout_at <= now()
      order by timeout_at, id limit ${sql.raw(String(batch))}`,
  );
  if (due.length === 0) return 0;
  // Executions before their inquiries: the order of every transaction. One that is locked now is being ended by another.
  const asking = due.flatMap(({ execution }) => execution ?? []);
  const locked = await rows<{ id: string }>(
    tx.db,
    sql`select id::text from attune.execution where id = ${anyOf(asking)} order by id for no key update skip locked`,
  );
  const held = new Set(locked.map(({ id }) => id));
  const free = due.filter(({ execution }) => execution === null || held.has(execution));
  const expired = await rows<{ execution: string | null; response: Json; answered: boolean }>(
    tx.db,
    sql`update attune.inquiry set status = 'timeout', response = default_response
      where status = 'pending' and id in (select id from attune.inquiry where id = ${anyOf(free.map(({ id }) => id))}
        and status = 'pending' order by id for no key update skip locked)
      returning execution::text as "execution", default_response as "response", default_response is not null as "answered"`,
  );
  const ends = expired.flatMap(({ execution, response, answered }): ParkedEnd[] => {
    if (execution === null) return [];
    if (!answered) return [unanswered(execution)];
    const data = { response, responded_by: null, responded_at: null, expired: true };
    const reason = "nobody answered in time: the default was taken";
    return [{ id: execution, status: "completed", data, error: null, reason }];
  });
  await endParked(tx, "inquiry", ends);
  return expired.length;
}

function unanswered(id: string): ParkedEnd {
  const message = "nobody answered in time";
  return { id, status: "timeout", data: null, error: { code: "TIMEOUT", message }, reason: message };
}

/** Ends executions that wait for an inquiry past their own deadlines: no worker keeps those. Returns how many. */
export async function endLate(tx: Tx): Promise<number> {
  const late = await rows<{ id: string }>(
    tx.db,
    sql`select id::text from attune.execution where waits_for = 'inquiry' and deadline <= now()
      order by id limit ${sql.raw(String(batch))} for no key update skip locked`,
  );
  return (
    await endParked(
      tx,
      "inquiry",
      late.map(({ id }) => unanswered(id)),
    )
  ).length;
}
