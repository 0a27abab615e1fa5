import { sql } from "drizzle-orm";
import { type Db, rows } from "../db/client.ts";

/** The position up to which the log can be read. */
export interface Settled {
  log: string;
  /** Every entry up to this id is visible to later statements. May decrease. */
  settled: bigint;
  /** The newest visible entry; above `settled` when an open transaction hides entries. */
  newest: bigint;
}

/** A transaction that is writing to the log. */
export interface Writer {
  pid: number | null;
  /** Its virtual transaction id; `-1/…` for a prepared transaction, which has no pid. */
  transaction: string;
  application: string | null;
  state: string | null;
}

/**
 * Returns up to where the log can be read; the locks of writers are only read when there are entries after the id `after`. Entries
 * must be read in a later statement: the snapshot of this one may not contain all of them.
 */
export async function readSettled(db: Db, after: bigint): Promise<Settled> {
  const [found] = await rows<{ log: string; settled: string; newest: string }>(
    db,
    sql`select log, settled::text as settled, newest::text as newest from attune.notification_settled(${String(after)}::bigint)`,
  );
  if (!found) throw new Error("attune.notification_settled returned no row");
  return { log: found.log, settled: BigInt(found.settled), newest: BigInt(found.newest) };
}

/** Returns the transaction that has been writing to the log for longest; null when there is none. */
export async function readLongestWriter(db: Db): Promise<Writer | null> {
  const [writer] = await rows<Writer>(
    db,
    sql`select w.pid, w.virtualtransaction as transaction, a.application_name as application, a.state
      from attune.notification_writer w left join pg_stat_activity a on a.pid = w.pid order by w.entered limit 1`,
  );
  return writer ?? null;
}
