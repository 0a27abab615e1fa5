import { type SQL, sql } from "drizzle-orm";
import { anyOf, type Db, rows } from "../db/client.ts";
import type { Tx } from "../db/tx.ts";
import { endParked, type ParkedEnd } from "../execution/parked.ts";
import type { Json } from "../lib/json.ts";

const batch = 200;

/** SQL: whether the execution `e` waits for an inquiry whose row was deleted by hand. */
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
 * Ends expired inquiries with their default responses and, in the same transaction, the executions that wait for them. Any number of
 * processes may do so at the same time. Returns the number of inquiries.
 */
export async function expireDue(tx: Tx): Promise<number> {
  const due = await rows<{ id: string; execution: string | null }>(
    tx.db,
    sql`select id::text, execution::text from attune.inquiry where status = 'pending' and timeout_at <= now()
      order by timeout_at, id limit ${sql.raw(String(batch))}`,
  );
  if (due.length === 0) return 0;
  // Every transaction locks executions before inquiries. An execution that is locked now is being ended by another transaction.
  const asking = due.flatMap(({ execution }) => execution ?? []);
  const locked = await rows<{ id: string }>(
    tx.db,
    sql`select id::text from attune.execution where id = ${anyOf(asking)} order by id for no key update skip locked`,
  );
  const held = new Set(locked.map(({ id }) => id));
  const free = due.filter(({ execution }) => execution === null || held.has(execution));
  const expired = await rows<{ execution: string | null; response: Json; hasDefault: boolean }>(
    tx.db,
    sql`update attune.inquiry set status = 'timeout', response = default_response
      where status = 'pending' and id in (select id from attune.inquiry where id = ${anyOf(free.map(({ id }) => id))}
        and status = 'pending' order by id for no key update skip locked)
      returning execution::text as "execution", default_response as "response", default_response is not null as "hasDefault"`,
  );
  const ends = expired.flatMap(({ execution, response, hasDefault }): ParkedEnd[] => {
    if (execution === null) return [];
    if (!hasDefault) return [expiredWithoutResponse(execution)];
    const data = { response, responded_by: null, responded_at: null, expired: true };
    const reason = "no response in time: the default was used";
    return [{ id: execution, status: "completed", data, error: null, reason }];
  });
  await endParked(tx, "inquiry", ends);
  return expired.length;
}

function expiredWithoutResponse(id: string): ParkedEnd {
  const message = "no response in time";
  return { id, status: "timeout", data: null, error: { code: "TIMEOUT", message }, reason: message };
}

/** Ends executions that wait for an inquiry past their own deadlines, which no worker watches. Returns their number. */
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
      late.map(({ id }) => expiredWithoutResponse(id)),
    )
  ).length;
}
