import { sql } from "drizzle-orm";
import { anyOf, rows } from "../db/client.ts";
import type { Services } from "../db/services.ts";
import { type Tx, write } from "../db/tx.ts";
import { endParked, isParked, type ParkedEnd } from "../execution/parked.ts";
import type { Json } from "../lib/json.ts";

const batch = 200;

/** What one pass did. */
export interface Expired {
  /** How many inquiries and waits it ended. */
  ended: number;
  /** Milliseconds until the next is due; null when none is. */
  nextMs: number | null;
}

/**
 * Ends inquiries whose time is up, with their default answers, and in the same transaction the executions that wait for them;
 * then what waits beyond its own deadline. Any number of processes may run it at the same time.
 */
export async function expireInquiries(services: Services): Promise<Expired> {
  const expired = await write(services, expireDue);
  const late = await write(services, endLate);
  const [next] = await rows<{ ms: number | null }>(
    services.db,
    sql`select (extract(epoch from least(
          (select min(timeout_at) from attune.inquiry where status = 'pending' and timeout_at is not null),
          (select min(e.deadline) from attune.execution e where e.status = 'running' and ${isParked}))
          - clock_timestamp()) * 1000)::float8 as ms`,
  );
  return { ended: expired + late, nextMs: next?.ms ?? null };
}

async function expireDue(tx: Tx): Promise<number> {
  const due = await rows<{ id: string; execution: string | null }>(
    tx.db,
    sql`select id::text, execution::text from attune.inquiry where status = 'pending' and timeout_at <= now()
      order by timeout_at, id limit ${sql.raw(String(batch))}`,
  );
  if (due.length === 0) return 0;
  // Executions before their inquiries, as everybody locks them; who holds one of them just now is ending it.
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
  await endParked(tx, ends);
  return expired.length;
}

function unanswered(id: string): ParkedEnd {
  const message = "nobody answered in time";
  return { id, status: "timeout", data: null, error: { code: "TIMEOUT", message }, reason: message };
}

/** What waits has no worker that would keep its deadline. */
async function endLate(tx: Tx): Promise<number> {
  const late = await rows<{ id: string }>(
    tx.db,
    sql`select e.id::text from attune.execution e where e.status = 'running' and e.deadline <= now() and ${isParked}
      order by e.id limit ${sql.raw(String(batch))} for no key update of e skip locked`,
  );
  return (
    await endParked(
      tx,
      late.map(({ id }) => unanswered(id)),
    )
  ).length;
}
