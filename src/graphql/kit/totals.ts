import { type SQL, sql } from "drizzle-orm";
import type { PgTable } from "drizzle-orm/pg-core";
import type { Db } from "../../db/client.ts";

/** Totals are exact up to this number. */
export const maxCount = 10_000;
/** The number of rows at which counting stops: one more than a total shows. */
export const countLimit = maxCount + 1;

/**
 * Returns the database for the drizzle plugin. The plugin uses `select` only for the totals of related lists, as subqueries of
 * their parents' statement. This one limits these counts.
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
