import type { Channel } from "../../db/channels.ts";
import type { Change, ChangeFilter } from "../../notifier/page.ts";
import { readOperators } from "./filter.ts";
import type { Operators } from "./filter-inputs.ts";
import { readId } from "./ids.ts";
import { type Comparable, filterOperators } from "./operators.ts";

/** A field of a live filter over one channel: how to read its value from a change, and for ids the type of the object. */
export interface LiveField<C extends Channel = Channel> {
  read: (change: Change<C>) => Comparable | null;
  typename?: string;
}

/**
 * Returns the filter of the feed for a live filter's input. It runs in memory, and its operators mean the same as in lists.
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
      parts.push((change) => filterOperators[operator].test(read(change), value));
    }
  }
  // The feed passes only changes of the channel.
  return { channel, entityId, matches: (change) => parts.every((part) => part(change as Change<C>)) };
}
