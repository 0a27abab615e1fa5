import type { GraphQLResolveInfo } from "graphql";
import type { Channel } from "../../db/channels.ts";
import type { Change } from "../../notifier/page.ts";
import { builder, defaultPageSize } from "./builder.ts";
import type { Context } from "./context.ts";
import { filterCost } from "./filter-cost.ts";
import type { LiveInput, LiveWhere } from "./live-where.ts";
import { loadNode } from "./node.ts";
import { checkPage } from "./page.ts";
import { followChanges, replayChanges, unwrap } from "./stream.ts";

/** The fields of every message of a subscription. */
export const LiveMessage = builder.interfaceRef<Pick<Change, "cursor" | "at">>("LiveMessage").implement({
  description: "A message of a subscription.",
  fields: (t) => ({
    cursor: t.expose("cursor", {
      type: "Cursor",
      description: "Pass it as `after` to continue after this message.",
    }),
    occurredAt: t.expose("at", { type: "DateTime", description: "When it happened." }),
  }),
});

/** Returns the description of a field that loads a message's object, with its cost. */
export const describeLoaded = (description: string) =>
  `${description} In a subscription this costs one SQL statement for messages that follow one another without a pause, for each subscriber; the other fields cost none.`;

/** Returns a resolver that loads a message's object, of the type `typename`, with the selected fields. */
export function loadEntity<T>(typename: string) {
  return async (change: Change, _args: object, ctx: Context, info: GraphQLResolveInfo) =>
    (await loadWithBurst(change, () => typename, ctx, info)) as T | null; // of the type `typename`
}

/**
 * Loads a message's object with the selected fields, together with those of the messages that follow it; null if it was deleted.
 * `typenameOf` returns the type of a change's object, or null if the API has none.
 */
export async function loadWithBurst(
  change: Change,
  typenameOf: (change: Change) => string | null,
  ctx: Context,
  info: GraphQLResolveInfo,
) {
  const load = async (of: Change) => {
    const typename = typenameOf(of);
    return typename === null ? null : await loadNode({ typename, number: of.entityId }, ctx, info);
  };
  const place = String(info.path.key);
  return await (ctx.burst ? ctx.burst.load(change, { place, session: ctx.session, load }) : load(change));
}

/** Returns the name of the query that polls the messages of a subscription. `docs/api.md` describes all names of a stream. */
export const pollingName = (subscription: string) => `${subscription}Messages`;

/** The description of the argument `first` of polling queries. */
export const firstDescription = "The maximum number of messages: 50 by default, at most 100.";

/** Returns the cost of polling: that of the filter, and that of the selected fields, times the number of messages. */
export function pollingCost({ first, where }: { first?: number | null; where?: unknown }): {
  field: number;
  multiplier: number;
} {
  return { field: 1 + filterCost(where), multiplier: Math.max(1, first ?? defaultPageSize) };
}

interface Live<C extends Channel> {
  subscription: string;
  /** The type of its messages. */
  type: unknown;
  where: LiveWhere;
  /** The description of what `where` selects: "The executions". */
  which: string;
  /** The description of the messages that it sends. */
  description: string;
  /** Converts a change to a message, if they differ; `where` is the argument. */
  toMessage?(change: Change<C>, where: LiveInput): Change<C>;
}

/** Adds a subscription to the notification log, and the query that polls the same messages. */
export function addLive<C extends Channel>(options: Live<C>): void {
  const { subscription, where, which, description } = options;
  const query = pollingName(subscription);
  const type = options.type as typeof LiveMessage; // every message type implements it
  const toMessage = (change: Change, input: LiveInput) =>
    options.toMessage ? options.toMessage(change as Change<C>, input) : change; // the filter passes only its channel
  const filterFor = async (input: LiveInput, ctx: Context) => where.filter(input, await where.hidden(input, ctx));
  const whereArg = { type: where.type, description: `${which}; all by default.` } as const;
  const begin = "The cursor to begin after";

  builder.subscriptionField(subscription, (t) =>
    t.field({
      type,
      nullable: true,
      description: `${description} \`${query}\` polls the same messages.`,
      args: {
        where: t.arg(whereArg),
        after: t.arg({
          type: "Cursor",
          description: `${begin}: stored messages first, then live ones. By default the stream begins with the next message.`,
        }),
      },
      complexity: ({ where: given }) => ({ field: 1 + filterCost(given), multiplier: 1 }),
      subscribe: async (_root, args, ctx) => followChanges(ctx, await filterFor(args.where, ctx), args.after),
      resolve: (message, args) => toMessage(unwrap(message), args.where),
    }),
  );

  builder.queryField(query, (t) =>
    t.field({
      type: [type],
      nullable: true,
      description: `The messages of the subscription \`${subscription}\` after a cursor, for polling.`,
      args: {
        where: t.arg(whereArg),
        after: t.arg({
          type: "Cursor",
          description: `${begin}; by default the messages begin with the oldest stored change.`,
        }),
        first: t.arg.int({ description: firstDescription }),
      },
      complexity: pollingCost,
      resolve: async (_root, { first, after, ...args }, ctx) => {
        checkPage({ first }, []);
        const changes = await replayChanges(ctx, await filterFor(args.where, ctx), after, first ?? defaultPageSize);
        return changes.map((change) => toMessage(change, args.where));
      },
    }),
  );
}
