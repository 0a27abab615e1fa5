import type { Queue } from "../db/jobs.ts";
import type { Tx } from "../db/tx.ts";

/** An execution that a worker may claim. */
export interface Scheduled {
  id: string;
  queue: Queue;
  priority: number;
}

/** Adds scheduled executions to their queues and wakes the workers that serve them. */
export async function enqueue(tx: Tx, scheduled: readonly Scheduled[]): Promise<void> {
  for (const [queue, group] of Map.groupBy(scheduled, (execution) => execution.queue)) {
    await tx.jobs.add(
      tx.db,
      queue,
      group.map(({ id, priority }) => ({ id, priority })),
    );
    tx.announce(queue);
  }
}
