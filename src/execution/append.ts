import { sql } from "drizzle-orm";
import { rows } from "../db/client.ts";
import type { Tx } from "../db/tx.ts";

/** An entry of an execution's log; `seq` counts from 1 without gaps and is assigned by the one worker that runs the execution. */
export interface ExecutionLogEntry {
  execution: string;
  seq: string;
  stream: "stdout" | "stderr" | "system";
  at: string;
  text: string;
}

/** Stores log entries of any number of executions in one statement and wakes the readers. Entries that exist are skipped. */
export async function appendLogs(tx: Tx, entries: readonly ExecutionLogEntry[]): Promise<void> {
  await rows(
    tx.db,
    sql`insert into attune.execution_log (execution, seq, stream, at, text)
      select r.execution, r.seq, r.stream::attune.log_stream, r.at, r.text
      from jsonb_to_recordset(${JSON.stringify(entries)}::text::jsonb) as r(execution bigint, seq bigint, stream text,
        at timestamptz, text text)
      where exists (select from attune.execution e where e.id = r.execution)
      on conflict (execution, seq) do nothing`,
  );
  for (const execution of new Set(entries.map((entry) => entry.execution))) tx.announce(`log:${execution}`);
}
