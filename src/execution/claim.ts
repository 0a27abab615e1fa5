import { sql } from "drizzle-orm";
import type { ContainerSpec } from "../catalog/container.ts";
import { anyOf, rows } from "../db/client.ts";
import { type Queue, runtimeQueue } from "../db/jobs.ts";
import type { Tx } from "../db/tx.ts";
import { ConflictError } from "../errors.ts";
import type { JsonObject } from "../lib/json.ts";
import { enqueue, type Scheduled } from "./enqueue.ts";
import { hasStatusIn, inProgress, statusIn } from "./states.ts";

/** A claimed execution, with everything needed to run it. `attempt` fences its result. */
export interface Claim {
  id: string;
  attempt: number;
  /** How long it was scheduled before this attempt. */
  queuedSeconds: number;
  actionRef: string;
  ruleRef: string | null;
  triggerRef: string | null;
  /** What requested it, and its retries; null: no rule did. */
  enforcement: string | null;
  runtimeRef: string;
  /** The parameters, with `[secret:<name>]` in place of each of its secrets. */
  config: JsonObject;
  secrets: { path: string; encrypted: string }[];
  timeoutMs: number;
  /** The last `seq` of the log entries of earlier attempts. */
  logSeq: string;
  /** Whether it has permission sets, and therefore gets a token. */
  hasPermissions: boolean;
  /** Null when the action has been deleted. */
  entrypoint: string | null;
  parameterDelivery: "stdin" | "file";
  parameterFormat: "json" | "yaml" | "dotenv";
  outputFormat: "text" | "json" | "yaml" | "jsonl";
  packRef: string | null;
  /** Its place in a distributed trace, as a header; null: it is in none. */
  traceContext: string | null;
  /** How its container is run; null in other runtimes. */
  container: ContainerSpec | null;
  /**
   * The release that it was requested with, the path that it was loaded from, and the checksum of its environment for the runtime, if it needs
   * one; null for ad-hoc actions.
   */
  release: { digest: string; path: string; environment: string | null } | null;
}

/** Time-out in seconds when neither the execution nor its action has one. */
const defaultTimeoutSeconds = 600;

/** Stored bytes of parameters after which a claim takes no further execution: the rest is put back without having been read. */
const claimBytes = 4 * 1024 * 1024;

/** SQL: the ids of those of the executions that one claim takes together, by priority. An execution alone is within any limit. */
function withinBytes(jobs: readonly { entity: string }[]) {
  const isOne = sql`id = ${anyOf(jobs.map(({ entity }) => entity))} and ${hasStatusIn(["scheduled"])}`;
  if (jobs.length === 1) return sql`select id from attune.execution where ${isOne}`;
  return sql`select id from (select id, sum(size) over (order by priority desc, id) - size as before
      from (select id, priority, coalesce(pg_column_size(config), 0) as size from attune.execution where ${isOne}) z) y
    where before < ${claimBytes}::int`;
}

/**
 * Claims up to `limit` executions from a queue of the runtime, by default that without a selector, for the worker, in the caller's transaction: fetches jobs, sets `scheduled → running`
 * by compare-and-set, deletes the jobs. Executions that were cancelled meanwhile are skipped, and some are put back where their parameters are large;
 * then `isMore`, as when it took as many jobs as it may. Throws ConflictError, which keeps the jobs, when the worker is cordoned or deleted.
 */
