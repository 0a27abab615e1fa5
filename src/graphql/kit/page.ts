import { decodeBase64, decodeCursorChunk } from "@pothos/core";
import type { PgColumn } from "drizzle-orm/pg-core";
import { invalid } from "../../errors.ts";
import { maxPageSize } from "./builder.ts";

/** The paging arguments of a connection. */
export interface PageArgs {
  first?: number | null;
  last?: number | null;
  after?: string | null;
  before?: string | null;
}

const largest = 2n ** 63n - 1n;

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
    const decoded = decodeBase64(cursor);
    const values = decoded.startsWith("DC:") ? decodeCursorChunk(decoded.slice(3)) : null;
    const list: unknown[] = Array.isArray(values) ? values : [values];
    return list.length === order.length && order.every((column, index) => holds(column, list[index]));
  } catch {
    return false; // whatever it is, it was not made here
  }
}

function holds(column: PgColumn, value: unknown): boolean {
  if (column.dataType === "object date") return value instanceof Date && !Number.isNaN(value.getTime());
  if (column.dataType.startsWith("bigint")) return typeof value === "bigint" && value <= largest && value >= -largest;
  if (column.dataType.startsWith("number")) return typeof value === "number" && Number.isSafeInteger(value);
  return typeof value === "string" && !value.includes("\u0000");
}
