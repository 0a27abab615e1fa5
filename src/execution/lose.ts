import { type SQL, sql } from "drizzle-orm";
import { rows } from "../db/client.ts";
import { type Queue, queueOf } from "../db/jobs.ts";
import type { Tx } from "../db/tx.ts";
import { enqueue } from "./enqueue.ts";
import { type Ended, endedColumns, settle } from "./settle.ts";
import { cancelledOr, inProgress, statusIn } from "./states.ts";

/** The attempts after which an execution is abandoned instead of requeued. */
const maxAttempts = 5;

/**
 * Ends the attempts of running executions (`e`) whose workers will never report: executions whose action allows it are requeued,
 * the others are abandoned; those that were being cancelled are cancelled. Attempts that never began are requeued in any case. Returns
 * their number.
 */
export async function loseExecutions(tx: Tx, which: SQL, reason: string, { began } = { began: true }): Promise<number> {
  const lost = await rows<Ended & { queue: Queue | null; priority: number }>(
    tx.db,
    sql`with lost as (
        select e.id, ${queueOf(sql`rt.ref`, sql`e.worker_selector`)} as queue,
          ${cancelledOr(sql`case when rt.ref is not null
              and (not ${began}::boolean or e.on_worker_loss = 'requeue' and e.attempt < ${maxAttempts}::int)
            then 'scheduled' else 'abandoned' end`)} as becomes
        from attune.execution e left join attune.action a on a.id = e.action left join attune.runtime rt on rt.id = a.runtime
        where ${statusIn(inProgress, "e.status")} and (${which})
        order by e.id for no key update of e)
      update attune.execution e set status = l.becomes, reason = ${reason},
        worker = case when l.becomes = 'scheduled' then null else e.worker end, waits_for = null,
        finished_at = case when l.becomes = 'scheduled' then null else clock_timestamp() end,
        scheduled_at = case when l.becomes = 'scheduled' then now() else e.scheduled_at end,
        deadline = case when l.becomes = 'scheduled' then null else e.deadline end,
        error = case when l.becomes = 'abandoned' then jsonb_build_object('code', 'WORKER_LOST', 'message', ${reason}::text) end
      from lost l where e.id = l.id
      returning e.priority, l.queue, ${endedColumns}`,
  );
  tx.observe(() => {
    for (const { id, status } of lost) {
      tx.metrics.lost.inc({ becomes: status });
      tx.log.warn({ execution: id, status }, `an attempt was lost: ${reason}`);
    }
  });
  await enqueue(
    tx,
    lost.flatMap(({ id, queue, priority, status }) =>
      status === "scheduled" && queue !== null ? [{ id, queue, priority }] : [],
    ),
  );
  await settle(
    tx,
    lost.filter(({ status }) => status !== "scheduled"),
  );
  return lost.length;
}
