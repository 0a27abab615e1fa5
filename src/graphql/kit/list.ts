import type { DrizzleRef } from "@pothos/plugin-drizzle";
import { builder, defaultPageSize, maxPageSize } from "./builder.ts";
import { Count } from "./count.ts";
import { defineWhere, type FilterField } from "./filter.ts";
import { filterCost } from "./filter-cost.ts";
import type { PageArgs } from "./page.ts";
import { createReading, type Direction, type TableName } from "./reading.ts";

const OrderDirection = builder.enumType("OrderDirection", {
  description: "The direction of an order.",
  values: {
    ASC: { value: "asc", description: "Smallest, or oldest, first." },
    DESC: { value: "desc", description: "Largest, or newest, first." },
  },
});

interface OrderInput {
  field: string;
  direction: Direction;
}

/** The filters, orders and default order of a list. */
interface ListOptions {
  where: Readonly<Record<string, FilterField>>;
  /** Descriptions by column; the columns are never null. */
  order: Readonly<Record<string, string>>;
  defaultOrder: readonly [column: string, direction: Direction];
}

/** Screaming snake case: lastHeartbeat → LAST_HEARTBEAT. */
const constantCase = (name: string) => name.replaceAll(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase();

function defineOrder(name: string, { order, defaultOrder }: ListOptions) {
  const [column, direction] = defaultOrder;
  const Field = builder.enumType(`${name}OrderField`, {
    description: "The fields that the list can be ordered by. Equal values are ordered by id.",
    values: Object.fromEntries(
      Object.entries(order).map(([key, description]) => [constantCase(key), { value: key, description }]),
    ),
  });
  return builder.inputRef<OrderInput>(`${name}Order`).implement({
    description: `The order of a list; by default ${constantCase(column)} ${direction.toUpperCase()}.`,
    fields: (t) => ({
      field: t.field({ type: Field, required: true, description: "The field to order by." }),
      direction: t.field({ type: OrderDirection, required: true, description: "Ascending or descending." }),
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
          description: "The number of objects on all pages. Counted only when selected.",
          extensions: { pothosDrizzleTotalCount: true },
          resolve: (connection) => {
            // The drizzle plugin passes a number to a related list, and a function that counts to a root list.
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
 * Returns the connection, filter and order of the type `name`, for its root field and for the lists of related objects.
 * Lists page by keyset in the chosen order, with the id as the last key.
 */
export function defineList(name: string, tableName: TableName, options: ListOptions & { ref: unknown }) {
  const where = defineWhere(`${name}Where`, options.where);
  const Order = defineOrder(name, options);
  const reading = createReading({ tableName, where, defaultOrder: options.defaultOrder });

  const args = builder.args((t) => ({
    where: t.field({ type: where.type, description: "Which objects to return; all by default." }),
    orderBy: t.field({ type: Order, description: "The order of the list." }),
  }));

  return {
    ...reading,
    connection: defineConnection(name, options.ref as DrizzleRef<never>),
    args,
    /** The type of its filter. */
    filter: where.type,
    /**
     * Returns the options of a field that lists the objects of this type that belong to another object. `usually` is how many there are
     * where that is known: a page without `first` or `last` costs as much as it can hold.
     */
    related: (description: string, { usually = defaultPageSize } = {}) => {
      const complexity = (page: Parameters<typeof pageCost>[0]) =>
        pageCost({ ...page, first: page.first ?? (page.last ? null : usually) });
      const about =
        usually === defaultPageSize
          ? description
          : `${description} Without \`first\` or \`last\` it costs as much as a page of ${usually}.`;
      return { description: about, args, query: reading.related, totalCount: true, complexity } as const;
    },
  };
}

/** Returns the cost of a page: that of its filter, and that of the selected fields, times the page size. */
export function pageCost({ first, last, where }: PageArgs & { where?: unknown }): {
  field: number;
  multiplier: number;
} {
  return {
    field: 1 + filterCost(where),
    multiplier: Math.min(Math.max(first ?? last ?? defaultPageSize, 1), maxPageSize),
  };
}
