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
import { filterOperators, type OperatorName } from "./operators.ts";

/** The maximum number of items of lists in inputs. */
const maxItems = 100;
/** How deep `and`, `or` and `not` may be nested. */
const maxDepth = 5;

/** The operand of a filter: a column by its name, or an expression over the table. */
export type FilterTarget = string | ((table: Columns) => SQL);
type RowCondition = (table: Columns) => SQL;
type Convert = (value: unknown, path: string) => unknown;

/** One field that a list can be filtered by. */
export interface FilterField {
  type: typeof StringFilter;
  description: string;
  target: FilterTarget;
  /** Converts an input value to a value of the column. */
  convert: Convert;
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
  /** Returns the condition as SQL over the table. Throws InvalidInputError for invalid values. */
  toSql(input: WhereInput | null | undefined): RowCondition;
  /** Returns the comparisons with given values (`eq`, `in`) that every row must meet, with a condition for each value. `toSql` checks the input. */
  choices(input: WhereInput | null | undefined): { target: FilterTarget; choice: Choice }[];
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
/** Filters by the id of an object of the type `typename`. */
export const byId = (typename: string, target: FilterTarget, description: string): FilterField => ({
  type: IDFilter,
  target,
  description,
  convert: (value, path) => readId(typename, value, path),
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

  function readField(key: string, given: unknown, path: string): RowCondition[] {
    const { target, convert, some } = fields[key] ?? {};
    if (target === undefined || given === null || given === undefined) return [];
    return readOperators(given as Operators, path, convert).map(([operator, value]) => (table) => {
      const condition = compare(target, operator, value)(table);
      return some ? some(table, condition) : condition;
    });
  }

  function compare(target: FilterTarget, operator: OperatorName, value: unknown): RowCondition {
    return (table) => {
      const compared = typeof target === "function" ? target(table) : table[target];
      if (!compared) throw new Error(`the filter ${name} refers to an unknown column`);
      return filterOperators[operator].sql(compared, value);
    };
  }

  function readChoices(key: string, given: unknown): { target: FilterTarget; choice: Choice }[] {
    const { target, convert, some } = fields[key] ?? {};
    if (target === undefined || some || given === null || given === undefined) return [];
    const listed = readOperators(given as Operators, key, convert).filter(([name]) => name === "eq" || name === "in");
    return listed.map(([operator, value]) => {
      const values = new Set(Array.isArray(value) ? value : [value]);
      const each = [...values].map((one) => compare(target, "eq", one));
      return { target, choice: { all: compare(target, operator, value), each } };
    });
  }

  function read(input: WhereInput, path: string, depth: number): RowCondition {
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
    toSql: (input) => (input ? read(input, "where", 1) : always),
    choices: (input) => Object.entries(input ?? {}).flatMap(([key, given]) => readChoices(key, given)),
  };
}
