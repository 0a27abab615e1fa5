import { type SQL, sql } from "drizzle-orm";
import { rows } from "../db/client.ts";
import type { Tx } from "../db/tx.ts";
import type { Json } from "../lib/json.ts";
import type { ExecutionError } from "./finish.ts";

/**
 * SQL: whether the execution `e` was left by its worker to wait for the answer to its question. Unlike one whose worker was
 * deleted, it has not kept a worker's name.
 */
export const isParked: SQL = sql.raw(`(e.worker is null and e.worker_name is null
  and exists (select from attune.inquiry i where i.execution = e.id and i.status = 'pending'))`);

/** How a wait ended: well, with data, or otherwise, with the reason. */
export interface ParkedEnd {
  id: string;
  status: "completed" | "timeout" | "cancelled";
  data: Json;
  error: ExecutionError | null;
  reason: string | null;
}

/**
 * Ends executions that nobody runs, in the transaction that ends what they waited for, whose caller holds their locks.
 * What only asked, and goes on by itself, is left alone. Answers the ids of those that ended.
 */
export async function endParked(tx: Tx, ends: readonly ParkedEnd[]): Promise<string[]> {
  if (ends.length === 0) return [];
  const input = sql`jsonb_to_recordset(${JSON.stringify(ends)}::text::jsonb) as r(id bigint, status text, data jsonb,
    error jsonb, reason text)`;
  const waits = sql`e.id = r.id and e.worker is null and e.worker_name is null`;
  if (ends.some(({ status }) => status === "cancelled")) {
    await tx.db.execute(
      sql`update attune.execution e set status = 'canceling', reason = r.reason, cancel_requested_at = now() from ${input}
        where ${waits} and e.status = 'running' and r.status = 'cancelled'`,
    );
  }
  const ended = await rows<{ id: string }>(
    tx.db,
    sql`update attune.execution e set status = r.status::attune.execution_status, reason = r.reason, error = r.error,
        result = case when r.status = 'completed' then jsonb_build_object('exit_code', 0, 'data', r.data, 'duration_ms',
          round(extract(epoch from clock_timestamp() - e.started_at) * 1000)) end,
        finished_at = clock_timestamp()
      from ${input}
      where ${waits} and (e.status = 'canceling' and r.status = 'cancelled' or e.status = 'running' and r.status <> 'cancelled')
      returning e.id::text`,
  );
  for (const { id } of ended) tx.announce(`log:${id}`); // who follows its output learns that no more comes
  return ended.map(({ id }) => id);
}
