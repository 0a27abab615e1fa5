import { type SQL, sql } from "drizzle-orm";
import type { executionStatus } from "../db/schema.ts";
import type { execution } from "../db/tables/execution.ts";

export type ExecutionStatus = (typeof executionStatus.enumValues)[number];
/** What an execution without a worker waits for. */
export type WaitsFor = NonNullable<(typeof execution.$inferSelect)["waitsFor"]>;
type StatusSet = readonly ExecutionStatus[];

/** Where a status may move; the database holds the same table (`execution_move`) and refuses every other move. */
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

/** The statuses before a worker begins, in the order that an execution passes them. */
export const unstarted = ["requested", "scheduling", "scheduled"] as const satisfies StatusSet;

/** The statuses of executions that have begun and not ended. */
export const inProgress = ["running", "canceling"] as const satisfies StatusSet;

/** The final statuses: an execution that has one of them cannot change any more. */
export const terminal = ["completed", "failed", "cancelled", "timeout", "abandoned"] as const satisfies StatusSet;

/** The statuses in which an execution can be asked to end. */
export const cancellable = [...unstarted, "running"] as const satisfies StatusSet;

/** The statuses that an insert may carry; the path to them is recorded as transitions. */
export const firstStatuses = [...unstarted, "cancelled", "failed"] as const satisfies StatusSet;

/** The statuses that whatever runs an execution can report as its end. */
export const reportable = ["completed", "failed", "timeout", "cancelled"] as const satisfies StatusSet;

/** The ends after which an action may be tried again. */
export const retryable = ["failed", "timeout", "abandoned"] as const satisfies StatusSet;

/** Returns whether the status is final. */
export function isTerminal(status: ExecutionStatus): boolean {
  return moves[status].length === 0;
}

/** SQL: whether the column holds a status of the set. */
export function statusIn(set: StatusSet, column = "status"): SQL {
  return sql.raw(`${column} in (${set.map((status) => `'${status}'`).join(", ")})`);
}

/** SQL: the status with which the execution `e` leaves `running` or `canceling`: cancelled if that was asked for, else `otherwise`. */
export function cancelledOr(otherwise: SQL | ExecutionStatus): SQL {
  const status = typeof otherwise === "string" ? sql.raw(`'${otherwise}'`) : otherwise;
  return sql`case when e.status = 'canceling' then 'cancelled' else (${status})::attune.execution_status end`;
}
