import { runtimeQueue } from "../db/jobs.ts";
import type { Tx } from "../db/tx.ts";

/** An execution that a worker may take. */
export interface Scheduled {
  id: string;
  runtimeRef: string;
  priority: number;
}

/** Puts scheduled executions into the queues of their runtimes, and announces them to the workers. */
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
