import { and, or, type SQL, sql } from "drizzle-orm";
import type { Choice, Columns } from "../../access/resource.ts";
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
import { readId } from "./ids.ts";
import { type OperatorName, operators } from "./operators.ts";

/** Lists in inputs hold at most this many items. */
const maxItems = 100;
/** How deep `and`, `or` and `not` may be nested. */
const maxDepth = 5;

/** What a filter compares: a column by its name, or an expression over the table. */
export type Target = string | ((table: Columns) => SQL);
type Condition = (table: Columns) => SQL;
type Convert = (value: unknown, path: string) => unknown;

/** One field that a list can be filtered by. */
export interface FilterField {
  type: typeof StringFilter;
  description: string;
  target: Target;
  /** Turns what the client writes into what the column holds. */
  convert: Convert;
  /** Where the target is one of many: SQL that asks whether one of them passes. */
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
  /** The condition as SQL over the table; InvalidInputError for what the types cannot say. */
  toSql(input: WhereInput | null | undefined): Condition;
  /** What a checked input compares with given values (`eq`, `in`) and all rows must hold: each comparison, with its values apart. */
  choices(input: WhereInput | null | undefined): { target: Target; choice: Choice }[];
}

const asGiven: Convert = (value) => value;
const field = (type: typeof StringFilter) => (target: Target, description: string) => ({
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
/** Filters by the enum that the operators' input is made for. */
export const byEnum = (type: typeof StringFilter, target: Target, description: string) =>
  field(type)(target, description);
/** Filters by the id of an object of that type. */
export const byId = (typename: string, target: Target, description: string): FilterField => ({
  type: IDFilter,
  target,
  description,
  convert: (value, path) => readId(typename, value, path),
});

/** Reads the operators given, checked and converted; a null among them is a mistake, not "any value". */
export function readOperators(given: Operators, path: string, convert: Convert = asGiven): [OperatorName, unknown][] {
  return (Object.entries(given) as [OperatorName, unknown][]).map(([operator, value]) => {
    const at = `${path}.${operator}`;
    if (value === null) throw invalid(at, "must not be null; leave it out, or use `isNull`");
    if (operator === "isNull") return [operator, value];
    return [operator, Array.isArray(value) ? bounded(value, at).map((item) => convert(item, at)) : convert(value, at)];
  });
}

/** The list, unless it is longer than lists in inputs may be: then InvalidInputError at `path`. */
export function bounded<T>(items: readonly T[], path: string): readonly T[] {
  if (items.length > maxItems) throw invalid(path, `may hold at most ${maxItems} items, not ${items.length}`);
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

/** Makes the `where` input of a list from the fields that it can be filtered by. */
export function defineWhere(name: string, fields: Readonly<Record<string, FilterField>>): Where {
  const everything: Condition = () => sql`true`;

  function readField(key: string, given: unknown, path: string): Condition[] {
    const { target, convert, some } = fields[key] ?? {};
    if (target === undefined || given === null || given === undefined) return [];
    return readOperators(given as Operators, path, convert).map(([operator, value]) => (table) => {
      const condition = compare(target, operator, value)(table);
      return some ? some(table, condition) : condition;
    });
  }

  function compare(target: Target, operator: OperatorName, value: unknown): Condition {
    return (table) => {
      const compared = typeof target === "function" ? target(table) : table[target];
      if (!compared) throw new Error(`the filter ${name} has nothing to compare`);
      return operators[operator].sql(compared, value);
    };
  }

  function readChoices(key: string, given: unknown): { target: Target; choice: Choice }[] {
    const { target, convert, some } = fields[key] ?? {};
    if (target === undefined || some || given === null || given === undefined) return [];
    const listed = readOperators(given as Operators, key, convert).filter(([name]) => name === "eq" || name === "in");
    return listed.map(([operator, value]) => {
      const values = new Set(Array.isArray(value) ? value : [value]);
      const each = [...values].map((one) => compare(target, "eq", one));
      return { target, choice: { all: compare(target, operator, value), each } };
    });
  }

  function read(input: WhereInput, path: string, depth: number): Condition {
    if (depth > maxDepth) throw invalid(path, `may be nested at most ${maxDepth} deep`);
    const readAll = (list: readonly WhereInput[], at: string) =>
      bounded(list, at).map((item, index) => read(item, `${at}.${index}`, depth + 1));
    const parts = Object.entries(input).flatMap(([key, given]) => readField(key, given, `${path}.${key}`));
    if (input.and) parts.push(...readAll(input.and, `${path}.and`));
    if (input.or) {
      const options = readAll(input.or, `${path}.or`);
      parts.push((table) => or(...options.map((option) => option(table))) ?? sql`false`);
    }
    if (input.not) {
      const negated = read(input.not, `${path}.not`, depth + 1);
      parts.push((table) => sql`(${negated(table)}) is not true`); // also where the value is missing
    }
    return (table) => and(...parts.map((part) => part(table))) ?? sql`true`;
  }

  return {
    type: whereType(name, fields),
    toSql: (input) => (input ? read(input, "where", 1) : everything),
    choices: (input) => Object.entries(input ?? {}).flatMap(([key, given]) => readChoices(key, given)),
  };
}
