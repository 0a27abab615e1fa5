import type { executionStatus } from "../db/schema.ts";

export type ExecutionStatus = (typeof executionStatus.enumValues)[number];

/** Where a status may move; the database holds the same table (`execution_move`) and refuses every other move. */
export const moves: Readonly<Record<ExecutionStatus, readonly ExecutionStatus[]>> = {
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

/** The statuses that an insert may carry; the path to them is recorded as transitions. */
export const firstStatuses: readonly ExecutionStatus[] = [
  "requested",
  "scheduling",
  "scheduled",
  "cancelled",
  "failed",
];

/** Whether nothing follows the status. */
export function isTerminal(status: ExecutionStatus): boolean {
  return moves[status].length === 0;
}
