import { sql } from "drizzle-orm";
import { bigint, check, index, integer, text } from "drizzle-orm/pg-core";
import { attune, base, jsonObjectColumn, reference } from "../schema.ts";

/** The append-only log of every change, written in the change's own transaction; read in the order of `id`. */
export const notification = attune.table(
  "notification",
  {
    ...base(),
    channel: text().notNull(),
    entityType: text().notNull(),
    entityId: reference("entity").notNull(),
    activity: text().notNull(),
    content: jsonObjectColumn(),
    packRef: text(),
  },
  (t) => [index("notification_created_idx").on(t.created)],
);

/** At most one row: the newest id that retention has removed from the log. A cursor before it has expired. */
export const notificationRetention = attune.table(
  "notification_retention",
  {
    ...base(),
    singleton: integer().notNull().unique().default(1),
    prunedId: bigint({ mode: "bigint" }).notNull(),
  },
  (t) => [check("notification_retention_singleton_check", sql`${t.singleton} = 1`)],
);
