import { type SQL, sql } from "drizzle-orm";
import { fromPglite, PgBoss } from "pg-boss";
import type { Log } from "../log.ts";
import { type Database, type Db, rowsOfText, usualLimits } from "./client.ts";

/** A job only names a row; the row's state decides what is to be done. */
export interface Job {
  id: string;
  entity: string;
}

/** An entity to enqueue: higher priorities are taken first, and none before `startAfter`. */
export interface Waiting {
  id: string;
  priority?: number;
  startAfter?: Date;
}

/** The job queue, used only inside the caller's own transactions. */
export interface Jobs extends AsyncDisposable {
  /** Creates the queue if it is missing; must be called outside of any transaction, before the queue's first use. */
  open(queue: string): Promise<void>;
  /** Returns whether this process has opened the queue. */
  isOpen(queue: string): boolean;
  /** Enqueues one job for each entity that has none. */
  add(tx: Db, queue: string, entities: readonly Waiting[]): Promise<void>;
  /** Takes up to `limit` jobs; they become available again at once if the transaction does not commit. */
  take(tx: Db, queue: string, limit: number): Promise<Job[]>;
  /** Deletes jobs that were taken, in the transaction that took them. */
  done(tx: Db, queue: string, jobs: readonly Job[]): Promise<void>;
}

/** SQL: whether the entity (a bigint expression) has a job in the queue. Reads pg-boss's own table by its primary key. */
export function hasJob(queue: SQL, entity: SQL): SQL {
  return sql`exists (select from attune_jobs.job j where j.name = ${queue} and j.id = lpad(to_hex(${entity}), 32, '0')::uuid)`;
}

/** Returns the queue of executions that wait for any worker with that runtime. */
export const runtimeQueue = (runtimeRef: string): Queue => `execution/${runtimeRef}`;
/** The queue of executions that wait for a worker. */
export type Queue = `execution/${string}`;
/** SQL: the queue of an execution by its runtime's ref and its selector: each selector of a runtime has one of its own. Null without a runtime. */
export const queueOf = (runtimeRef: SQL, selector: SQL): SQL => sql`attune.execution_queue(${runtimeRef}, ${selector})`;

/** The job's id is computed from the entity's, so that adding a job twice changes nothing. */
function jobId(entity: string): string {
  const hex = BigInt(entity).toString(16).padStart(32, "0");
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}

/** Runs pg-boss's statements inside the caller's transaction, prepared: unprepared they took half of an event's time. */
function within(tx: Db, { prepared = true } = {}) {
  return {
    executeSql: async (text: string, values: unknown[] = []) => ({
      rows: await rowsOfText(tx, text, values, { prepared }),
    }),
  };
}

/**
 * A prepared statement keeps the plan that was made over a small queue, in which taking jobs costs the square of their number. Above
 * this number, the next take is planned anew.
 */
const fewJobs = 16;

/** Its statements are the queues' own; maintenance of a large queue may take longer than a request. */
const jobsClient = {
  max: 2,
  application_name: "attune jobs",
  connectionTimeoutMillis: usualLimits.connect,
  statement_timeout: 60_000,
  query_timeout: 65_000,
  idle_in_transaction_session_timeout: usualLimits.idleInTransaction,
  keepAlive: true,
};

/**
 * Starts pg-boss: on PostgreSQL with its own small pool (it migrates with multi-statement transactions), on PGlite with the instance.
 */
export async function startJobs(database: Database, log: Log): Promise<Jobs> {
  const shared = { schema: "attune_jobs", schedule: false, monitorVacuum: false, reindex: false };
  const boss = database.pglite
    ? new PgBoss({ ...shared, db: fromPglite(database.pglite), backend: "pglite" })
    : new PgBoss({ ...shared, connectionString: database.url ?? "", ...jobsClient });
  boss.on("error", (error) => {
    Reflect.deleteProperty(error, "client"); // the pool adds the whole connection
    log.error({ err: error }, "job queue");
  });
  await boss.start();
  const known = new Set<string>();
  const lastTaken = new Map<string, number>();
  return {
    open: async (queue) => {
      if (known.has(queue)) return;
      await boss.createQueue(queue, { retryLimit: 0, notify: false });
      // pg-boss looks up an unknown queue on its own connection. Inside a transaction on PGlite, which has only one connection,
      // that would wait forever. This call, which deletes nothing, makes pg-boss look it up now.
      await boss.deleteJob(queue, jobId("0"));
      known.add(queue);
    },
    isOpen: (queue) => known.has(queue),
    add: async (tx, queue, entities) => {
      // It would wait for ever: see `open`.
      if (database.pglite && !known.has(queue)) throw new Error(`the queue ${queue} is not open`);
      const jobs = entities.map(({ id, ...options }) => ({ id: jobId(id), data: { entity: id }, ...options }));
      await boss.insert(queue, jobs, { db: within(tx) });
    },
    take: async (tx, queue, limit) => {
      const prepared = (lastTaken.get(queue) ?? 0) <= fewJobs;
      const jobs = await boss.fetch<{ entity: string }>(queue, { batchSize: limit, db: within(tx, { prepared }) });
      lastTaken.set(queue, jobs.length);
      return jobs.map((job) => ({ id: job.id, entity: job.data.entity }));
    },
    done: async (tx, queue, jobs) => {
      if (jobs.length > 0)
        await boss.deleteJob(
          queue,
          jobs.map((job) => job.id),
          { db: within(tx) },
        );
    },
    [Symbol.asyncDispose]: () => boss.stop({ graceful: true, timeout: 5000 }),
  };
}
