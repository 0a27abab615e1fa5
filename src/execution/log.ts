import { sql } from "drizzle-orm";
import { type Db, rows } from "../db/client.ts";
import type { Services } from "../db/services.ts";
import { NotFoundError } from "../errors.ts";
import { createRest } from "../lib/loop.ts";
import { type ExecutionStatus, isTerminal } from "./states.ts";

/** A stored entry of an execution's log. */
export interface StoredLog {
  seq: bigint;
  stream: "stdout" | "stderr" | "system";
  at: Date;
  text: string;
}

const pageSize = 100;
const pollMs = 5000;

/**
 * Yields the log entries after `after` (0: all), then new ones as they are stored, until the execution has ended and all are
 * delivered, or the signal fires. With a marker only those of the stream `system` that begin with it. Throws NotFoundError.
 */
export async function* followLog(
  services: Services,
  executionId: bigint,
  after: bigint,
  signal: AbortSignal,
  marker: string | null = null,
): AsyncGenerator<StoredLog, void> {
  const rest = createRest();
  const unsubscribe = services.wake.on(`log:${executionId}`, rest.end);
  signal.addEventListener("abort", rest.end, { once: true });
  try {
    for (let seq = after; !signal.aborted; ) {
      rest.arm();
      const { entries, ended } = await readLog(services.db, executionId, { after: seq, limit: pageSize, marker });
      for (const entry of entries) {
        seq = entry.seq;
        yield entry;
      }
      if (entries.length === pageSize) continue;
      if (ended) return;
      await rest.sleep(pollMs);
    }
  } finally {
    signal.removeEventListener("abort", rest.end);
    unsubscribe();
  }
}

/**
 * Returns at most `limit` entries after `after`, with a marker only those that begin with it, and whether the execution has ended: in one statement, so that nothing can be written
 * in between. Throws NotFoundError.
 */
export async function readLog(
  db: Db,
  executionId: bigint,
  { after, limit, marker = null }: { after: bigint; limit: number; marker?: string | null },
): Promise<{ entries: StoredLog[]; ended: boolean }> {
  type Row = { status: ExecutionStatus; seq: string | null; stream: StoredLog["stream"]; at: string; text: string };
  const found = await rows<Row>(
    db,
    sql`select e.status, l.seq::text as seq, l.stream::text as stream,
        to_char(l.at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') as at, l.text as text
      from attune.execution e left join lateral (
        select * from attune.execution_log l where l.execution = e.id and l.seq > ${String(after)}::bigint
          ${marker === null ? sql`` : sql`and l.stream = 'system' and starts_with(l.text, ${marker})`}
        order by l.seq limit ${limit}::int) l on true
      where e.id = ${String(executionId)}::bigint order by l.seq`,
  );
  const [first] = found;
  if (!first) throw new NotFoundError("execution", String(executionId));
  const entries = found.flatMap(({ seq, stream, at, text }) =>
    seq === null ? [] : [{ seq: BigInt(seq), stream, at: new Date(at), text }],
  );
  return { entries, ended: isTerminal(first.status) };
}
