import type { Channel } from "../../db/channels.ts";
import type { Change, ChangeFilter } from "../../notifier/page.ts";
import { builder } from "./builder.ts";
import { changeFilter, hiddenIds, type LiveField } from "./change-filter.ts";
import type { Context } from "./context.ts";
import { BooleanFilter, DateTimeFilter, IDFilter, StringFilter } from "./filter-inputs.ts";

/** The input of a subscription's `where`: operators by field. */
export type LiveInput = Readonly<Record<string, unknown>> | null | undefined;

/** A field of a subscription's `where`: its input type and description, and how its value is read. */
export interface LiveWhereField<C extends Channel = Channel> extends LiveField<C> {
  type: typeof StringFilter;
  description: string;
}

/** A subscription's `where`: its input type, and a function that returns the filter of the log for an input. */
export interface LiveWhere {
  type: ReturnType<typeof whereType>;
  filter(input: LiveInput, hidden: ReadonlySet<string>): ChangeFilter;
  /** Returns the ids in the input that the session may not read. Throws InvalidInputError. */
  hidden(input: LiveInput, ctx: Context): Promise<ReadonlySet<string>>;
}

type Read<C extends Channel, T> = (change: Change<C>) => T | null;

/** Returns constructors of the fields of a `where` over one channel, each with a description and a function that reads the value. */
export function liveFields<C extends Channel>() {
  return {
    text: (description: string, read: Read<C, string>): LiveWhereField<C> => ({
      type: StringFilter,
      description,
      read,
    }),
    flag: (description: string, read: Read<C, boolean>): LiveWhereField<C> => ({
      type: BooleanFilter,
      description,
      read,
    }),
    choice: (type: typeof StringFilter, description: string, read: Read<C, string>): LiveWhereField<C> => ({
      type,
      description,
      read,
    }),
    /** `read` returns a point in time as stored in the log. */
    time: (description: string, read: Read<C, string>): LiveWhereField<C> => ({
      type: DateTimeFilter,
      description,
      read: (change) => {
        const time = read(change);
        return time === null ? null : new Date(time);
      },
    }),
    /** `read` returns an id as stored in the log; `typename` is the type of the object. */
    id: (typename: string, description: string, read: Read<C, string | bigint>): LiveWhereField<C> => ({
      type: IDFilter,
      description,
      typename,
      read: (change) => {
        const id = read(change);
        return id === null ? null : BigInt(id);
      },
    }),
  };
}

function whereType(name: string, description: string, fields: Readonly<Record<string, Omit<LiveWhereField, "read">>>) {
  return builder.inputRef<NonNullable<LiveInput>>(name).implement({
    description,
    fields: (t) =>
      Object.fromEntries(
        Object.entries(fields).map(([key, { type, description }]) => [key, t.field({ type, description })]),
      ),
  });
}

/** Returns the `where` of a subscription to one channel of the log, or to some of its activities; null for all channels. */
export function defineLiveWhere<C extends Channel>(
  name: string,
  description: string,
  {
    channel,
    activities,
    fields,
  }: {
    channel: C | null;
    activities?: readonly Change["activity"][];
    fields: Readonly<Record<string, LiveWhereField<C>>>;
  },
): LiveWhere {
  return {
    type: whereType(name, description, fields),
    filter: (input, hidden) => {
      const filter = changeFilter(channel, fields, input, hidden);
      if (!activities) return filter;
      return { ...filter, matches: (change) => activities.includes(change.activity) && filter.matches(change) };
    },
    hidden: (input, ctx) => hiddenIds(fields, input, ctx),
  };
}
