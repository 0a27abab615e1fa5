import { and, or, type SQL, type SQLWrapper, sql } from "drizzle-orm";
import { alias } from "drizzle-orm/pg-core";
import { type Choice, type Columns, readableRows } from "../../access/resource.ts";
import type { Session } from "../../access/session.ts";
import { tables } from "../../db/tables.ts";
import { invalid } from "../../errors.ts";
import { builder } from "./builder.ts";
import {
  BigIntFilter,
  BooleanFilter,
  DateTimeFilter,
  IDFilter,
  IntFilter,
  type Operators,
  StringFilter,
} from "./filter-inputs.ts";
import { readId, tableOfType } from "./ids.ts";
import { filterOperators, type OperatorName } from "./operators.ts";

/** The maximum number of items of lists in inputs. */
const maxItems = 100;
/** How deep `and`, `or` and `not` may be nested. */
const maxDepth = 5;

/** The operand of a filter: a column by its name, or an expression over the table. */
export type FilterTarget = string | ((table: Columns) => SQL);
type RowCondition = (table: Columns) => SQL;
type RefersTo = (typeof tableOfType)[keyof typeof tableOfType];
type Reader = Session | null;
type Convert = (value: unknown, path: string) => unknown;

/** One field that a list can be filtered by. */
export interface FilterField {
  type: typeof StringFilter;
  description: string;
  target: FilterTarget;
  /** Converts an input value to a value of the column. */
  convert: Convert;
  /** The table that the target refers to; its rows that the session may not read count as missing. */
  refersTo?: RefersTo;
  /** If the target belongs to related rows: returns SQL that is true if one of them passes. */
  some?: (table: Columns, passes: SQL) => SQL;
}

/** A `where` input: filters by field, and their combinations. */
export interface WhereInput {
  and?: readonly WhereInput[] | null;
  or?: readonly WhereInput[] | null;
  not?: WhereInput | null;
  [field: string]: unknown;
}

export interface Where {
  type: ReturnType<typeof whereType>;
  /** Returns the condition as SQL over the table, for a session. Throws InvalidInputError for invalid values. */
  toSql(input: WhereInput | null | undefined, session: Reader): RowCondition;
  /** Returns the comparisons with given values (`eq`, `in`) that every row must meet, with a condition for each value. `toSql` checks the input. */
  choices(input: WhereInput | null | undefined, session: Reader): { target: FilterTarget; choice: Choice }[];
}

const asGiven: Convert = (value) => value;
const field = (type: typeof StringFilter) => (target: FilterTarget, description: string) => ({
  type,
  target,
  description,
  convert: asGiven,
});
export const byText = field(StringFilter);
export const byTime = field(DateTimeFilter);
export const byInt = field(IntFilter);
export const byBigInt = field(BigIntFilter);
export const byFlag = field(BooleanFilter);
/** Filters by an enum; `type` is the input of its operators. */
export const byEnum = (type: typeof StringFilter, target: FilterTarget, description: string) =>
  field(type)(target, description);
/** Filters by the object's own id. */
export const byOwnId = (typename: string, description: string): FilterField => ({
  type: IDFilter,
  target: "id",
  description,
  convert: (value, path) => readId(typename, value, path),
});
/** Filters by the id of another object, of the type `typename`. */
export const byId = (typename: keyof typeof tableOfType, target: FilterTarget, description: string): FilterField => ({
  ...byOwnId(typename, description),
  target,
  refersTo: tableOfType[typename],
});

/** Returns the given operators with their converted values. Throws InvalidInputError for null, which does not mean "any value". */
export function readOperators(given: Operators, path: string, convert: Convert = asGiven): [OperatorName, unknown][] {
  return (Object.entries(given) as [OperatorName, unknown][]).map(([operator, value]) => {
    const at = `${path}.${operator}`;
    if (value === null) throw invalid(at, "must not be null; leave it out, or use `isNull`");
    if (operator === "isNull") return [operator, value];
    return [operator, Array.isArray(value) ? bounded(value, at).map((item) => convert(item, at)) : convert(value, at)];
  });
}

/** Returns the list. Throws InvalidInputError at `path` if it has more than `maxItems` items. */
export function bounded<T>(items: readonly T[], path: string): readonly T[] {
  if (items.length > maxItems) throw invalid(path, `must have at most ${maxItems} items, not ${items.length}`);
  return items;
}

