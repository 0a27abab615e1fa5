import { and, is, or, SQL, sql } from "drizzle-orm";
import { getTableConfig, type PgColumn, PgDialect, type PgTable } from "drizzle-orm/pg-core";
import { type Choice, type Columns, readableChoices } from "../../access/resource.ts";
import { tables } from "../../db/tables.ts";
import { countUpTo, firstIds, isBranched, type RowQuery } from "./branches.ts";
import type { Context } from "./context.ts";
import type { FilterTarget, Where, WhereInput } from "./filter.ts";
import { between, checkPage, limitOf, type Order, type PageArgs, readingOrder } from "./page.ts";
import { asComplete, onlyReadable } from "./secured.ts";
import { countLimit } from "./totals.ts";

export type TableName = keyof typeof tables;
export type Direction = "asc" | "desc";
type Condition = (table: Columns) => SQL;

export interface ListArgs extends PageArgs {
  where?: WhereInput | null;
  orderBy?: { field: string; direction: Direction } | null;
}

/** The source of a list. */
interface Source {
  tableName: TableName;
  where: Where;
  /** The default order: column and direction. */
  defaultOrder: readonly [column: string, direction: Direction];
}

const dialect = new PgDialect();
const textOf = (expression: SQL) => dialect.sqlToQuery(expression).sql;
const columnsOf = (table: unknown) => table as Columns; // a table has its columns as properties

/** Returns the queries for the pages and totals of a list: of its whole table (`page`, `count`) or of the rows that belong to an object (`related`). */
export function createReading(source: Source) {
  const table: PgTable = tables[source.tableName];
  const isIndexed = indexedTargets(table);
  /** Records are listed by `created`, which their indexes contain; catalogs are small enough to be read whole. */
  const isRecord = source.defaultOrder[0] === "created";

  /** The rows of a list of the whole table, limited to those of `among` if given. */
  function rowQuery(args: ListArgs, ctx: Context, among: readonly Choice[] | null): RowQuery {
    const { order, condition } = read(source, args, ctx);
    const rows = { table, order: readingOrder(args, order), choices: [], condition };
    const isBranching = (choices: readonly Choice[]) => isRecord && order.keys[0] === "created" && isBranched(choices);
    if (among) {
      if (isBranching(among)) return { ...rows, choices: among };
      const any = (row: Columns) => or(...among.map(({ all }) => all(row))) ?? sql`false`;
      return { ...rows, condition: (row) => and(any(row), condition(row)) ?? sql`false` };
    }
    const compared = source.where.choices(args.where, ctx.session).filter(({ target }) => isIndexed(target));
    const granted = ctx.session && compared.length === 0 ? readableChoices(ctx.session, source.tableName) : [];
    if (isBranching(granted))
      return { ...rows, choices: granted, condition: source.where.toSql(args.where, ctx.session) };
    // Of several comparisons, PostgreSQL's planner estimates best which one finds fewer rows.
    const [only, ...others] = compared.map(({ choice }) => choice);
    return only && others.length === 0 && isBranching([only]) ? { ...rows, choices: [only] } : rows;
  }

  return {
    /** Returns the relational query for a page of the whole table. */
    page: (args: ListArgs, ctx: Context, among: readonly Choice[] | null = null) => {
      const { order } = read(source, args, ctx);
      const rows = rowQuery(args, ctx, among);
      const condition = (row: Columns) => and(rows.condition(row), between(args, order, row)) ?? sql`true`;
      return toQuery(order, (aliased) => {
        const row = columnsOf(aliased);
        if (rows.choices.length === 0) return condition(row);
        return sql`${row["id"]} = any (${firstIds({ ...rows, condition }, limitOf(args))})`;
      });
    },
    /** Returns the number of rows in the whole table; the count stops at `countLimit`. */
    count: async (args: ListArgs, ctx: Context, among: readonly Choice[] | null = null) => {
      const count = countUpTo(rowQuery(args, ctx, among), countLimit);
      const [found] = await ctx.db.select({ count: count.mapWith(Number) }).from(sql`(select) "one"`);
      return found?.count ?? 0;
    },
    /** Returns the relational query for a page of the rows that belong to an object, within the object's query. */
    related: (args: ListArgs, ctx: Context) => {
      const { order, condition } = read(source, args, ctx);
      return toQuery(order, (aliased) => {
        const row = columnsOf(aliased);
        // The plugin counts with the same condition and then passes the table itself: a total is not bounded by cursors.
        return aliased === table ? condition(row) : (and(condition(row), between(args, order, row)) ?? sql`true`);
      });
    },
    /** Returns the requested order, and the condition of the filter and the session's grants. */
    read: (args: ListArgs, ctx: Context) => read(source, args, ctx),
  };
}

/** Throws InvalidInputError for invalid paging arguments and filters. */
function read(
  { tableName, where, defaultOrder }: Source,
  args: ListArgs,
  ctx: Context,
): { order: Order; condition: Condition } {
  const columns = columnsOf(tables[tableName]);
  const [field, direction] = args.orderBy ? [args.orderBy.field, args.orderBy.direction] : defaultOrder;
  const keys = field === "id" || columns[field]?.isUnique ? [field] : [field, "id"]; // equal values are ordered by id
  checkPage(
    args,
    keys.map((key) => columns[key]).filter((column) => column !== undefined),
  );
  const condition = onlyReadable(ctx.session, tableName, where.toSql(args.where, ctx.session));
  return { order: { keys, ascending: direction === "asc" }, condition };
}

const toQuery = ({ keys, ascending }: Order, condition: (row: unknown) => SQL) => ({
  // Drizzle passes the table under its alias in the query.
  where: { RAW: asComplete(condition) },
  orderBy: Object.fromEntries(keys.map((key) => [key, ascending ? "asc" : "desc"] as const)),
});

/** Returns a test for targets of filters for which an index returns the rows of one value ordered by `created`. */
function indexedTargets(table: PgTable): (target: FilterTarget) => boolean {
  const columns = columnsOf(table);
  const nameOf = (column: Partial<PgColumn> | Partial<SQL> | undefined) =>
    is(column, SQL) ? textOf(column) : ((column as Partial<PgColumn> | undefined)?.name ?? "");
  const leading = getTableConfig(table).indexes.flatMap(({ config }) => {
    const [first, second] = config.columns.map(nameOf);
    return first && second === "created" ? [first] : [];
  });
  return (target) =>
    leading.includes(typeof target === "function" ? textOf(target(columns)) : (columns[target]?.name ?? ""));
}
