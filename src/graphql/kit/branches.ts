import { and, or, type SQL, sql } from "drizzle-orm";
import { alias, type PgTable } from "drizzle-orm/pg-core";
import type { Choice, Columns } from "../../access/resource.ts";
import { type Order, orderBy } from "./page.ts";

/** With more branches PostgreSQL spends more time on planning than it saves. */
const maxBranches = 20;

/** The rows of a table that meet the condition and are in all choices, in an order. */
export interface RowQuery {
  table: PgTable;
  condition: (table: Columns) => SQL;
  choices: readonly Choice[];
  order: Order;
}

/**
 * Whether to read the choices branch by branch. An index on (status, created, id) returns the rows of one status in order, but
 * not those of two: PostgreSQL would sort all rows of both, or scan the table from its newest row until it has found enough.
 */
export function isBranched(choices: readonly Choice[]): boolean {
  const count = choices.reduce((sum, { each }) => sum + each.length, 0);
  return count > 1 && count <= maxBranches;
}

/** Returns SQL for an array with the ids of the first `limit` rows, which are among the first `limit` of each branch. */
export function firstIds(query: RowQuery, limit: number): SQL {
  const first = columnsOf(query.table, "first");
  return sql`array(select ${first["id"]} from (${branches(query, limit)}) "first"
    order by ${orderBy(query.order, first)} limit ${limit})`;
}

/** Returns SQL for the number of rows; the count stops at `limit`. */
export function countUpTo(query: RowQuery, limit: number): SQL {
  return sql`(select count(*) from (select from (${branches(query, limit)}) "each" limit ${limit}) "counted")`;
}

/** Returns SQL for the first `limit` rows of each branch; no row is in two. The order makes PostgreSQL use the branch's index. */
function branches({ table, condition, choices, order }: RowQuery, limit: number): SQL {
  const row = columnsOf(table, "row");
  const selected = sql.join(
    [...new Set([...order.keys, "id"])].map((key) => sql`${row[key]}`),
    sql`, `,
  );
  const parts = isBranched(choices)
    ? choices.flatMap(({ each }, index) => each.map((one) => and(one(row), outside(choices.slice(0, index), row))))
    : [undefined];
  return sql.join(
    parts.map(
      (part) =>
        sql`(select ${selected} from ${table} "row" where ${and(part, condition(row))} order by ${orderBy(order, row)} limit ${limit})`,
    ),
    sql` union all `,
  );
}

/** Excludes the rows of these choices: a row in several choices is read with the first. */
function outside(choices: readonly Choice[], row: Columns): SQL | undefined {
  return choices.length === 0 ? undefined : sql`(${or(...choices.map(({ all }) => all(row)))}) is not true`;
}

const columnsOf = (table: PgTable, name: string) => alias(table, name) as unknown as Columns; // a table has its columns as properties
