import { sql } from "drizzle-orm";
import { type AnyPgColumn, bigint, check, index, integer, text, unique, uniqueIndex } from "drizzle-orm/pg-core";
import {
  attune,
  base,
  executionStatus,
  instant,
  jsonColumn,
  jsonObjectColumn,
  logStream,
  newTraceTag,
  packOf,
  reference,
  textList,
  traceparent,
  versioned,
} from "../schema.ts";
import { action } from "./action.ts";
import { enforcement } from "./enforcement.ts";
import { identity } from "./identity.ts";
import { packRelease } from "./pack.ts";
import { worker } from "./worker.ts";

/** One run of an action. Its status moves only along `execution_move`; a terminal row is immutable. */
export const execution = attune.table(
  "execution",
  {
    ...versioned(),
    actionId: reference("action").references(() => action.id, { onDelete: "set null" }),
    actionRef: text().notNull(),
    ruleRef: text(),
    triggerRef: text(),
    config: jsonObjectColumn(),
    envVars: jsonObjectColumn(),
    parentId: reference("parent").references((): AnyPgColumn => execution.id, { onDelete: "set null" }),
    rootId: reference("root"),
    depth: integer().notNull().default(0),
    enforcementId: reference("enforcement").references(() => enforcement.id, { onDelete: "set null" }),
    executorId: reference("executor").references(() => identity.id, { onDelete: "set null" }),
    workerId: reference("worker").references(() => worker.id, { onDelete: "set null" }),
    workerName: text(),
    status: executionStatus().notNull().default("requested"),
    waitsFor: text({ enum: ["inquiry", "tasks", "slot", "time", "retry"] }),
    reason: text(),
    result: jsonColumn(),
    error: jsonObjectColumn(),
    priority: integer().notNull().default(0),
    runAt: instant(),
    scheduledAt: instant(),
    startedAt: instant(),
    finishedAt: instant(),
    deadline: instant(),
    timeoutSeconds: integer(),
    attempt: integer().notNull().default(0),
    retryOfId: reference("retry_of").references((): AnyPgColumn => execution.id, { onDelete: "set null" }),
    rerunOfId: reference("rerun_of").references((): AnyPgColumn => execution.id, { onDelete: "set null" }),
    retryCount: integer().notNull().default(0),
    maxRetries: integer(),
    retry: jsonObjectColumn(),
    onWorkerLoss: text({ enum: ["abandon", "requeue"] })
      .notNull()
      .default("abandon"),
    permissionSetRefs: textList(),
    cancelRequestedAt: instant(),
    cancelRequestedById: reference("cancel_requested_by").references(() => identity.id, { onDelete: "set null" }),
    packReleaseId: reference("pack_release").references(() => packRelease.id, { onDelete: "set null" }),
    traceTag: text().notNull().default(newTraceTag),
    /** Its place in a distributed trace, as a `traceparent` header. */
    traceContext: text(),
    generation: integer().notNull().default(0),
    workflowTask: jsonObjectColumn(),
    workerSelector: jsonObjectColumn().notNull().default({}),
  },
  (t) => [
    check("execution_on_worker_loss_check", sql`${t.onWorkerLoss} in ('abandon', 'requeue')`),
    check("execution_waits_for_check", sql`${t.waitsFor} in ('inquiry', 'tasks', 'slot', 'time', 'retry')`),
    check(
      "execution_worker_check",
      sql`${t.workerId} is not null or ${t.waitsFor} is not null or not attune.is_in_progress(${t.status})`,
    ),
    check(
      "execution_waiting_check",
      sql`${t.waitsFor} is null
        or (${t.workerId} is null and ${t.status} <> 'scheduled' and not attune.is_terminal(${t.status}))`,
    ),
    check("execution_trace_context_check", traceparent(t.traceContext)),
    check("execution_timeout_seconds_check", sql`${t.timeoutSeconds} > 0`),
    check("execution_attempt_check", sql`${t.attempt} >= 0`),
    check("execution_finished_at_check", sql`attune.is_terminal(${t.status}) = (${t.finishedAt} is not null)`),
    // Each enforcement has at most one root execution that is not a retry; the others differ by their ids. This one index also finds
    // all executions of an enforcement, because every index here is written three times for each execution.
    uniqueIndex("execution_enforcement_key")
      .on(t.enforcementId, sql`(case when ${t.depth} = 0 and ${t.retryCount} = 0 then 0 else ${t.id} end)`)
      .where(sql`${t.enforcementId} is not null`),
    index("execution_created_idx").on(t.created, t.id),
    index("execution_status_idx").on(t.status, t.created, t.id),
    index("execution_action_idx").on(t.actionId, t.created, t.id),
    index("execution_action_ref_idx").on(t.actionRef, t.created, t.id),
    index("execution_pack_idx").on(packOf(t.actionRef), t.created, t.id),
    index("execution_rule_ref_idx").on(t.ruleRef, t.created, t.id).where(sql`${t.ruleRef} is not null`),
    index("execution_trigger_ref_idx").on(t.triggerRef, t.created, t.id).where(sql`${t.triggerRef} is not null`),
    index("execution_trace_tag_idx").on(t.traceTag, t.created, t.id),
    index("execution_parent_idx").on(t.parentId, t.created, t.id).where(sql`${t.parentId} is not null`),
    index("execution_root_idx").on(t.rootId, t.created, t.id).where(sql`${t.rootId} is not null`),
    index("execution_executor_idx").on(t.executorId, t.created, t.id).where(sql`${t.executorId} is not null`),
    index("execution_worker_idx").on(t.workerId, t.created, t.id).where(sql`${t.workerId} is not null`),
    index("execution_waits_for_idx").on(t.waitsFor, t.created, t.id).where(sql`${t.waitsFor} is not null`),
    index("execution_waiting_deadline_idx").on(t.waitsFor, t.deadline).where(sql`${t.waitsFor} is not null`),
    index("execution_run_at_idx").on(t.runAt).where(sql`${t.status} = 'requested' and ${t.runAt} is not null`),
    // What is scheduled with a selector: workers look for the queues of those that they can take.
    index("execution_selector_idx")
      .on(t.workerSelector)
      .where(sql`${t.status} = 'scheduled' and ${t.workerSelector} <> '{}'`),
    index("execution_retry_of_idx").on(t.retryOfId, t.created, t.id).where(sql`${t.retryOfId} is not null`),
    index("execution_rerun_of_idx").on(t.rerunOfId, t.created, t.id).where(sql`${t.rerunOfId} is not null`),
    index("execution_cancel_requested_by_idx")
      .on(t.cancelRequestedById)
      .where(sql`${t.cancelRequestedById} is not null`),
    index("execution_pack_release_idx").on(t.packReleaseId).where(sql`${t.packReleaseId} is not null`),
  ],
);

