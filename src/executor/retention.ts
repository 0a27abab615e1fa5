import { sql } from "drizzle-orm";
import { pruneArtifacts, sweepFiles } from "../artifact/retention.ts";
import type { Services } from "../db/services.ts";
import { startLoop } from "../lib/loop.ts";
import { createPass } from "../retention/pass.ts";

const vacuumEveryMs = 180_000;

/**
 * Returns a function for every sweep, which vacuums and analyses the tables that change most, every few minutes. Only the embedded
 * database needs it, because it has no autovacuum; on PostgreSQL it does nothing.
 */
export function createVacuum(services: Services): () => Promise<void> {
  let last = Date.now();
  return async () => {
    if (services.kind !== "pglite" || Date.now() - last < vacuumEveryMs) return;
    last = Date.now();
    for (const table of [
      "execution",
      "event",
      "enforcement",
      "worker",
      "trigger",
      "timer",
      "notification",
      "rule_evaluation",
      "rule_window",
      "execution_log",
      "execution_transition",
      "webhook_delivery",
    ]) {
      await services.db.execute(sql`vacuum (analyze) attune.${sql.identifier(table)}`);
    }
    await services.db.execute(sql`vacuum (analyze) attune_jobs.job`);
  };
}

/** Starts the deletion of old rows: all rules every `everyMs` milliseconds, in batches with pauses. Any number of processes may run it. */
export function startRetention(services: Services, everyMs: number): AsyncDisposable {
  const pass = createPass(services, everyMs);
  return startLoop({ pass, failed: (error) => services.log.error({ err: error }, "retention") });
}

const pruneEveryMs = 60_000;
const sweepFilesEveryMs = 3600_000;
/** A file without a row that is unchanged for this long was left by a process that died, or by a version that was deleted. */
const fileAgeMs = 3600_000;

/**
 * Returns a function for every sweep, which deletes versions past their retention once a minute, and files without a version once an
 * hour.
 */
export function createArtifactKeeper(services: Services): () => Promise<void> {
  let pruned = Number.NEGATIVE_INFINITY;
  let swept = Number.NEGATIVE_INFINITY;
  return async () => {
    const now = Date.now();
    if (now - pruned >= pruneEveryMs) {
      pruned = (await pruneArtifacts(services)) ? Number.NEGATIVE_INFINITY : now;
    }
    if (now - swept < sweepFilesEveryMs) return;
    swept = now;
    const removed = await sweepFiles(services, fileAgeMs);
    if (removed > 0) services.log.info({ files: removed }, "removed files that belong to no artifact");
  };
}
