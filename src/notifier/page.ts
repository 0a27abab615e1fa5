import { sql } from "drizzle-orm";
import type { Channel, NotificationEntry } from "../db/channels.ts";
import { type Db, rows } from "../db/client.ts";
import { CursorExpiredError } from "../errors.ts";
import type { JsonObject } from "../lib/json.ts";
import { type Cursor, formatCursor } from "./cursor.ts";

/** The position of an entry in the log, and its entity. `cursor` resumes after it. */
interface EntryPosition {
  id: bigint;
  cursor: string;
  at: Date;
  entityId: bigint;
}

/** One entry of the notification log. */
export type Change<C extends Channel = Channel> = EntryPosition & NotificationEntry<C>;

/** A filter of changes: the first two fields also narrow the SQL of a replay. */
export interface ChangeFilter {
  channel: Channel | null;
  entityId: bigint | null;
  matches(change: Change): boolean;
}

/** Returns whether the change passes the filter. */
export function passesFilter(filter: ChangeFilter, change: Change): boolean {
  return (
    (filter.channel === null || filter.channel === change.channel) &&
    (filter.entityId === null || filter.entityId === change.entityId) &&
    filter.matches(change)
  );
}

/** A page of the log: at most `limit` entries after the cursor, up to the id `until`, narrowed by the filter's columns. */
export interface PageRequest {
  filter: ChangeFilter;
  after: Cursor;
  until: bigint;
  limit: number;
}

interface Extent {
  log: string;
  pruned: string;
  newest: string;
}

interface Entry {
  id: string;
  at: string | Date;
  channel: string;
  entityType: string;
  entity: string;
  activity: string;
  content: JsonObject | null;
  packRef: string | null;
}

const extent = sql.raw(`x.log as "log", x.pruned::text as "pruned", x.newest::text as "newest"`);
const columns = sql.raw(
  `n.id::text as "id", to_char(n.created at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') as "at",
   n.channel as "channel", n.entity_type as "entityType", n.entity::text as "entity", n.activity as "activity",
   n.content as "content", n.pack_ref as "packRef"`,
);

function toChange(entry: Entry, log: string): Change {
  const id = BigInt(entry.id);
  const change = {
    id,
    cursor: formatCursor({ log, id }),
    at: new Date(entry.at),
    channel: entry.channel,
    entityType: entry.entityType,
    entityId: BigInt(entry.entity),
    activity: entry.activity,
    content: entry.content,
    packRef: entry.packRef,
  };
  return change as Change; // the database's triggers keep the contract of the channel
}

/** Returns the cursor before the oldest stored entry. */
export async function readOldest(db: Db): Promise<Cursor> {
  const [found] = await rows<Extent>(db, sql`select ${extent} from attune.notification_extent() x`);
  if (!found) throw new Error("the notification log has no extent");
  return { log: found.log, id: BigInt(found.pruned) };
}

/**
 * Returns one page of the stored log, in order; `until` must be settled, see readSettled. The next page begins after `end`. Throws
 * CursorExpiredError when the cursor is of another log, before entries that retention has deleted, or after the newest entry.
 */
export async function readPage(db: Db, page: PageRequest): Promise<{ changes: Change[]; end: bigint }> {
  const { filter, after, until, limit } = page;
  // "n.id", because "id" alone would order by the selected text.
  const found = await rows<Extent & Partial<Entry>>(
    db,
    sql`select ${extent}, e.* from attune.notification_extent() x
      left join lateral (select ${columns} from attune.notification n
        where n.id > ${String(after.id)}::bigint and n.id <= ${String(until)}::bigint
          ${filter.channel === null ? sql`` : sql`and n.channel = ${filter.channel}`}
          ${filter.entityId === null ? sql`` : sql`and n.entity = ${String(filter.entityId)}::bigint`}
        order by n.id limit ${sql.raw(String(limit))}) e on true`,
  );
  const [{ log, pruned, newest } = { log: "", pruned: "0", newest: "0" }] = found;
  if (log !== after.log || after.id < BigInt(pruned) || after.id > BigInt(newest)) {
    throw new CursorExpiredError(formatCursor({ log, id: BigInt(pruned) }));
  }
  // Without entries the left join returns one row without an id.
  const entries = (found as (Extent & Entry)[]).filter(({ id }) => typeof id === "string");
  const changes = entries.map((entry) => toChange(entry, log));
  const last = changes.at(-1);
  return {
    changes: changes.filter((change) => filter.matches(change)),
    end: last && changes.length === limit ? last.id : until,
  };
}
