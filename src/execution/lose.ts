import { type SQL, sql } from "drizzle-orm";
import { rows } from "../db/client.ts";
import type { Tx } from "../db/tx.ts";
import { isParked } from "./parked.ts";
import { enqueue } from "./request.ts";

/** How often an execution may be given to another worker before it is abandoned. */
const maxAttempts = 5;

/**
 * Takes running executions (`e`) away from workers that will never report: those whose action allows it go back to the queue,
 * the others are abandoned; one that was being cancelled is cancelled. What waits for an answer has no worker and is not lost.
 * Answers how many.
 */
export async function loseExecutions(tx: Tx, which: SQL, reason: string): Promise<number> {
  const lost = await rows<{ id: string; status: string; runtimeRef: string | null; priority: number }>(
    tx.db,
    sql`with lost as (
        select e.id, rt.ref as runtime_ref,
          case when e.status = 'canceling' then 'cancelled'
            when e.on_worker_loss = 'requeue' and e.attempt < ${maxAttempts}::int and rt.ref is not null then 'scheduled'
            else 'abandoned' end::attune.execution_status as becomes
        from attune.execution e left join attune.action a on a.id = e.action left join attune.runtime rt on rt.id = a.runtime
        where e.status in ('running', 'canceling') and (${which}) and not (e.status = 'running' and ${isParked})
        order by e.id for no key update of e)
      update attune.execution e set status = l.becomes, reason = ${reason},
        worker = case when l.becomes = 'scheduled' then null else e.worker end,
        finished_at = case when l.becomes = 'scheduled' then null else clock_timestamp() end,
        scheduled_at = case when l.becomes = 'scheduled' then now() else e.scheduled_at end,
        deadline = case when l.becomes = 'scheduled' then null else e.deadline end,
        error = case when l.becomes = 'abandoned' then jsonb_build_object('code', 'WORKER_LOST', 'message', ${reason}::text) end
      from lost l where e.id = l.id
      returning e.id::text, e.status, e.priority, l.runtime_ref as "runtimeRef"`,
  );
  await enqueue(
    tx,
    lost
      .filter(({ status }) => status === "scheduled")
      .map(({ id, runtimeRef, priority }) => ({ id, runtimeRef: runtimeRef ?? "", priority })),
  );
  return lost.length;
}
