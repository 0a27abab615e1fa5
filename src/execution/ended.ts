import type { Tx } from "../db/tx.ts";
import { type ExecutionStatus, isTerminal } from "./states.ts";

/** Counts, after the commit, those of the executions that have ended, by status. */
export function countEnded(tx: Tx, executions: readonly { status: ExecutionStatus }[]): void {
  const ended = executions.filter(({ status }) => isTerminal(status));
  if (ended.length === 0) return;
  tx.observe(() => {
    for (const { status } of ended) tx.metrics.ended.inc({ status });
  });
}
