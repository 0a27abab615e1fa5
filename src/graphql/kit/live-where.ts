import type { Channel } from "../../db/channels.ts";
import type { Change, ChangeFilter } from "../../notifier/page.ts";
import { builder } from "./builder.ts";
import { changeFilter, type LiveField } from "./change-filter.ts";
import { BooleanFilter, DateTimeFilter, IDFilter, StringFilter } from "./filter-inputs.ts";

/** The input of a subscription's `where`: operators by field. */
export type LiveInput = Readonly<Record<string, unknown>> | null | undefined;

/** A field of a subscription's `where`, as clients see it and as it is decided. */
export interface LiveWhereField<C extends Channel = Channel> extends LiveField<C> {
  type: typeof StringFilter;
  description: string;
}

/** A subscription's `where`: its input type, and the filter of the log that an input describes. */
export interface LiveWhere {
  type: ReturnType<typeof whereType>;
  filter(input: LiveInput): ChangeFilter;
}

type Read<C extends Channel, T> = (change: Change<C>) => T | null;

/** Makes fields of a `where` over one channel; each takes its description and how its value is read from a change. */
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
    /** `read` returns a point in time as the log writes it. */
    time: (description: string, read: Read<C, string>): LiveWhereField<C> => ({
      type: DateTimeFilter,
      description,
      read: (change) => {
        const time = read(change);
        return time === null ? null : new Date(time);
      },
    }),
    /** `read` returns an id as the log writes it; `typename` is the type of the object. */
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

/** Makes the `where` of a subscription to one channel of the log (null: to all). */
export function defineLiveWhere<C extends Channel>(
  name: string,
  description: string,
  { channel, fields }: { channel: C | null; fields: Readonly<Record<string, LiveWhereField<C>>> },
): LiveWhere {
  return {
    type: whereType(name, description, fields),
    filter: (input) => changeFilter(channel, fields, input),
  };
}