export async function claimExecutions(
  tx: Tx,
  worker: { id: string; name: string },
  from: { runtimeRef: string; queue?: Queue; limit: number },
): Promise<{ claims: Claim[]; isMore: boolean }> {
  const { queue = runtimeQueue(from.runtimeRef) } = from;
  const jobs = await tx.jobs.take(tx.db, queue, from.limit);
  if (jobs.length === 0) return { claims: [], isMore: false };
  const claiming = rows<Claim>(
    tx.db,
    sql`update attune.execution e set status = 'running', attempt = e.attempt + 1, worker = ${worker.id}::bigint,
        worker_name = ${worker.name}, started_at = now(), reason = null,
        deadline = now() + make_interval(secs => coalesce(e.timeout_seconds, ${defaultTimeoutSeconds}::int))
      from (select x.id, a.entrypoint, a.parameter_delivery, a.parameter_format, a.output_format, a.pack_ref, a.container,
            case when pr.id is not null then jsonb_build_object('digest', pr.digest, 'path', pr.path,
              'environment', pr.environments ->> ${from.runtimeRef}::text) end as release
          from (${withinBytes(jobs)}) w join attune.execution x on x.id = w.id left join attune.action a on a.id = x.action
            left join attune.pack_release pr on pr.id = x.pack_release
          where ${hasStatusIn(["scheduled"], "x.status")} order by x.id for no key update of x) s
      where e.id = s.id
      returning e.id::text as "id", e.attempt as "attempt",
        extract(epoch from now() - e.scheduled_at)::float8 as "queuedSeconds", e.action_ref as "actionRef", e.rule_ref as "ruleRef",
        e.trigger_ref as "triggerRef", e.enforcement::text as "enforcement", ${from.runtimeRef}::text as "runtimeRef", coalesce(e.config, '{}') as "config",
        coalesce(e.timeout_seconds, ${defaultTimeoutSeconds}::int)::float8 * 1000 as "timeoutMs",
        case when e.attempt > 1 then coalesce((select max(l.seq) from attune.execution_log l where l.execution = e.id), 0)
          else 0 end::text as "logSeq",
        coalesce((select jsonb_agg(jsonb_build_object('path', x.path, 'encrypted', x.encrypted) order by x.id)
          from attune.execution_secret x where x.execution = e.id), '[]') as "secrets",
        e.permission_set_refs <> '{}' as "hasPermissions", e.trace_context as "traceContext",
        s.entrypoint as "entrypoint", s.parameter_delivery as "parameterDelivery", s.parameter_format as "parameterFormat",
        s.output_format as "outputFormat", s.pack_ref as "packRef", s.container as "container", s.release as "release"`,
  );
  // Read after the jobs were taken: a worker never claims executions that were queued after its cordon.
  const reading = rows<{ cordoned: boolean }>(
    tx.db,
    sql`select cordoned from attune.worker where id = ${worker.id}::bigint`,
  );
  const [claims, [own]] = await Promise.all([claiming, reading, tx.jobs.done(tx.db, queue, jobs)]);
  if (own?.cordoned !== false)
    throw new ConflictError(`The worker "${worker.name}" is cordoned: it claims no executions.`);
  tx.observe(() => {
    for (const { queuedSeconds } of claims) tx.metrics.queued.observe(Math.max(0, queuedSeconds));
  });
  const claimed = new Set(claims.map(({ id }) => id));
  const left = jobs.filter(({ entity }) => !claimed.has(entity));
  const isPutBack = left.length > 0 && (await putBack(tx, queue, left)) > 0;
  return { claims, isMore: isPutBack || jobs.length === from.limit };
}

/** Adds the jobs of those that still wait to the queue again. Returns their number. */
async function putBack(tx: Tx, queue: Queue, left: readonly { entity: string }[]): Promise<number> {
  const waiting = await rows<Omit<Scheduled, "queue">>(
    tx.db,
    sql`select id::text, priority from attune.execution where id = ${anyOf(left.map(({ entity }) => entity))} and ${hasStatusIn(["scheduled"])}`,
  );
  await enqueue(
    tx,
    waiting.map((each) => ({ ...each, queue })),
  );
  return waiting.length;
}

/** Sets the deadline of a claimed execution: its time begins now, and ends that many milliseconds later than its time-out says. */
export async function moveDeadline(
  tx: Tx,
  { id, attempt, timeoutMs }: Pick<Claim, "id" | "attempt" | "timeoutMs">,
  extraMs: number,
): Promise<void> {
  await tx.db.execute(
    sql`update attune.execution e set deadline = now() + make_interval(secs => ${(timeoutMs + extraMs) / 1000}::float8)
      where e.id = ${id}::bigint and e.attempt = ${attempt}::int and ${statusIn(inProgress, "e.status")} and e.waits_for is null`,
  );
}
