import { sql } from "drizzle-orm";
import { type Db, rows } from "../db/client.ts";
import type { Services } from "../db/services.ts";
import { write } from "../db/tx.ts";
import type { RetentionName } from "../lib/retention.ts";
import { type Batch, cutoffsOf, removeBatch } from "./remove.ts";
import { ruleNames } from "./rules.ts";

/** The number of the advisory lock under which one process at a time deletes. */
const lock = "727304531";
const pauseMs = 20;
/** Rows that were needed when they were looked at are looked at again after this long. */
const againMs = 24 * 3600_000;

/**
 * Returns a function that removes one batch of one rule and returns the pause before the next: twice as long as the batch took, or `everyMs`
 * after the last rule. It keeps its positions in memory only: a process that starts looks at the kept rows once more.
 */
export function createPass(services: Services, everyMs: number): () => Promise<number> {
  const positions = new Map<RetentionName, string>();
  let started = Date.now();
  let turn = 0;
  return async () => {
    if (Date.now() - started > againMs) {
      positions.clear();
      started = Date.now();
    }
    const names = ruleNames.filter((name) => services.retention[name] > 0);
    const name = names[turn];
    if (name === undefined) {
      turn = 0;
      return everyMs;
    }
    const begun = performance.now();
    const batch = await removeAlone(services, name, positions.get(name) ?? "0").catch((error: unknown) => {
      turn += 1; // the rules after it must not wait for its cure
      throw error;
    });
    if (batch === null) return everyMs;
    positions.set(name, batch.after);
    if (!batch.hasMore) turn += 1;
    return batch.removed === 0 && !batch.hasMore ? 1 : Math.max(pauseMs, 2 * (performance.now() - begun));
  };
}

/** Removes everything that the rule removes now, in batches. Returns the number of rows. */
export async function removeAll(services: Services, name: RetentionName): Promise<number> {
  let total = 0;
  for (let after = "0"; ; ) {
    const batch = await removeAlone(services, name, after);
    if (batch === null) return total;
    total += batch.removed;
    after = batch.after;
    if (!batch.hasMore) return total;
  }
}

/** Removes a batch unless another process is removing one: then it returns null. It waits for no other transaction for longer than a second. */
async function removeAlone(services: Services, name: RetentionName, after: string): Promise<Batch | null> {
  // A transaction of its own: each batch is removed by itself.
  return await write(services, async ({ db }) => {
    if (!(await isAlone(db))) return null;
    await db.execute(sql`set local lock_timeout = '1s'`);
    return await removeBatch(db, name, { cutoffs: cutoffsOf(services.retention), after });
  });
}

async function isAlone(db: Db): Promise<boolean> {
  const [held] = await rows<{ alone: boolean }>(db, sql`select pg_try_advisory_xact_lock(${lock}::bigint) as alone`);
  return held?.alone === true;
}
