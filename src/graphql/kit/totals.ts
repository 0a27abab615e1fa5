import { type SQL, sql } from "drizzle-orm";
import type { PgTable } from "drizzle-orm/pg-core";
import type { Db } from "../../db/client.ts";

/** Totals are exact up to this number. */
export const maxCount = 10_000;
/** How many rows are counted: one more than a total shows, which tells that there are more. */
export const countLimit = maxCount + 1;

/**
 * The database for the drizzle plugin. The plugin uses `select` for one thing: the totals of related lists, as subqueries of their
 * parents' statement. These stop counting too.
 */
export function boundedCounts(db: Db): Db {
  const select = () => ({
    from: (table: PgTable) => ({
      where: (condition: SQL) =>
        sql`(select count(*) from (select from ${table} where ${condition} limit ${countLimit}) "counted")`,
    }),
  });
  return new Proxy(db, { get: (target, key) => (key === "select" ? select : Reflect.get(target, key)) });
}
