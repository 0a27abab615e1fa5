import { type SQL, sql } from "drizzle-orm";
import type { executionStatus } from "../db/schema.ts";
import type { execution } from "../db/tables/execution.ts";

export type ExecutionStatus = (typeof executionStatus.enumValues)[number];
/** What a parked execution waits for. */
export type WaitsFor = NonNullable<(typeof execution.$inferSelect)["waitsFor"]>;
type StatusSet = readonly ExecutionStatus[];

/** The statuses that may follow each status; the database has the same table (`execution_move`) and refuses every other move. */
export const moves: Readonly<Record<ExecutionStatus, StatusSet>> = {
  requested: ["scheduling", "cancelled"],
  scheduling: ["scheduled", "cancelled", "failed"],
  scheduled: ["running", "cancelled", "failed"],
  running: ["completed", "failed", "timeout", "canceling", "abandoned", "scheduled"],
  canceling: ["cancelled", "abandoned"],
  completed: [],
  failed: [],
  cancelled: [],
  timeout: [],
  abandoned: [],
};

/** The statuses before a worker starts the execution, in order. */
export const unstarted = ["requested", "scheduling", "scheduled"] as const satisfies StatusSet;

/** The statuses of executions that have a slot of the policy that applies to them: a worker may claim them or runs them. */
export const admitted = ["scheduled", "running", "canceling"] as const satisfies StatusSet;

/** The statuses of executions that have started and not ended. */
export const inProgress = ["running", "canceling"] as const satisfies StatusSet;

/** The final statuses: an execution in one of them does not change its status again. */
export const terminal = ["completed", "failed", "cancelled", "timeout", "abandoned"] as const satisfies StatusSet;

/** The statuses in which an execution can be cancelled. */
export const cancellable = [...unstarted, "running"] as const satisfies StatusSet;

/** The statuses with which an execution may be inserted; the transitions that lead to them are recorded. */
export const firstStatuses = [...unstarted, "cancelled", "failed"] as const satisfies StatusSet;

/** The final statuses that a worker can report. */
export const reportable = ["completed", "failed", "timeout", "cancelled"] as const satisfies StatusSet;

/** The final statuses after which an action may be retried. */
export const retryable = ["failed", "timeout", "abandoned"] as const satisfies StatusSet;

/** Returns whether the status is final. */
export function isTerminal(status: ExecutionStatus): boolean {
  return moves[status].length === 0;
}

/** SQL: whether the column's status is in the set. */
export function statusIn(set: StatusSet, column = "status"): SQL {
  return sql.raw(`${column} in (${set.map((status) => `'${status}'`).join(", ")})`);
}

/**
 * SQL: the same for executions that are found by their ids. No index of statuses serves it: its entries of former statuses stay until the table is
 * vacuumed, and each batch would read them all.
 */
export function hasStatusIn(set: StatusSet, column = "status"): SQL {
  return sql`(${statusIn(set, column)}) is true`;
}

/** SQL: the final status of the execution `e`, which is `running` or `canceling`: `cancelled` if it was being cancelled, else `otherwise`. */
export function cancelledOr(otherwise: SQL | ExecutionStatus): SQL {
  const status = typeof otherwise === "string" ? sql.raw(`'${otherwise}'`) : otherwise;
  return sql`case when e.status = 'canceling' then 'cancelled' else (${status})::attune.execution_status end`;
}
