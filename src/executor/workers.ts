import { sql } from "drizzle-orm";
import { type Db, rows } from "../db/client.ts";
import { inProgress, statusIn } from "../execution/states.ts";
import { isSilent } from "../execution/stuck.ts";
import { isAlive, type ProcessIdentity, thisHost } from "../lib/process-identity.ts";

/** A dead worker; `process` is null when it is not known. */
export interface DeadWorker {
  id: string;
  process: ProcessIdentity | null;
  /** What it runs according to the database. */
  executions: string[];
}

/**
 * Returns the dead workers: those without heartbeats for too long, and those whose process on this host no longer exists, so
 * that a killed worker is found at once on its own host.
 */
export async function findDeadWorkers(db: Db): Promise<DeadWorker[]> {
  const workers = await rows<DeadWorker & { silent: boolean }>(
    db,
    sql`select w.id::text, w.meta -> 'process' as process,
        array(select e.id::text from attune.execution e where e.worker = w.id and ${statusIn(inProgress, "e.status")}) as executions,
        ${isSilent} as silent
      from attune.worker w
      where w.status in ('active', 'busy')
        or exists (select from attune.execution e where e.worker = w.id and ${statusIn(inProgress, "e.status")})`,
  );
  const host = thisHost();
  return workers.filter(
    ({ silent, process }) => silent || (process !== null && process.host === host && !isAlive(process)),
  );
}
