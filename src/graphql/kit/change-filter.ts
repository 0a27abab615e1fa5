import type { Channel } from "../../db/channels.ts";
import type { Change, ChangeFilter } from "../../notifier/page.ts";
import { readOperators } from "./filter.ts";
import type { Operators } from "./filter-inputs.ts";
import { readId } from "./ids.ts";
import { type Comparable, operators } from "./operators.ts";

/** A field of a live filter over one channel: which value of a change it compares, and the type whose ids it takes. */
export interface LiveField<C extends Channel = Channel> {
  read: (change: Change<C>) => Comparable | null;
  typename?: string;
}

/**
 * Makes a filter of the feed from a live filter's input, decided in memory with the meaning that the same operators have in lists.
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
      parts.push((change) => operators[operator].test(read(change), value));
    }
  }
  // The feed asks only about entries of the channel.
  return { channel, entityId, matches: (change) => parts.every((part) => part(change as Change<C>)) };
}
