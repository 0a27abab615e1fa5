import { runtimeQueue } from "../db/jobs.ts";
import type { Tx } from "../db/tx.ts";

/** An execution that a worker may claim. */
export interface Scheduled {
  id: string;
  runtimeRef: string;
  priority: number;
}

/** Adds scheduled executions to the queues of their runtimes and wakes the workers. */
export async function enqueue(tx: Tx, scheduled: readonly Scheduled[]): Promise<void> {
  for (const [runtimeRef, group] of Map.groupBy(scheduled, (execution) => execution.runtimeRef)) {
    await tx.jobs.add(
      tx.db,
      runtimeQueue(runtimeRef),
      group.map(({ id, priority }) => ({ id, priority })),
    );
    tx.announce(`execution:${runtimeRef}`);
  }
}
