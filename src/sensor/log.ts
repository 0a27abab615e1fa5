import { sql } from "drizzle-orm";
import { type Db, rows } from "../db/client.ts";
import type { Services } from "../db/services.ts";
import type { Tx } from "../db/tx.ts";
import { NotFoundError } from "../errors.ts";
import type { StoredLog } from "../execution/log.ts";
import { createRest } from "../lib/loop.ts";
import type { Lease } from "./lease.ts";

/** How many entries of each sensor are kept: the newest. */
const mostEntries = 10_000;
const pageSize = 100;
const pollMs = 5000;

/** An entry to be stored. */
export interface NewEntry {
  seq: string;
  stream: StoredLog["stream"];
  at: string;
  text: string;
}

/** Stores entries of a sensor's log, removes the oldest beyond the limit, and wakes the readers. What lost its lease stores nothing. */
export async function appendSensorLog(tx: Tx, lease: Lease, entries: readonly NewEntry[]): Promise<void> {
  const stored = await rows<{ seq: string }>(
    tx.db,
    sql`insert into attune.sensor_log (sensor, seq, stream, at, text)
      select p.sensor, r.seq, r.stream::attune.log_stream, r.at, r.text
      from attune.sensor_process p, jsonb_to_recordset(${JSON.stringify(entries)}::text::jsonb) as r(seq bigint, stream text, at timestamptz, text text)
      where p.sensor = ${lease.sensor}::bigint and p.generation = ${lease.generation}::bigint
      on conflict (sensor, seq) do nothing returning seq::text`,
  );
  if (stored.length === 0) return;
  await tx.db.execute(
    sql`delete from attune.sensor_log where sensor = ${lease.sensor}::bigint and seq <= ${entries.at(-1)?.seq ?? "0"}::bigint - ${mostEntries}::int`,
  );
  tx.announce(`sensor-log:${lease.sensor}`);
}

/**
 * Yields the entries after `after` (0: all that are kept), then new ones as they are stored, until the sensor is deleted or the signal fires. Throws
 * NotFoundError.
 */
export async function* followSensorLog(
  services: Services,
  sensor: bigint,
  after: bigint,
  signal: AbortSignal,
): AsyncGenerator<StoredLog, void> {
  const rest = createRest();
  const unsubscribe = services.wake.on(`sensor-log:${sensor}`, rest.end);
  signal.addEventListener("abort", rest.end, { once: true });
  try {
    for (let seq = after; !signal.aborted; ) {
      rest.arm();
      const entries = await readSensorLog(services.db, sensor, { after: seq, limit: pageSize });
      for (const entry of entries) {
        seq = entry.seq;
        yield entry;
      }
      if (entries.length < pageSize) await rest.sleep(pollMs);
    }
  } finally {
    signal.removeEventListener("abort", rest.end);
    unsubscribe();
  }
}

/** Returns at most `limit` entries after `after`. Throws NotFoundError. */
export async function readSensorLog(
  db: Db,
  sensor: bigint,
  { after, limit }: { after: bigint; limit: number },
): Promise<StoredLog[]> {
  type Row = { seq: string | null; stream: StoredLog["stream"]; at: string; text: string };
  const found = await rows<Row>(
    db,
    sql`select l.seq::text as seq, l.stream::text as stream,
        to_char(l.at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') as at, l.text as text
      from attune.sensor s left join lateral (
        select * from attune.sensor_log l where l.sensor = s.id and l.seq > ${String(after)}::bigint
        order by l.seq limit ${limit}::int) l on true
      where s.id = ${String(sensor)}::bigint order by l.seq`,
  );
  if (found.length === 0) throw new NotFoundError("sensor", String(sensor));
  return found.flatMap(({ seq, stream, at, text }) =>
    seq === null ? [] : [{ seq: BigInt(seq), stream, at: new Date(at), text }],
  );
}
