import type { GraphQLResolveInfo } from "graphql";
import type { Json } from "../../lib/json.ts";
import type { Change, ChangeFilter } from "../../notifier/page.ts";
import { builder, defaultPageSize } from "./builder.ts";
import { changeFilter, type LiveField } from "./change-filter.ts";
import type { Context } from "./context.ts";
import type { StringFilter } from "./filter-inputs.ts";
import { loadNode } from "./node.ts";
import { checkPage } from "./page.ts";
import { followChanges, replayChanges, unwrap } from "./stream.ts";

type Input = Record<string, unknown>;

/** What every message of a subscription to the log has. */
export const LiveMessage = builder.interfaceRef<Change>("LiveMessage").implement({
  description: "Something that happened, as subscriptions tell it.",
  fields: (t) => ({
    cursor: t.expose("cursor", {
      type: "Cursor",
      description: "Give it as `after` to go on right behind this message.",
    }),
    occurredAt: t.expose("at", { type: "DateTime", description: "When it happened." }),
  }),
});

/** What the change says under that key; null when it says nothing. */
export function told(change: Change, key: string): Json {
  return change.content?.[key] ?? null;
}

/** Reads that key of a change for a filter. */
export const telling = (key: string) => (change: Change) => told(change, key);

/** The description of a message's object, with what it costs. */
export const atItsPrice = (what: string) =>
  `${what} In a subscription this costs one SQL statement per message and subscriber; the other fields cost none.`;

/** Resolves a message's object, of the type `T` of that name, with what is selected of it. */
export function loadEntity<T>(typename: string) {
  return async (change: Change, _args: object, ctx: Context, info: GraphQLResolveInfo) =>
    (await loadNode({ typename, number: change.entityId }, ctx, info)) as T | null; // of the type that was asked for
}

/** A field of a subscription's `where`, as clients see it and as it is decided. */
export interface LiveWhereField extends LiveField {
  type: typeof StringFilter;
  description: string;
}

/** A subscription's `where`: its input type, and the filter of the log that such an input stands for. */
interface LiveWhere {
  type: ReturnType<typeof whereType>;
  filter(input: Input | null | undefined): ChangeFilter;
}

function whereType(name: string, description: string, fields: Readonly<Record<string, LiveWhereField>>) {
  return builder.inputRef<Input>(name).implement({
    description,
    fields: (t) =>
      Object.fromEntries(
        Object.entries(fields).map(([key, { type, description }]) => [key, t.field({ type, description })]),
      ),
  });
}

/** Makes the `where` of a subscription to one channel of the log (null: to all). */
export function defineLiveWhere(
  name: string,
  description: string,
  { channel, fields }: { channel: string | null; fields: Readonly<Record<string, LiveWhereField>> },
): LiveWhere {
  return {
    type: whereType(name, description, fields),
    filter: (input) => changeFilter(channel, fields, input),
  };
}

interface Live {
  subscription: string;
  /** The name of its twin. */
  query: string;
  /** The type of its messages. */
  type: unknown;
  where: LiveWhere;
  /** What `where` chooses: "Which executions". */
  which: string;
  /** What is told. */
  description: string;
  /** What the messages' type is made of, when a change alone is not enough; `where` is the argument. */
  tell?(change: Change, where: Input | null | undefined): Change;
}

/** Adds a subscription to the log, and its twin, the query that polls the same. */
export function addLive({ subscription, query, where, which, description, ...options }: Live): void {
  const type = options.type as typeof LiveMessage; // they differ only in what they add to it
  const tell = options.tell ?? ((change) => change);
  const whereArg = { type: where.type, description: `${which}; all when left out.` } as const;
  const behind = "Begin right behind this cursor";

  builder.subscriptionField(subscription, (t) =>
    t.field({
      type,
      nullable: true,
      description: `${description} \`${query}\` polls the same.`,
      args: {
        where: t.arg(whereArg),
        after: t.arg({
          type: "Cursor",
          description: `${behind}, with what is stored, then live; left out: begin with what comes next.`,
        }),
      },
      subscribe: (_root, args, ctx) => followChanges(ctx, where.filter(args.where), args.after),
      resolve: (message, args) => tell(unwrap(message), args.where),
    }),
  );

  builder.queryField(query, (t) =>
    t.field({
      type: [type],
      nullable: true,
      description: `What the subscription \`${subscription}\` would send after a cursor: the same messages, by polling.`,
      args: {
        where: t.arg(whereArg),
        after: t.arg({ type: "Cursor", description: `${behind}; left out: with the oldest change kept.` }),
        first: t.arg.int({ description: "How many at most: 50 unless said otherwise, at most 100." }),
      },
      complexity: ({ first }) => ({ field: 1, multiplier: Math.max(1, first ?? defaultPageSize) }),
      resolve: async (_root, { first, after, ...args }, ctx) => {
        checkPage({ first }, []);
        const changes = await replayChanges(ctx, where.filter(args.where), after, first ?? defaultPageSize);
        return changes.map((change) => tell(change, args.where));
      },
    }),
  );
}
