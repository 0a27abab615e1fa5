import type { DrizzleRef } from "@pothos/plugin-drizzle";
import { builder, defaultPageSize, maxPageSize } from "./builder.ts";
import { Count } from "./count.ts";
import { defineWhere, type FilterField } from "./filter.ts";
import type { PageArgs } from "./page.ts";
import { createReading, type Direction, type TableName } from "./reading.ts";

const OrderDirection = builder.enumType("OrderDirection", {
  description: "Which end of a list comes first.",
  values: {
    ASC: { value: "asc", description: "Smallest, or oldest, first." },
    DESC: { value: "desc", description: "Largest, or newest, first." },
  },
});

interface OrderInput {
  field: string;
  direction: Direction;
}

/** What a list can be filtered and ordered by, and how it is ordered unless asked otherwise. */
interface ListOptions {
  where: Readonly<Record<string, FilterField>>;
  /** Column names, none of which is ever null, with what they mean. */
  order: Readonly<Record<string, string>>;
  defaultOrder: readonly [column: string, direction: Direction];
}

/** Screaming snake case: lastHeartbeat → LAST_HEARTBEAT. */
const constantCase = (name: string) => name.replaceAll(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase();

function defineOrder(name: string, { order, defaultOrder }: ListOptions) {
  const [column, direction] = defaultOrder;
  const Field = builder.enumType(`${name}OrderField`, {
    description: "What the list can be ordered by; the id decides between equals.",
    values: Object.fromEntries(
      Object.entries(order).map(([key, description]) => [constantCase(key), { value: key, description }]),
    ),
  });
  return builder.inputRef<OrderInput>(`${name}Order`).implement({
    description: `How the list is ordered; without it by ${constantCase(column)} ${direction.toUpperCase()}.`,
    fields: (t) => ({
      field: t.field({ type: Field, required: true, description: "What to order by." }),
      direction: t.field({ type: OrderDirection, required: true, description: "Which end comes first." }),
    }),
  });
}

function defineConnection(name: string, ref: DrizzleRef<never>) {
  return builder.connectionObject(
    {
      type: ref,
      name: `${name}Connection`,
      fields: (t) => ({
        totalCount: t.field({
          type: Count,
          description: "How many there are on all pages together. Counted only when selected.",
          extensions: { pothosDrizzleTotalCount: true },
          resolve: (connection) => {
            // The drizzle plugin gives the number to a related list, and the way to count to a root list.
            const { totalCount } = connection as { totalCount?: number | (() => number) };
            return typeof totalCount === "function" ? totalCount() : (totalCount ?? 0);
          },
        }),
      }),
    },
    { name: `${name}Edge` },
  );
}

/**
 * A type's connection, filter and order, for every list of it: the root field and those of related objects. `name` is the
 * type's; lists page by keyset in the order chosen, made unique by the id.
 */
export function defineList(name: string, tableName: TableName, options: ListOptions & { ref: unknown }) {
  const where = defineWhere(`${name}Where`, options.where);
  const Order = defineOrder(name, options);
  const reading = createReading({ tableName, where, defaultOrder: options.defaultOrder });

  const args = builder.args((t) => ({
    where: t.field({ type: where.type, description: "Which ones; all when left out." }),
    orderBy: t.field({ type: Order, description: "In which order." }),
  }));

  return {
    ...reading,
    connection: defineConnection(name, options.ref as DrizzleRef<never>),
    args,
    /** The options of a connection to objects of this type, from an object that they belong to. */
    related: (description: string) =>
      ({ description, args, query: reading.related, totalCount: true, complexity: pageCost }) as const,
  };
}

/** What a page costs: each of its objects what is selected of it. */
export function pageCost({ first, last }: PageArgs): { field: number; multiplier: number } {
  return { field: 1, multiplier: Math.min(Math.max(first ?? last ?? defaultPageSize, 1), maxPageSize) };
}
