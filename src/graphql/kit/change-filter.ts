import type { Json } from "../../lib/json.ts";
import type { Change, ChangeFilter } from "../../notifier/page.ts";
import { readOperators } from "./filter.ts";
import type { Operators } from "./filter-inputs.ts";
import { readId } from "./ids.ts";

/** A field of a live filter: which text of a change it compares, and the type whose ids it takes. */
export interface LiveField {
  read: (change: Change) => Json | undefined;
  typename?: string;
}

type Test = (actual: string, value: unknown) => boolean;

const lower = (text: unknown) => String(text).toLowerCase();
const oneOf: Test = (actual, list) => (list as unknown[]).some((value) => String(value) === actual); // a list by its schema

/** A test of points in time, for the log tells them as text. */
const when =
  (test: (actual: number, value: number) => boolean): Test =>
  (actual, value) =>
    value instanceof Date && test(Date.parse(actual), value.getTime());

const tests: Readonly<Record<string, Test>> = {
  eq: (actual, value) => (value instanceof Date ? Date.parse(actual) === value.getTime() : actual === String(value)),
  gt: when((actual, value) => actual > value),
  gte: when((actual, value) => actual >= value),
  lt: when((actual, value) => actual < value),
  lte: when((actual, value) => actual <= value),
  in: oneOf,
  notIn: (actual, list) => !oneOf(actual, list),
  contains: (actual, value) => lower(actual).includes(lower(value)),
  startsWith: (actual, value) => lower(actual).startsWith(lower(value)),
  isNull: (_actual, value) => value === false,
};

/** What holds of a value that is missing, as in lists: it is none of a list, and null. */
const holdsOfMissing = (operator: string, value: unknown) =>
  operator === "notIn" || (operator === "isNull" && value === true);

/**
 * A live filter's input as a filter of the feed, decided in memory with the meaning that the same operators have in lists.
 * Throws InvalidInputError for ids of another type.
 */
export function changeFilter(
  channel: string | null,
  fields: Readonly<Record<string, LiveField>>,
  input: Readonly<Record<string, unknown>> | null | undefined,
): ChangeFilter {
  let entityId: bigint | null = null;
  const parts: ((change: Change) => boolean)[] = [];
  for (const [key, given] of Object.entries(input ?? {})) {
    const { read, typename } = fields[key] ?? {};
    if (!read || given === null || given === undefined) continue;
    const convert = (value: unknown, path: string) => (typename ? readId(typename, value, path) : value);
    for (const [operator, value] of readOperators(given as Operators, `where.${key}`, convert)) {
      if (key === "id" && operator === "eq" && typeof value === "bigint") entityId = value;
      parts.push((change) => {
        const actual = read(change) ?? null;
        if (actual === null) return holdsOfMissing(operator, value);
        return tests[operator]?.(String(actual), value) ?? false;
      });
    }
  }
  return { channel, entityId, matches: (change) => parts.every((part) => part(change)) };
}
