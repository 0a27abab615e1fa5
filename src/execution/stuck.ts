import { type SQL, sql } from "drizzle-orm";
import { hasJob, queueOf } from "../db/jobs.ts";
import { inProgress, statusIn } from "./states.ts";

/** SQL: how long the sweep waits before it acts. The time in which the database was away does not count. */
export const patience = {
  /** A worker that misses three heartbeats of ten seconds is lost. */
  heartbeat: sql.raw("interval '30 seconds'"),
  /** Its worker ends an execution at the deadline; the sweep does what it cannot. */
  deadline: sql.raw("interval '30 seconds'"),
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
  and not ${hasJob(queueOf(sql`rt.ref`, sql`e.worker_selector`), sql`e.id`)}`;

/** SQL: whether the healthy worker `h` takes executions like `e`, whose runtime is `rt`. */
export const takesSuch: SQL = sql.raw(`(not h.cordoned and h.capabilities -> 'runtimes' ? rt.ref
  and coalesce(h.capabilities -> 'labels', '{}') @> e.worker_selector)`);

/** SQL: an interval of that many seconds. */
export const secondsOf = (seconds: number): SQL => sql`make_interval(secs => ${seconds}::int)`;

/** Returns SQL: whether the execution `e`, whose runtime is `rt` (null if its action was deleted), found no worker within the seconds. */
export const isUnschedulable = (seconds: number): SQL => sql`e.status = 'scheduled'
  and (rt.ref is null or e.scheduled_at < now() - ${secondsOf(seconds)} and attune.time_present(e.scheduled_at) > ${secondsOf(seconds)})
  and not exists (select from attune.healthy_worker h where ${takesSuch})`;

/** SQL: what the unschedulable execution `e` lacks: its runtime, a worker that is not cordoned, or the labels that the others lack. */
export const whatIsMissing: SQL = sql`case when rt.ref is null then 'its action no longer exists'
  when not exists (select from attune.healthy_worker h where h.capabilities -> 'runtimes' ? rt.ref)
    then 'no worker with the runtime ' || rt.ref
  when not exists (select from attune.healthy_worker h where h.capabilities -> 'runtimes' ? rt.ref
      and coalesce(h.capabilities -> 'labels', '{}') @> e.worker_selector)
    then 'no worker with the runtime ' || rt.ref || ' has the labels '
      || (select string_agg(l.key || '=' || l.value, ', ' order by l.key) from jsonb_each_text(e.worker_selector) l)
  else 'every worker that could run it is cordoned' end`;
