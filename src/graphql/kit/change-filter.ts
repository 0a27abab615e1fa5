import type { Channel } from "../../db/channels.ts";
import type { Change, ChangeFilter } from "../../notifier/page.ts";
import { readOperators } from "./filter.ts";
import type { Operators } from "./filter-inputs.ts";
import { readId } from "./ids.ts";

/** A value that filters compare, of the type that a column of a list would have. */
export type Comparable = string | boolean | bigint | Date;

/** A field of a live filter over one channel: which value of a change it compares, and the type whose ids it takes. */
export interface LiveField<C extends Channel = Channel> {
  read: (change: Change<C>) => Comparable | null;
  typename?: string;
}

type Test = (actual: Comparable, value: unknown) => boolean;

const lower = (text: unknown) => String(text).toLowerCase();
const same: Test = (actual, value) => actual.valueOf() === (value instanceof Date ? value.getTime() : value);
const oneOf: Test = (actual, list) => (list as unknown[]).some((value) => same(actual, value)); // a list by its schema

const when =
  (test: (actual: number, value: number) => boolean): Test =>
  (actual, value) =>
    actual instanceof Date && value instanceof Date && test(actual.getTime(), value.getTime());

const tests: Readonly<Record<string, Test>> = {
  eq: same,
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
export function changeFilter<C extends Channel>(
  channel: C | null,
  fields: Readonly<Record<string, LiveField<C>>>,
  input: Readonly<Record<string, unknown>> | null | undefined,
): ChangeFilter {
  let entityId: bigint | null = null;
  const parts: ((change: Change<C>) => boolean)[] = [];
  for (const [key, given] of Object.entries(input ?? {})) {
    const { read, typename } = fields[key] ?? {};
    if (!read || given === null || given === undefined) continue;
    const convert = (value: unknown, path: string) => (typename ? readId(typename, value, path) : value);
    for (const [operator, value] of readOperators(given as Operators, `where.${key}`, convert)) {
      if (key === "id" && operator === "eq" && typeof value === "bigint") entityId = value;
      parts.push((change) => {
        const actual = read(change);
        if (actual === null) return holdsOfMissing(operator, value);
        return tests[operator]?.(actual, value) ?? false;
      });
    }
  }
  // The feed asks only about entries of the channel.
  return { channel, entityId, matches: (change) => parts.every((part) => part(change as Change<C>)) };
}
