import { type SQL, sql } from "drizzle-orm";
import type { ProgressEntry } from "./fields.ts";

/** How many entries an artifact of type progress keeps: the newest. */
const maxEntries = 100;

/** SQL: the entries of the artifact `a` with one more, as its new `data`. */
export function appendEntry(entry: ProgressEntry): SQL {
  const added = sql`jsonb_build_array(jsonb_build_object('at', ${now}, 'percent', ${entry.percent}::float8,
    'message', ${entry.message}::text))`;
  return sql`(select jsonb_agg(kept.entry order by kept.place) from (
      select entry, place from jsonb_array_elements(coalesce(a.data, '[]'::jsonb) || ${added}) with ordinality as t(entry, place)
      order by place desc limit ${sql.raw(String(maxEntries))}) kept)`;
}

const now = sql`to_char(clock_timestamp() at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')`;
