import { sql } from "drizzle-orm";
import { rows } from "../db/client.ts";
import { type Queue, queueOf, runtimeQueue } from "../db/jobs.ts";
import type { Services } from "../db/services.ts";

/** A queue of executions in one runtime. */
export interface ServedQueue {
  queue: Queue;
  runtimeRef: string;
}

/**
 * Returns the queues that a worker serves, and opens them: those of its runtimes, and of the selectors that its labels meet, which actions
 * have now or had when their executions were requested.
 */
export async function findQueues(
  { db, jobs }: Services,
  { runtimes, labels }: { runtimes: readonly string[]; labels: Readonly<Record<string, string>> },
): Promise<ServedQueue[]> {
  const plain = runtimes.map((runtimeRef) => ({ queue: runtimeQueue(runtimeRef), runtimeRef }));
  const selecting = await rows<ServedQueue>(
    db,
    sql`select distinct ${queueOf(sql`x.ref`, sql`x.selector`)} as queue, x.ref as "runtimeRef" from (
        select rt.ref, a.worker_selector as selector from attune.action a join attune.runtime rt on rt.id = a.runtime
          where a.worker_selector <> '{}'
        union select rt.ref, e.worker_selector from attune.execution e join attune.action a on a.id = e.action
            join attune.runtime rt on rt.id = a.runtime
          where e.status = 'scheduled' and e.worker_selector <> '{}') x
      where ${JSON.stringify(labels)}::text::jsonb @> x.selector order by 1`,
  );
  const served = [...plain, ...selecting.filter(({ runtimeRef }) => runtimes.includes(runtimeRef))];
  for (const { queue } of served) await jobs.open(queue);
  return served;
}
