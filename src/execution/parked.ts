import { sql } from "drizzle-orm";
import { rows } from "../db/client.ts";
import type { Tx } from "../db/tx.ts";
import type { Json } from "../lib/json.ts";
import type { ExecutionError, ExecutionOutcome } from "./finish.ts";
import { type Ended, endedColumns, settle } from "./settle.ts";
import { cancelledOr, type WaitsFor } from "./states.ts";

/**
 * Parks a claimed execution in the caller's transaction: it waits without a worker or a slot. Returns false, and changes nothing,
 * when the attempt has ended, is being cancelled or is already parked.
 */
export async function park(
  tx: Tx,
  { id, attempt }: { id: string; attempt: number },
  { waitsFor, reason }: { waitsFor: WaitsFor; reason: string },
): Promise<boolean> {
  const parked = await rows(
    tx.db,
    sql`update attune.execution set worker = null, worker_name = null, waits_for = ${waitsFor}, reason = ${reason}
      where id = ${id}::bigint and attempt = ${attempt}::int and status = 'running' and waits_for is null returning id`,
  );
  return parked.length > 0;
}

/** The end of a parked execution: completed with data, or another status with a reason. */
export interface ParkedEnd {
  id: string;
  status: ExecutionOutcome["status"];
  data: Json;
  error: ExecutionError | null;
  reason: string | null;
}

/**
 * Ends executions that wait for `waitsFor`, in the transaction that ends what they waited for; the caller holds their locks.
 * Executions that are not parked are left unchanged. Returns the ids of those that ended.
 */
export async function endParked(tx: Tx, waitsFor: WaitsFor, ends: readonly ParkedEnd[]): Promise<string[]> {
  if (ends.length === 0) return [];
  const input = sql`jsonb_to_recordset(${JSON.stringify(ends)}::text::jsonb) as r(id bigint, status text, data jsonb,
    error jsonb, reason text)`;
  const waits = sql`e.id = r.id and e.waits_for = ${waitsFor}`;
  if (ends.some(({ status }) => status === "cancelled")) {
    await tx.db.execute(
      sql`update attune.execution e set status = 'canceling', reason = r.reason, cancel_requested_at = now() from ${input}
        where ${waits} and e.status = 'running' and r.status = 'cancelled'`,
    );
  }
  const ended = await rows<Ended>(
    tx.db,
    sql`update attune.execution e set status = ${cancelledOr(sql`r.status`)}, waits_for = null, reason = r.reason, error = r.error,
        result = case when r.status = 'completed' then jsonb_build_object('exit_code', 0, 'data', r.data, 'duration_ms',
          round(extract(epoch from clock_timestamp() - e.started_at) * 1000)) end,
        finished_at = clock_timestamp()
      from ${input} where ${waits} returning ${endedColumns}`,
  );
  await settle(tx, ended);
  for (const { id } of ended) tx.announce(`log:${id}`); // readers of its log learn that it is complete
  return ended.map(({ id }) => id);
}
