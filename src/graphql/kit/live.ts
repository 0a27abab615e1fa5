import type { GraphQLResolveInfo } from "graphql";
import type { Channel } from "../../db/channels.ts";
import type { Change } from "../../notifier/page.ts";
import { builder, defaultPageSize } from "./builder.ts";
import type { Context } from "./context.ts";
import type { LiveInput, LiveWhere } from "./live-where.ts";
import { loadNode } from "./node.ts";
import { checkPage } from "./page.ts";
import { followChanges, replayChanges, unwrap } from "./stream.ts";

/** What every message of a subscription has. */
export const LiveMessage = builder.interfaceRef<Pick<Change, "cursor" | "at">>("LiveMessage").implement({
  description: "Something that happened, as a subscription sends it.",
  fields: (t) => ({
    cursor: t.expose("cursor", {
      type: "Cursor",
      description: "Give it as `after` to continue right after this message.",
    }),
    occurredAt: t.expose("at", { type: "DateTime", description: "When it happened." }),
  }),
});

/** The description of a field that loads a message's object: it ends with what selecting it costs. */
export const describeLoaded = (description: string) =>
  `${description} In a subscription this costs one SQL statement per message and subscriber; the other fields cost none.`;

/** Resolves a message's object, of the type `T` of that name, with what is selected of it. */
export function loadEntity<T>(typename: string) {
  return async (change: Change, _args: object, ctx: Context, info: GraphQLResolveInfo) =>
    (await loadNode({ typename, number: change.entityId }, ctx, info)) as T | null; // of the type that was asked for
}

/** The name of the query that polls the messages of a subscription. `docs/api.md` has the rule for all the names of a stream. */
export const pollingName = (subscription: string) => `${subscription}Messages`;

/** The description of the argument `first` of polling queries. */
export const firstDescription = "How many at most: 50 unless said otherwise, at most 100.";

/** What polling costs: each message what is selected of it. */
export function pollingCost({ first }: { first?: number | null }): { field: number; multiplier: number } {
  return { field: 1, multiplier: Math.max(1, first ?? defaultPageSize) };
}

interface Live<C extends Channel> {
  subscription: string;
  /** The type of its messages. */
  type: unknown;
  where: LiveWhere;
  /** What `where` chooses: "Which executions". */
  which: string;
  /** Which messages it sends. */
  description: string;
  /** Makes a message of a change, when the change alone is not one; `where` is the argument. */
  toMessage?(change: Change<C>, where: LiveInput): Change<C>;
}

/** Adds a subscription to the notification log, and the query that polls the same messages. */
export function addLive<C extends Channel>(options: Live<C>): void {
  const { subscription, where, which, description } = options;
  const query = pollingName(subscription);
  const type = options.type as typeof LiveMessage; // they differ only in what they add to it
  const toMessage = (change: Change, input: LiveInput) =>
    options.toMessage ? options.toMessage(change as Change<C>, input) : change; // the filter lets only its channel through
  const whereArg = { type: where.type, description: `${which}; all when left out.` } as const;
  const begin = "Begin right after this cursor";

  builder.subscriptionField(subscription, (t) =>
    t.field({
      type,
      nullable: true,
      description: `${description} \`${query}\` polls the same.`,
      args: {
        where: t.arg(whereArg),
        after: t.arg({
          type: "Cursor",
          description: `${begin}, with what is stored, then live; left out: begin with what comes next.`,
        }),
      },
      subscribe: (_root, args, ctx) => followChanges(ctx, where.filter(args.where), args.after),
      resolve: (message, args) => toMessage(unwrap(message), args.where),
    }),
  );

  builder.queryField(query, (t) =>
    t.field({
      type: [type],
      nullable: true,
      description: `What the subscription \`${subscription}\` would send after a cursor: the same messages, by polling.`,
      args: {
        where: t.arg(whereArg),
        after: t.arg({ type: "Cursor", description: `${begin}; left out: with the oldest change kept.` }),
        first: t.arg.int({ description: firstDescription }),
      },
      complexity: pollingCost,
      resolve: async (_root, { first, after, ...args }, ctx) => {
        checkPage({ first }, []);
        const changes = await replayChanges(ctx, where.filter(args.where), after, first ?? defaultPageSize);
        return changes.map((change) => toMessage(change, args.where));
      },
    }),
  );
}
