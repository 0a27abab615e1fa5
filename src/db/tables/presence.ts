import { sql } from "drizzle-orm";
import { check } from "drizzle-orm/pg-core";
import { attune, base, instant } from "../schema.ts";

/** A period, from `created` on, in which executors saw the database; between two periods the database or all executors were away. */
export const presence = attune.table(
  "presence",
  {
    ...base(),
    seenUntil: instant().notNull(),
  },
  (t) => [check("presence_seen_until_check", sql`${t.created} <= ${t.seenUntil}`)],
);
