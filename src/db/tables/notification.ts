import { sql } from "drizzle-orm";
import { bigint, check, index, integer, text } from "drizzle-orm/pg-core";
import { attune, base, instant, jsonObject, notificationState, reference, xid8 } from "../schema.ts";

/** The append-only log of every change, written in the change's own transaction; read in the order `(xid, id)`. */
export const notification = attune.table(
  "notification",
  {
    ...base(),
    channel: text().notNull(),
    entityType: text().notNull(),
    entityId: reference("entity").notNull(),
    activity: text().notNull(),
    state: notificationState().notNull().default("created"),
    content: jsonObject(),
    packRef: text(),
    xid: xid8().notNull(),
  },
  (t) => [index("notification_xid_idx").on(t.xid, t.id), index("notification_created_idx").on(t.created)],
);

/** One row: the epoch of all cursors (raised when a dump is restored) and the newest entry that retention removed. */
export const notificationEpoch = attune.table(
  "notification_epoch",
  {
    ...base(),
    singleton: integer().notNull().unique().default(1),
    epoch: bigint({ mode: "bigint" }).notNull(),
    prunedXid: xid8().notNull().default(sql`'0'::xid8`),
    prunedId: bigint({ mode: "bigint" }).notNull().default(sql`0`),
    /** Which database of which cluster wrote the log; another one has restored it from a dump. */
    database: text(),
    raisedAt: instant().notNull().defaultNow(),
  },
  (t) => [check("notification_epoch_singleton_check", sql`${t.singleton} = 1`)],
);
