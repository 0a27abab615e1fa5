import { sql } from "drizzle-orm";
import type { Channel, NotificationEntry } from "../db/channels.ts";
import { type Db, rows } from "../db/client.ts";
import { CursorExpiredError } from "../errors.ts";
import type { JsonObject } from "../lib/json.ts";
import { type Cursor, formatCursor } from "./cursor.ts";

/** The place of an entry in the log, and the entity that it is about. `cursor` resumes right after it. */
interface Place {
  id: bigint;
  cursor: string;
  at: Date;
  entityId: bigint;
}

/** One entry of the notification log. */
export type Change<C extends Channel = Channel> = Place & NotificationEntry<C>;

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

/** A part of the log: up to `limit` entries after the cursor, up to the id `until`, narrowed by the filter's columns. */
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
  return change as Change; // the triggers that wrote it keep the contract of its channel
}

/** The cursor before every entry that is kept. */
export async function readOldest(db: Db): Promise<Cursor> {
  const [found] = await rows<Extent>(db, sql`select ${extent} from attune.notification_extent() x`);
  if (!found) throw new Error("the notification log has no extent");
  return { log: found.log, id: BigInt(found.pruned) };
}

/**
 * Reads one page of the stored log, in order; `until` must be settled, see readSettled. `end` is where the next page begins.
 * Throws CursorExpiredError when the cursor is of another log, lies before what retention has removed, or after the newest entry.
 */
export async function readPage(db: Db, page: PageRequest): Promise<{ changes: Change[]; end: bigint }> {
  const { filter, after, until, limit } = page;
  // The order names the table: "id" alone would be the text of the selection.
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
  // The left join returns one row without an entry when there is none.
  const entries = (found as (Extent & Entry)[]).filter(({ id }) => typeof id === "string");
  const changes = entries.map((entry) => toChange(entry, log));
  const last = changes.at(-1);
  return {
    changes: changes.filter((change) => filter.matches(change)),
    end: last && changes.length === limit ? last.id : until,
  };
}
