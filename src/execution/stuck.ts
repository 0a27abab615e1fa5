import { type SQL, sql } from "drizzle-orm";
import { hasJob } from "../db/jobs.ts";
import { inProgress, statusIn } from "./states.ts";

/** SQL: how long the sweep waits before it acts. The time in which the database was away does not count. */
export const patience = {
  /** A worker that misses three heartbeats of ten seconds is lost. */
  heartbeat: sql.raw("interval '30 seconds'"),
  /** Its worker ends an execution at the deadline; the sweep does what it cannot. */
  deadline: sql.raw("interval '30 seconds'"),
  /** For a worker with the execution's runtime. */
  queue: sql.raw("interval '5 minutes'"),
  /** A transaction that has just scheduled an execution may not be visible with its job. */
  job: sql.raw("interval '10 seconds'"),
};

/** SQL: whether the worker `w` has sent no heartbeat for too long. */
export const isSilent: SQL = sql`coalesce(attune.time_present(w.last_heartbeat) > ${patience.heartbeat}, true)`;

/** SQL: whether nothing ended the execution `e` at its deadline. */
export const isOverdue: SQL = sql`(${statusIn(inProgress, "e.status")} and e.deadline < now() - ${patience.deadline}
  and attune.time_present(e.deadline) > ${patience.deadline})`;

/** SQL: whether the execution `e`, whose runtime is `rt`, is scheduled and has lost its job. */
export const isUnqueued: SQL = sql`e.status = 'scheduled' and e.updated < now() - ${patience.job}
  and not ${hasJob(sql`'execution/' || rt.ref`, sql`e.id`)}`;

/** SQL: whether the execution `e`, whose runtime is `rt` (null if its action was deleted), found no worker in time. */
export const isUnschedulable: SQL = sql`e.status = 'scheduled' and (rt.ref is null or e.scheduled_at < now() - ${patience.queue}
    and attune.time_present(e.scheduled_at) > ${patience.queue})
  and not exists (select from attune.healthy_worker h where not h.cordoned and h.capabilities -> 'runtimes' ? rt.ref)`;