function whereType(name: string, fields: Readonly<Record<string, FilterField>>) {
  const ref = builder.inputRef<WhereInput>(name);
  return ref.implement({
    description: "A filter: all given conditions must hold.",
    fields: (t) => ({
      and: t.field({ type: [ref], description: "All of these conditions hold. At most 100, nested at most 5 deep." }),
      or: t.field({
        type: [ref],
        description: "At least one of these conditions holds. At most 100, nested at most 5 deep.",
      }),
      not: t.field({ type: ref, description: "This condition does not hold." }),
      ...Object.fromEntries(
        Object.entries(fields).map(([key, { type, description }]) => [key, t.field({ type, description })]),
      ),
    }),
  });
}

/** Returns the `where` input of a list with these fields. */
export function defineWhere(name: string, fields: Readonly<Record<string, FilterField>>): Where {
  const always: RowCondition = () => sql`true`;

  function readField(
    key: string,
    given: unknown,
    { path, session }: { path: string; session: Reader },
  ): RowCondition[] {
    const { target, convert, refersTo, some } = fields[key] ?? {};
    if (target === undefined || given === null || given === undefined) return [];
    return readOperators(given as Operators, path, convert).map(([operator, value]) => (table) => {
      const condition = compare({ target, hidden: hiddenIn(refersTo, session) }, operator, value)(table);
      return some ? some(table, condition) : condition;
    });
  }

  function compare(
    { target, hidden }: { target: FilterTarget; hidden: Hidden | null },
    operator: OperatorName,
    value: unknown,
  ): RowCondition {
    return (table) => {
      const compared = typeof target === "function" ? target(table) : table[target];
      if (!compared) throw new Error(`the filter ${name} refers to an unknown column`);
      return hidden ? hidden.compare(compared, operator, value) : filterOperators[operator].sql(compared, value);
    };
  }

  function readChoices(key: string, given: unknown, session: Reader): { target: FilterTarget; choice: Choice }[] {
    const { target, convert, refersTo, some } = fields[key] ?? {};
    if (target === undefined || some || given === null || given === undefined) return [];
    const of = { target, hidden: hiddenIn(refersTo, session) };
    const listed = readOperators(given as Operators, key, convert).filter(([name]) => name === "eq" || name === "in");
    return listed.map(([operator, value]) => {
      const values = new Set(Array.isArray(value) ? value : [value]);
      const each = [...values].map((one) => compare(of, "eq", one));
      return { target, choice: { all: compare(of, operator, value), each } };
    });
  }

  function read(input: WhereInput, session: Reader, { path, depth }: { path: string; depth: number }): RowCondition {
    if (depth > maxDepth) throw invalid(path, `may be nested at most ${maxDepth} deep`);
    const readAll = (list: readonly WhereInput[], at: string) =>
      bounded(list, at).map((item, index) => read(item, session, { path: `${at}.${index}`, depth: depth + 1 }));
    const parts = Object.entries(input).flatMap(([key, given]) =>
      readField(key, given, { path: `${path}.${key}`, session }),
    );
    if (input.and) parts.push(...readAll(input.and, `${path}.and`));
    if (input.or) {
      const options = readAll(input.or, `${path}.or`);
      parts.push((table) => or(...options.map((option) => option(table))) ?? sql`false`);
    }
    if (input.not) {
      const negated = read(input.not, session, { path: `${path}.not`, depth: depth + 1 });
      parts.push((table) => sql`(${negated(table)}) is not true`); // also where the value is missing
    }
    return (table) => and(...parts.map((part) => part(table))) ?? sql`true`;
  }

  return {
    type: whereType(name, fields),
    toSql: (input, session) => (input ? read(input, session, { path: "where", depth: 1 }) : always),
    choices: (input, session) =>
      Object.entries(input ?? {}).flatMap(([key, given]) => readChoices(key, given, session)),
  };
}

/** How references to rows that a session may not read are compared. */
interface Hidden {
  compare(reference: SQLWrapper, operator: OperatorName, value: unknown): SQL;
}

/**
 * Returns how a session compares references to the table; null: it may read all of its rows. A filter must not tell more than the field
 * that it compares, which is null for a row that the session may not read.
 */
function hiddenIn(refersTo: RefersTo | undefined, session: Reader): Hidden | null {
  const readable = refersTo && session && readableRows(session, refersTo);
  if (!readable) return null;
  const referred = alias(tables[refersTo], "referred");
  const columns = referred as unknown as Columns; // an alias has the columns of its table
  const ids = (which: SQL) =>
    sql`select ${referred.id} from ${tables[refersTo]} "referred" where ${which} and ${readable(columns)}`;
  return {
    compare: (reference, operator, value) => {
      const { sql: compare } = filterOperators[operator];
      // The given values are looked up first, so that an index can find the rows with them.
      if (operator === "eq" || operator === "in")
        return sql`${reference} = any (array(${ids(compare(referred.id, value))}))`;
      return compare(sql`(${ids(sql`${referred.id} = ${reference}`)})`, value);
    },
  };
}
