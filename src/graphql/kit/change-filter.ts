import { readableRows } from "../../access/resource.ts";
import type { Channel } from "../../db/channels.ts";
import type { Change, ChangeFilter } from "../../notifier/page.ts";
import type { Context } from "./context.ts";
import { readOperators } from "./filter.ts";
import type { Operators } from "./filter-inputs.ts";
import { readId, tableOfType } from "./ids.ts";
import { type Comparable, filterOperators } from "./operators.ts";

/** Operators by field. */
type LiveOperators = Readonly<Record<string, unknown>> | null | undefined;

/** A field of a live filter over one channel: how to read its value from a change, and for ids the type of the object. */
export interface LiveField<C extends Channel = Channel> {
  read: (change: Change<C>) => Comparable | null;
  typename?: string;
}

/**
 * Returns the filter of the feed for a live filter's input. It runs in memory, and its operators mean the same as in lists. `hidden`
 * are ids as `hiddenIds` returns them.
 * Throws InvalidInputError for ids of another type.
 */
export function changeFilter<C extends Channel>(
  channel: C | null,
  fields: Readonly<Record<string, LiveField<C>>>,
  input: LiveOperators,
  hidden: ReadonlySet<string> = new Set(),
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
        return filterOperators[operator].test(hidden.has(`${typename}:${actual}`) ? null : actual, value);
      });
    }
  }
  // The feed passes only changes of the channel.
  return { channel, entityId, matches: (change) => parts.every((part) => part(change as Change<C>)) };
}

/**
 * Returns the ids of other objects in the input that the session may not read, such as `Identity:5`: an entry that names one of them is
 * compared as if it named none. Throws InvalidInputError for ids of another type.
 */
export async function hiddenIds(
  fields: Readonly<Record<string, Pick<LiveField, "typename">>>,
  input: LiveOperators,
  { db, session }: Pick<Context, "db" | "session">,
): Promise<ReadonlySet<string>> {
  const hidden = Object.entries(input ?? {}).map(async ([key, given]) => {
    const { typename = "" } = fields[key] ?? {};
    const table = key === "id" ? undefined : tableOfType[typename as keyof typeof tableOfType];
    if (!table || !given || session === null || readableRows(session, table) === null) return [];
    const operators = readOperators(given as Operators, `where.${key}`, (id, path) => readId(typename, id, path));
    const named = operators.flatMap(([, value]) => value).filter((value) => typeof value === "bigint");
    // The code is the same for every table: it is typed as if all were packs.
    const found = await db.query[table as "packs"].findMany({ columns: { id: true }, where: { id: { in: named } } });
    const readable = new Set(found.map(({ id }) => id));
    return named.filter((id) => !readable.has(id)).map((id) => `${typename}:${id}`);
  });
  return new Set((await Promise.all(hidden)).flat());
}
