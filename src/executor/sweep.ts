import { sql } from "drizzle-orm";
import { anyOf, rows } from "../db/client.ts";
import { queueOf } from "../db/jobs.ts";
import type { Services } from "../db/services.ts";
import { type Tx, write } from "../db/tx.ts";
import { countEnded } from "../execution/ended.ts";
import { enqueue, type Scheduled } from "../execution/enqueue.ts";
import { loseExecutions } from "../execution/lose.ts";
import { type Ended, endedColumns, settle } from "../execution/settle.ts";
import { hasPlace, leaveGroups } from "../execution/slots.ts";
import { cancelledOr, type ExecutionStatus } from "../execution/states.ts";
import { isOverdue, isUnqueued, isUnschedulable, whatIsMissing } from "../execution/stuck.ts";
import { hasLostInquiry } from "../inquiry/expire.ts";
import { endLostProcesses } from "../lib/action-processes.ts";
import { startLoop } from "../lib/loop.ts";
import { type ProcessIdentity, thisHost } from "../lib/process-identity.ts";
import { removeLeftScratch } from "../lib/scratch.ts";
import { pruneGroups, repairGroups } from "../policy/repair.ts";
import { dropExpired } from "../rule/windows.ts";
import { createArtifactKeeper, createVacuum } from "./retention.ts";
import { type DeadWorker, findDeadWorkers } from "./workers.ts";

/** The number of rows repaired in one transaction; a full batch is followed by another pass at once. */
const batch = 500;

/** The numbers of rows that one pass repaired. */
export interface SweepReport {
  executions: number;
  lost: number;
  timedOut: number;
  unschedulable: number;
  admissions: number;
}

/**
 * Starts the sweep: every `everyMs` milliseconds it restores the invariants after failures of workers, processes or the job queue, and
 * deletes what is no longer needed.
 */
export function startSweep(services: Services, everyMs: number): AsyncDisposable {
  const vacuum = createVacuum(services);
  const keepArtifacts = createArtifactKeeper(services);
  return startLoop({
    pass: async () => {
      const report = await sweep(services);
      if (Object.values(report).some((count) => count > 0)) services.log.info(report, "sweep");
      await write(services, pruneGroups);
      while (await write(services, dropExpired));
      await keepArtifacts();
      await removeLeftScratch();
      await vacuum();
      return report.executions >= batch ? 0 : everyMs;
    },
    failed: (error) => services.log.error({ err: error }, "sweep"),
  });
}

/** Runs one pass. Any number of processes may do so at the same time. */
export async function sweep(services: Services): Promise<SweepReport> {
  return {
    lost: await reapLost(services),
    timedOut: await endOverdue(services),
    executions: await requeueExecutions(services),
    unschedulable: await failUnschedulable(services),
    admissions: await write(services, repairGroups),
  };
}

/** Creates missing jobs of executions. */
async function requeueExecutions(services: Services): Promise<number> {
  return await write(services, async (tx) => {
    const left = await rows<Scheduled>(
      tx.db,
      sql`select e.id::text, ${queueOf(sql`rt.ref`, sql`e.worker_selector`)} as queue, e.priority from attune.execution e join attune.action a on a.id = e.action
          join attune.runtime rt on rt.id = a.runtime
        where ${isUnqueued} order by e.id limit ${sql.raw(String(batch))}`,
    );
    await enqueue(tx, left);
    return left.length;
  });
}

/**
 * Requeues or ends, as their actions define, executions whose worker is dead or whose inquiry was deleted. First it ends what the worker
 * left on this host, so that no next attempt runs beside it; what it cannot end, the timeline says.
 */
async function reapLost(services: Services): Promise<number> {
  const dead = await findDeadWorkers(services.db);
  const [here, elsewhere] = [dead.filter(isHere), dead.filter((worker) => !isHere(worker))];
  const ended = await endLostProcesses(
    here.flatMap(({ process, executions }) =>
      process === null ? [] : executions.map((execution) => ({ process, execution })),
    ),
  );
  const lose = (tx: Tx, workers: readonly DeadWorker[], reason: string) =>
    loseExecutions(tx, sql`e.worker = ${anyOf(workers.map(({ id }) => id))}`, reason);
  return await write(services, async (tx) => {
    await tx.db.execute(
      sql`update attune.worker set status = 'error' where id = ${anyOf(dead.map(({ id }) => id))} and status <> 'error'`,
    );
    return (
      (await lose(
        tx,
        here,
        ended ? "the worker was lost" : "the worker was lost, and processes that it left could not be ended",
      )) +
      (await lose(tx, elsewhere, "the worker was lost; what it ran on another host may go on there")) +
      (await loseExecutions(tx, hasLostInquiry, "the inquiry was lost"))
    );
  });
}

const isHere = ({ process }: DeadWorker) => process === null || process.host === thisHost();

/**
 * Ends executions half a minute past their deadlines, which their workers should have ended; they cannot while the database is away. What
 * their workers left running on this host is ended first, because the next execution may get the slot.
 */
async function endOverdue(services: Services): Promise<number> {
  const overdue = await rows<{ id: string; process: ProcessIdentity | null }>(
    services.db,
    sql`select e.id::text, w.meta -> 'process' as process from attune.execution e left join attune.worker w on w.id = e.worker
      where ${isOverdue} order by e.id limit ${sql.raw(String(batch))}`,
  );
  if (overdue.length === 0) return 0;
  const here = overdue.flatMap(({ id, process }) => (process?.host === thisHost() ? [{ process, execution: id }] : []));
  const passed = "the deadline passed and nothing ended it";
  const reason = (await endLostProcesses(here)) ? passed : `${passed}; processes that it left could not be ended`;
  return await write(services, async (tx) => {
    const ended = await rows<Ended>(
      tx.db,
      sql`update attune.execution e set status = ${cancelledOr("timeout")}, waits_for = null, reason = ${reason},
          finished_at = clock_timestamp(), error = jsonb_build_object('code', 'TIMEOUT', 'message', ${passed}::text)
        where id in (select e.id from attune.execution e where e.id = ${anyOf(overdue.map(({ id }) => id))} and ${isOverdue}
          for no key update skip locked)
        returning ${endedColumns}`,
    );
    await settle(tx, ended);
    return ended.length;
  });
}

/**
 * Fails executions that no worker could claim in the time that the setting gives, in which the database was there, and at once those whose action was deleted,
 * with the reason.
 */
async function failUnschedulable(services: Services): Promise<number> {
  return await write(services, async (tx) => {
    const failed = await rows<{ id: string; status: ExecutionStatus; hasPlace: boolean }>(
      tx.db,
      sql`update attune.execution e set status = 'failed', finished_at = clock_timestamp(),
          reason = s.reason, error = jsonb_build_object('code', 'UNSCHEDULABLE', 'message', s.reason)
        from (select e.id, ${whatIsMissing} as reason
            from attune.execution e left join attune.action a on a.id = e.action left join attune.runtime rt on rt.id = a.runtime
            where ${isUnschedulable(services.scheduleSeconds)} for no key update of e skip locked) s
        where e.id = s.id returning e.id::text, e.status, ${hasPlace} as "hasPlace"`,
    );
    countEnded(tx, failed);
    await leaveGroups(tx, failed);
    return failed.length;
  });
}
