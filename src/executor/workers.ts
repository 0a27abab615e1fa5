import { sql } from "drizzle-orm";
import { type Db, rows } from "../db/client.ts";
import { inProgress, statusIn } from "../execution/states.ts";
import { isAlive, type ProcessIdentity, thisHost } from "../lib/process-identity.ts";

/** A worker that misses three heartbeats of ten seconds is lost. */
const silentSeconds = 30;

/**
 * The ids of workers that will never report again: silent for too long, or processes of this very host that the operating
 * system no longer knows (so that a killed process is noticed at once where it was killed).
 */
export async function findDeadWorkers(db: Db): Promise<string[]> {
  const workers = await rows<{ id: string; silent: boolean; process: ProcessIdentity | null }>(
    db,
    sql`select w.id::text, w.meta -> 'process' as process,
        coalesce(w.last_heartbeat < now() - make_interval(secs => ${silentSeconds}::int), true) as silent
      from attune.worker w
      where w.status in ('active', 'busy')
        or exists (select from attune.execution e where e.worker = w.id and ${statusIn(inProgress, "e.status")})`,
  );
  const host = thisHost();
  return workers
    .filter(({ silent, process }) => silent || (process !== null && process.host === host && !isAlive(process)))
    .map(({ id }) => id);
}
