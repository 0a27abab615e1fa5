import { decodeBase64, decodeCursorChunk } from "@pothos/core";
import { and, type SQL, sql } from "drizzle-orm";
import type { PgColumn } from "drizzle-orm/pg-core";
import type { Columns } from "../../access/resource.ts";
import { invalid } from "../../errors.ts";
import { defaultPageSize, maxPageSize } from "./builder.ts";

/** The paging arguments of a connection. */
export interface PageArgs {
  first?: number | null;
  last?: number | null;
  after?: string | null;
  before?: string | null;
}

/** An order of rows: the names of the columns, of which the last is unique, all in one direction. */
export interface Order {
  keys: readonly string[];
  ascending: boolean;
}

const maxBigInt = 2n ** 63n - 1n;

/** Returns the number of rows to read for a page: one more than it shows, to find out whether it is the last. */
export const limitOf = ({ first, last }: PageArgs) => (first ?? last ?? defaultPageSize) + 1;

/** Returns the order in which a page's rows are read: reversed for `last`. */
export const readingOrder = ({ first, last }: PageArgs, { keys, ascending }: Order): Order => ({
  keys,
  ascending: ascending === (typeof first === "number" || typeof last !== "number"),
});

/** Returns SQL for the columns to order by. */
export function orderBy({ keys, ascending }: Order, table: Columns): SQL {
  return sql.join(
    keys.map((key) => sql`${table[key]} ${sql.raw(ascending ? "asc" : "desc")}`),
    sql`, `,
  );
}

/**
 * Returns SQL that is true for rows between the page's checked cursors. It compares whole rows, `(created, id) < (…, …)`, which
 * an index serves as a range: a late page of a list costs no more than the first.
 */
export function between({ after, before }: PageArgs, { keys, ascending }: Order, table: Columns): SQL | undefined {
  const columns = keys.map((key) => table[key]).filter((column) => column !== undefined);
  const beyond = (cursor: string | null | undefined, sign: ">" | "<") => {
    if (typeof cursor !== "string") return undefined;
    const values = valuesOf(cursor);
    const given = columns.map((column, index) => sql`${sql.param(values[index], column)}`);
    return sql`(${sql.join(columns, sql`, `)}) ${sql.raw(sign)} (${sql.join(given, sql`, `)})`;
  };
  return and(beyond(after, ascending ? ">" : "<"), beyond(before, ascending ? "<" : ">"));
}

/**
 * Checks the paging arguments of a list ordered by these columns. Throws InvalidInputError for a page that is too large, for
 * `first` with `last`, and for a cursor that does not come from this list in this order.
 */
export function checkPage(args: PageArgs, order: readonly PgColumn[]): void {
  if (typeof args.first === "number" && typeof args.last === "number") {
    throw invalid("last", "cannot be given together with `first`");
  }
  for (const name of ["first", "last"] as const) {
    const size = args[name];
    if (typeof size === "number" && (size < 0 || size > maxPageSize)) {
      throw invalid(name, `must be from 0 to ${maxPageSize}, not ${size}`);
    }
  }
  for (const name of ["after", "before"] as const) {
    const cursor = args[name];
    if (typeof cursor === "string" && !fits(cursor, order)) {
      throw invalid(name, "is not a cursor of this list in this order");
    }
  }
}

function fits(cursor: string, order: readonly PgColumn[]): boolean {
  try {
    const values = valuesOf(cursor);
    return values.length === order.length && order.every((column, index) => holds(column, values[index]));
  } catch {
    return false; // not a cursor of this API
  }
}

/** Returns the values of a cursor, in the list's order. Throws if it is not a cursor of a list. */
function valuesOf(cursor: string): unknown[] {
  const decoded = decodeBase64(cursor);
  if (!decoded.startsWith("DC:")) throw new Error("not a cursor");
  const values = decodeCursorChunk(decoded.slice("DC:".length));
  return Array.isArray(values) ? values : [values];
}

function holds(column: PgColumn, value: unknown): boolean {
  if (column.dataType === "object date") return value instanceof Date && !Number.isNaN(value.getTime());
  if (column.dataType.startsWith("bigint"))
    return typeof value === "bigint" && value <= maxBigInt && value >= -maxBigInt;
  if (column.dataType.startsWith("number")) return typeof value === "number" && Number.isSafeInteger(value);
  return typeof value === "string" && !value.includes("\u0000");
}
