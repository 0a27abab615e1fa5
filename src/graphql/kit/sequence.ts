import { invalid } from "../../errors.ts";
import { builder, defaultPageSize } from "./builder.ts";
import type { Context } from "./context.ts";
import { readId } from "./ids.ts";
import { firstDescription, type LiveMessage, pollingCost, pollingName } from "./live.ts";
import { checkPage } from "./page.ts";
import { parseBigInt } from "./scalars.ts";
import { messages, unwrap } from "./stream.ts";

/** What happened to one object, numbered in its order. */
interface Numbered {
  seq: bigint;
  at: Date;
}

/** A stream of what happened to one object, beginning with the oldest. */
interface Sequence<T extends Numbered> {
  subscription: string;
  /** The type of its messages. */
  type: unknown;
  /** The type of the object. */
  of: "Execution" | "Sensor";
  descriptions: { subscription: string; id: string; after: string };
  /** The stream, for the refusal of a cursor: `an execution's log`. */
  noun: string;
  /** Throws NotFoundError unless the session may read the object, and InvalidInputError for one without such a stream. */
  requireReadable(ctx: Context, id: bigint): Promise<void>;
  follow(ctx: Context, id: bigint, after: bigint, signal: AbortSignal): AsyncGenerator<T, void>;
  read(ctx: Context, id: bigint, page: { after: bigint; limit: number }): Promise<T[]>;
}

const toMessage = <T extends Numbered>(stored: T) => ({ ...stored, cursor: String(stored.seq) });

/** Adds the subscription of a sequence, which completes when nothing more will happen, and the query that polls its messages. */
export function addSequence<T extends Numbered>(options: Sequence<T>): void {
  const { subscription, of, descriptions, noun, requireReadable, follow, read } = options;
  const type = options.type as typeof LiveMessage; // every message type implements it
  const readCursor = (after: string | null | undefined): bigint => {
    if (after === null || after === undefined) return 0n;
    const seq = parseBigInt(after);
    if (seq === null || seq < 0n) throw invalid("after", `"${after}" is not a cursor of ${noun}`);
    return seq;
  };
  const query = pollingName(subscription);

  builder.subscriptionField(subscription, (t) =>
    t.field({
      type,
      nullable: true,
      description: `${descriptions.subscription} \`${query}\` polls the same messages.`,
      args: {
        id: t.arg.id({ required: true, description: descriptions.id }),
        after: t.arg({ type: "Cursor", description: descriptions.after }),
      },
      subscribe: (_root, { id, after }, ctx) => {
        const given = ctx.lastEventId ?? after;
        ctx.beginsAfter = given ?? "0";
        return messages(ctx, async function* (signal, session) {
          const from = readCursor(given);
          const object = readId(of, id, "id");
          let checked = session();
          await requireReadable(ctx, object);
          for await (const stored of follow(ctx, object, from, signal)) {
            if (session() !== checked) {
              checked = session();
              await requireReadable(ctx, object);
            }
            yield toMessage(stored);
          }
        });
      },
      resolve: (each) => unwrap(each),
    }),
  );

  builder.queryField(query, (t) =>
    t.field({
      type: [type],
      nullable: true,
      description: `The messages of the subscription \`${subscription}\` after a cursor, for polling.`,
      args: {
        id: t.arg.id({ required: true, description: descriptions.id }),
        after: t.arg({ type: "Cursor", description: descriptions.after }),
        first: t.arg.int({ description: firstDescription }),
      },
      complexity: pollingCost,
      resolve: async (_root, { id, after, first }, ctx) => {
        checkPage({ first }, []);
        const from = readCursor(after);
        const object = readId(of, id, "id");
        await requireReadable(ctx, object);
        return (await read(ctx, object, { after: from, limit: first ?? defaultPageSize })).map(toMessage);
      },
    }),
  );
}
