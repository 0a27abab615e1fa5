import { and, or, type SQL, sql } from "drizzle-orm";
import { alias, type PgTable } from "drizzle-orm/pg-core";
import type { Choice, Columns } from "../../access/resource.ts";
import { type Order, orderBy } from "./page.ts";

/** Above this number PostgreSQL takes longer to plan the branches than it saves by them. */
const maxBranches = 20;

/** Rows of a table in an order: those that meet the condition and are among the choices, where there are any. */
export interface Wanted {
  table: PgTable;
  condition: (table: Columns) => SQL;
  choices: readonly Choice[];
  order: Order;
}

/**
 * Whether the choices are worth reading one by one. An index on (status, created, id) gives the rows of one status in their order, but
 * not those of two: PostgreSQL would sort all rows of both, or read the table from its newest row until it has found enough.
 */
export function isBranched(choices: readonly Choice[]): boolean {
  const count = choices.reduce((sum, { each }) => sum + each.length, 0);
  return count > 1 && count <= maxBranches;
}

/** SQL: an array with the ids of the first `limit` rows, which are among the first `limit` of each branch. */
export function firstIds(wanted: Wanted, limit: number): SQL {
  const first = columnsOf(wanted.table, "first");
  return sql`array(select ${first["id"]} from (${branches(wanted, limit)}) "first"
    order by ${orderBy(wanted.order, first)} limit ${limit})`;
}

/** SQL: how many rows there are; the count stops at `limit`. */
export function countUpTo(wanted: Wanted, limit: number): SQL {
  return sql`(select count(*) from (select from (${branches(wanted, limit)}) "each" limit ${limit}) "counted")`;
}

/** The first `limit` rows of each branch; no row is in two. Their order makes sure that the branch's index is used. */
function branches({ table, condition, choices, order }: Wanted, limit: number): SQL {
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

/** Not among these choices: a row that is in several is read with the first. */
function outside(choices: readonly Choice[], row: Columns): SQL | undefined {
  return choices.length === 0 ? undefined : sql`(${or(...choices.map(({ all }) => all(row)))}) is not true`;
}

const columnsOf = (table: PgTable, name: string) => alias(table, name) as unknown as Columns; // a table has its columns as properties
