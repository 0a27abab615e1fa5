import { sql } from "drizzle-orm";
import { rows } from "../db/client.ts";
import type { Services } from "../db/services.ts";
import { type Tx, write } from "../db/tx.ts";
import { startWokenLoop } from "../db/wake.ts";
import { admitStored } from "../execution/admit.ts";
import { promote } from "../execution/slots.ts";

/** Fallback for wake-ups that a killed process did not send. */
const pollMs = 15_000;
/** The shortest pause, for what is due but locked by another transaction. */
const leastMs = 20;
/** The number of executions, and of groups, of one transaction. */
const batch = 200;

/** Starts admitting executions when the time comes for which they wait. */
export function startAdmissions(services: Services): AsyncDisposable {
  return startWokenLoop(services.wake, "admission", {
    pass: async () => {
      const admitted = await write(services, admitDue);
      const nextMs = await untilNextDue(services);
      return admitted >= batch ? 0 : Math.max(leastMs, Math.min(pollMs, nextMs ?? pollMs));
    },
    failed: (error) => services.log.error({ err: error }, "admitting executions"),
  });
}

/**
 * Admits the executions whose time has come, and those that the rate of a policy allows now. Any number of processes may do so at the same
 * time. Returns how many executions and groups it took.
 */
export async function admitDue(tx: Tx): Promise<number> {
  const limit = sql.raw(String(batch));
  const due = await rows<{ id: string }>(
    tx.db,
    // By the transaction's time, which is stored as that of the admission: it is never before the requested time.
    sql`select id::text from attune.execution where status = 'requested' and run_at <= now()
      order by run_at, id limit ${limit} for no key update skip locked`,
  );
  await admitStored(
    tx,
    due.map(({ id }) => id),
  );
  const groups = await rows<{ id: string }>(
    tx.db,
    sql`select id::text from attune.policy_group where next_at <= clock_timestamp()
      order by next_at limit ${limit}`,
  );
  await promote(
    tx,
    groups.map(({ id }) => id),
  );
  return due.length + groups.length;
}

async function untilNextDue({ db }: Services): Promise<number | null> {
  const [next] = await rows<{ ms: number | null }>(
    db,
    sql`select (extract(epoch from least(
          (select min(run_at) from attune.execution where status = 'requested' and run_at is not null),
          (select min(next_at) from attune.policy_group where next_at is not null)) - clock_timestamp()) * 1000)::float8 as ms`,
  );
  return next?.ms ?? null;
}
