import { sql } from "drizzle-orm";
import { anyOf, rows } from "../db/client.ts";
import type { Tx } from "../db/tx.ts";
import type { Json } from "../lib/json.ts";
import { type Ended, endedColumns, settle } from "./settle.ts";
import { cancelledOr, hasStatusIn, inProgress, type reportable } from "./states.ts";

/** Error of an execution: a stable code, a sentence, and optional details. */
export interface ExecutionError {
  code: string;
  message: string;
  detail?: Json;
}

/** How one attempt ended. */
export interface ExecutionOutcome {
  id: string;
  attempt: number;
  status: (typeof reportable)[number];
  result: Json;
  error: ExecutionError | null;
  reason: string | null;
}

/**
 * Ends executions with the outcomes that their workers report, in one statement. An execution that was being cancelled ends as
 * cancelled; its timeline records the reported status. The outcome of an attempt that is not the current one is only recorded in the
 * timeline. Nothing records one that is stored again, because the answer to its commit was lost. Returns for each outcome whether it was
 * applied.
 */
export async function finishExecutions(tx: Tx, outcomes: readonly ExecutionOutcome[]): Promise<boolean[]> {
  const input = JSON.stringify(outcomes);
  // The ids are given twice: the planner expects a hundred rows from the function and would scan the whole table.
  const applied = await rows<Ended & { attempt: number }>(
    tx.db,
    sql`update attune.execution e set
        status = ${cancelledOr(sql`r.status`)},
        reason = case when e.status = 'canceling' then concat_ws(': ', 'cancelled while running; the action ended ' || r.status, r.reason)
          else r.reason end,
        result = r.result, error = r.error, finished_at = clock_timestamp()
      from (select * from jsonb_to_recordset(${input}::text::jsonb) as r(id bigint, attempt int, status text, result jsonb,
        error jsonb, reason text) order by id) r
      where e.id = r.id and e.attempt = r.attempt and e.id = ${anyOf(outcomes.map(({ id }) => id))}
        and ${hasStatusIn(inProgress, "e.status")} and e.waits_for is null
        and (r.status <> 'cancelled' or e.status = 'canceling')
      returning e.attempt, ${endedColumns}`,
  );
  for (const { id } of applied) tx.announce(`log:${id}`); // readers of its log learn that it is complete
  await settle(tx, applied);
  const done = new Set(applied.map(({ id, attempt }) => `${id}/${attempt}`));
  const results = outcomes.map(({ id, attempt }) => done.has(`${id}/${attempt}`));
  const late = outcomes.filter((_, index) => !results[index]);
  if (late.length > 0) {
    await tx.db.execute(
      sql`insert into attune.execution_transition (execution, from_status, to_status, at, attempt, worker, reason)
        select e.id, e.status, e.status, clock_timestamp(), r.attempt, null,
          'late result of attempt ' || r.attempt || ' ignored: ' || r.status
        from jsonb_to_recordset(${JSON.stringify(late)}::text::jsonb) as r(id bigint, attempt int, status text)
          join attune.execution e on e.id = r.id
        where e.attempt <> r.attempt or e.status::text <> r.status`,
    );
  }
  return results;
}
