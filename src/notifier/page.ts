import { sql } from "drizzle-orm";
import type { Channel, LogEntry } from "../db/channels.ts";
import { type Db, rows } from "../db/client.ts";
import { CursorExpiredError } from "../errors.ts";
import type { JsonObject } from "../lib/json.ts";
import { comparePositions, formatCursor, type Position } from "./cursor.ts";

/** The place of an entry in the log, and the entity that it is about. `cursor` resumes right after it. */
interface Place extends Position {
  cursor: string;
  at: Date;
  entityId: bigint;
}

/** One entry of the notification log. */
export type Change<C extends Channel = Channel> = Place & LogEntry<C>;

/** Which changes a reader wants: the first two narrow the SQL of a replay, `matches` decides. */
export interface ChangeFilter {
  channel: Channel | null;
  entityId: bigint | null;
  matches(change: Change): boolean;
}

/** Whether the filter lets the change through. */
export function wanted(filter: ChangeFilter, change: Change): boolean {
  return (
    (filter.channel === null || filter.channel === change.channel) &&
    (filter.entityId === null || filter.entityId === change.entityId) &&
    filter.matches(change)
  );
}

interface Entry {
  xid: string;
  id: string;
  at: string | Date;
  channel: string;
  entityType: string;
  entity: string;
  activity: string;
  content: JsonObject | null;
  packRef: string | null;
}

const columns = sql.raw(
  `n.xid::text as "xid", n.id::text as "id", to_char(n.created at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') as "at",
   n.channel as "channel", n.entity_type as "entityType", n.entity::text as "entity", n.activity as "activity",
   n.content as "content", n.pack_ref as "packRef"`,
);

function toChange(entry: Entry, epoch: bigint): Change {
  const position = { xid: BigInt(entry.xid), id: BigInt(entry.id) };
  const change = {
    ...position,
    cursor: formatCursor(epoch, position),
    at: new Date(entry.at),
    channel: entry.channel,
    entityType: entry.entityType,
    entityId: BigInt(entry.entity),
    activity: entry.activity,
    content: entry.content,
    packRef: entry.packRef,
  };
  return change as Change; // the triggers that wrote it keep the contract of its channel
}

/** Where the log stands: its epoch, and a position that every change committed from now on lies behind. */
export async function readHead(db: Db): Promise<{ epoch: bigint; position: Position }> {
  const [head] = await rows<{ epoch: string; xmin: string }>(
    db,
    sql`select epoch::text, pg_snapshot_xmin(pg_current_snapshot())::text as xmin from attune.notification_epoch`,
  );
  if (!head) throw new Error("the table notification_epoch has lost its row");
  return { epoch: BigInt(head.epoch), position: { xid: BigInt(head.xmin) - 1n, id: 2n ** 63n - 1n } };
}

/** The position that every kept entry lies behind. */
export async function readOldest(db: Db): Promise<Position> {
  const [pruned] = await rows<{ xid: string; id: string }>(
    db,
    sql`select pruned_xid::text as xid, pruned_id::text as id from attune.notification_epoch`,
  );
  return { xid: BigInt(pruned?.xid ?? 0), id: BigInt(pruned?.id ?? 0) };
}

/**
 * Reads what lies behind `after` and below every running transaction, at most `limit` entries in order; `hidden` says that
 * committed entries wait behind an older transaction. One statement, hence one snapshot for both answers.
 */
export async function readCommitted(
  db: Db,
  read: { epoch: bigint; after: Position; limit: number },
): Promise<{ changes: Change[]; hidden: boolean }> {
  const found = await rows<Partial<Entry> & { hidden: boolean }>(
    db,
    sql`select h.hidden, e.* from
      (select coalesce((select xid from attune.notification order by xid desc, id desc limit 1)
        >= pg_snapshot_xmin(pg_current_snapshot()), false) as hidden) h
      left join lateral (select ${columns} from attune.notification n
        where (n.xid, n.id) > (${String(read.after.xid)}::xid8, ${String(read.after.id)}::bigint)
          and n.xid < pg_snapshot_xmin(pg_current_snapshot())
        order by n.xid, n.id limit ${sql.raw(String(read.limit))}) e on true`,
  );
  return {
    changes: entriesOf(found, read.epoch),
    hidden: found[0]?.hidden ?? false,
  };
}

/**
 * Reads one page of the stored log for one reader: entries behind `after`, up to `until`, narrowed by the filter's columns.
 * `end` is where the next page begins. Throws CursorExpiredError when retention has removed entries behind
 * `after`, or it lies in the future: then it is not of this database.
 */
export async function readPage(
  db: Db,
  read: { epoch: bigint; filter: ChangeFilter; after: Position; until: Position; limit: number },
): Promise<{ changes: Change[]; end: Position }> {
  const { filter, after, until, limit } = read;
  const found = await rows<Partial<Entry> & { prunedXid: string; prunedId: string; xmax: string }>(
    db,
    sql`select p.pruned_xid::text as "prunedXid", p.pruned_id::text as "prunedId",
        pg_snapshot_xmax(pg_current_snapshot())::text as "xmax", e.* from attune.notification_epoch p
      left join lateral (select ${columns} from attune.notification n
        where (n.xid, n.id) > (${String(after.xid)}::xid8, ${String(after.id)}::bigint)
          and (n.xid, n.id) <= (${String(until.xid)}::xid8, ${String(until.id)}::bigint)
          ${filter.channel === null ? sql`` : sql`and n.channel = ${filter.channel}`}
          ${filter.entityId === null ? sql`` : sql`and n.entity = ${String(filter.entityId)}::bigint`}
        order by n.xid, n.id limit ${sql.raw(String(limit))}) e on true`,
  );
  const pruned = { xid: BigInt(found[0]?.prunedXid ?? 0), id: BigInt(found[0]?.prunedId ?? 0) };
  // Nothing can have given out a cursor of a transaction that has not begun.
  const future = after.xid >= BigInt(found[0]?.xmax ?? 0);
  if (future || comparePositions(after, pruned) < 0) throw new CursorExpiredError(formatCursor(read.epoch, pruned));
  const entries = entriesOf(found, read.epoch);
  const last = entries.at(-1);
  return {
    changes: entries.filter((change) => filter.matches(change)),
    end: last && entries.length === limit ? last : until,
  };
}

/** The left join answers one empty row when nothing was found. */
function entriesOf(found: Partial<Entry>[], epoch: bigint): Change[] {
  return (found as Entry[]).filter((entry) => typeof entry.id === "string").map((entry) => toChange(entry, epoch));
}