/** The allowed moves of an execution's status; `from_status` null is the insert. Filled by the migration. */
export const executionMove = attune.table(
  "execution_move",
  {
    ...base(),
    fromStatus: executionStatus(),
    toStatus: executionStatus().notNull(),
  },
  (t) => [unique("execution_move_key").on(t.fromStatus, t.toStatus).nullsNotDistinct()],
);

/** The status changes of every execution. */
export const executionTransition = attune.table(
  "execution_transition",
  {
    ...base(),
    executionId: reference("execution")
      .notNull()
      .references(() => execution.id, { onDelete: "cascade" }),
    fromStatus: executionStatus(),
    toStatus: executionStatus().notNull(),
    at: instant().notNull(),
    attempt: integer().notNull(),
    workerId: reference("worker"),
    reason: text(),
  },
  (t) => [index("execution_transition_execution_idx").on(t.executionId)],
);

/** The output of an execution in the order of `seq`, which has no gaps. */
export const executionLog = attune.table(
  "execution_log",
  {
    ...base(),
    executionId: reference("execution")
      .notNull()
      .references(() => execution.id, { onDelete: "cascade" }),
    seq: bigint({ mode: "bigint" }).notNull(),
    stream: logStream().notNull(),
    at: instant().notNull(),
    text: text().notNull(),
  },
  (t) => [unique("execution_log_execution_seq_key").on(t.executionId, t.seq)],
);

/** A secret in an execution's parameters: its path, its source (a key or a rule), and its encrypted value. */
export const executionSecret = attune.table(
  "execution_secret",
  {
    ...base(),
    executionId: reference("execution")
      .notNull()
      .references(() => execution.id, { onDelete: "cascade" }),
    path: text().notNull(),
    source: text().notNull(),
    encrypted: text().notNull(),
  },
  (t) => [unique("execution_secret_execution_path_key").on(t.executionId, t.path)],
);
