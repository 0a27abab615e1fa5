import { sql } from "drizzle-orm";
import { type Db, rows } from "../db/client.ts";

/** How far the log can be read. */
export interface Settled {
  log: string;
  /** Every entry up to this id is visible to statements that begin later. May step back. */
  settled: bigint;
  /** The newest entry that is visible; above `settled` when a transaction that is still writing hides entries. */
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
 * Asks how far the log can be read; the locks of writers are not looked at when nothing comes after the id `behind`. Entries
 * must be read in a statement of their own afterwards: in this one's snapshot some may still be missing.
 */
export async function readSettled(db: Db, behind: bigint): Promise<Settled> {
  const [found] = await rows<{ log: string; settled: string; newest: string }>(
    db,
    sql`select log, settled::text as settled, newest::text as newest from attune.notification_settled(${String(behind)}::bigint)`,
  );
  if (!found) throw new Error("the notification log has not said how far it can be read");
  return { log: found.log, settled: BigInt(found.settled), newest: BigInt(found.newest) };
}

/** The transaction that has been writing to the log for longest; null when there is none. */
export async function readLongestWriter(db: Db): Promise<Writer | null> {
  const [writer] = await rows<Writer>(
    db,
    sql`select w.pid, w.virtualtransaction as transaction, a.application_name as application, a.state
      from attune.notification_writer w left join pg_stat_activity a on a.pid = w.pid order by w.entered limit 1`,
  );
  return writer ?? null;
}
