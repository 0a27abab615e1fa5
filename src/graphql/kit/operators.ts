import { eq, gt, gte, ilike, inArray, isNotNull, isNull, lt, lte, type SQL, type SQLWrapper, sql } from "drizzle-orm";

/** A value that filters compare, as drizzle reads a column. */
export type Comparable = string | number | bigint | boolean | Date;

/**
 * An operator of filters: as SQL for lists, and in memory for streams. `test` returns true exactly for the values for which the
 * SQL is true; null is a missing value. `value` has the type of the operator's input in the schema.
 */
interface Operator {
  description: string;
  sql(target: SQLWrapper, value: unknown): SQL;
  test(actual: Comparable | null, value: unknown): boolean;
}

const same = (actual: Comparable, value: unknown) => actual.valueOf() === (value as Comparable).valueOf();
const listed = (actual: Comparable, values: unknown) => (values as Comparable[]).some((value) => same(actual, value));

/** Returns a test that is false for missing values. */
const present =
  (test: (actual: Comparable, value: unknown) => boolean) =>
  (actual: Comparable | null, value: unknown): boolean =>
    actual !== null && test(actual, value);

/** Returns a test by order: `test` gets -1, 0 or 1 if the actual value is less, equal or greater. */
const ordered = (test: (order: number) => boolean) =>
  present((actual, value) => test(actual < (value as Comparable) ? -1 : same(actual, value) ? 0 : 1));

const escaped = (text: unknown) => String(text).replaceAll(/[\\%_]/g, "\\$&");

/**
 * Lower case, letter by letter, like PostgreSQL in a UTF-8 locale; for a whole text JavaScript also considers neighbouring
 * letters. In a locale with fewer letters (`C`), lists distinguish the case of the others.
 */
const lower = (text: unknown) =>
  Array.from(String(text), (letter) => String.fromCodePoint(letter.toLowerCase().codePointAt(0) ?? 0)).join("");

export const filterOperators = {
  eq: {
    description: "Is this value.",
    sql: (target, value) => eq(target, value),
    test: present(same),
  },
  in: {
    description: "Is one of these values, at most 100.",
    sql: (target, values) => inArray(target, values as Comparable[]),
    test: present(listed),
  },
  notIn: {
    description: "Is none of these values, at most 100.",
    sql: (target, values) => sql`(${inArray(target, values as Comparable[])}) is not true`, // includes missing values
    test: (actual, values) => actual === null || !listed(actual, values),
  },
  gt: {
    description: "Is greater, or later.",
    sql: (target, value) => gt(target, value),
    test: ordered((order) => order > 0),
  },
  gte: {
    description: "Is greater or equal, or not earlier.",
    sql: (target, value) => gte(target, value),
    test: ordered((order) => order >= 0),
  },
  lt: {
    description: "Is less, or earlier.",
    sql: (target, value) => lt(target, value),
    test: ordered((order) => order < 0),
  },
  lte: {
    description: "Is less or equal, or not later.",
    sql: (target, value) => lte(target, value),
    test: ordered((order) => order <= 0),
  },
  contains: {
    description: "Contains this text, ignoring case.",
    sql: (target, text) => ilike(target, `%${escaped(text)}%`),
    test: present((actual, text) => lower(actual).includes(lower(text))),
  },
  startsWith: {
    description: "Begins with this text, ignoring case.",
    sql: (target, text) => ilike(target, `${escaped(text)}%`),
    test: present((actual, text) => lower(actual).startsWith(lower(text))),
  },
  isNull: {
    description: "True: the field is null. False: it is not null.",
    sql: (target, wanted) => (wanted ? isNull(target) : isNotNull(target)),
    test: (actual, wanted) => (actual === null) === wanted,
  },
} as const satisfies Readonly<Record<string, Operator>>;

export type OperatorName = keyof typeof filterOperators;
