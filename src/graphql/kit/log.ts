import { invalid } from "../../errors.ts";
import { builder, defaultPageSize } from "./builder.ts";
import type { Context } from "./context.ts";
import { LogStream } from "./enums.ts";
import { readId } from "./ids.ts";
import { firstDescription, LiveMessage, pollingCost, pollingName } from "./live.ts";
import { checkPage } from "./page.ts";
import { parseBigInt } from "./scalars.ts";
import { messages, unwrap } from "./stream.ts";

/** A stored entry of a log. */
interface Stored {
  seq: bigint;
  stream: "stdout" | "stderr" | "system";
  at: Date;
  text: string;
}

interface Chunk extends Stored {
  cursor: string;
}

const toChunk = (stored: Stored): Chunk => ({ ...stored, cursor: String(stored.seq) });

/** A log of the objects of one type. */
interface Log {
  subscription: "executionLog" | "sensorLog";
  /** The name of the type of its messages. */
  message: "ExecutionLogMessage" | "SensorLogMessage";
  of: "Execution" | "Sensor";
  descriptions: { message: string; seq: string; subscription: string };
  /** Throws NotFoundError unless the session may read the object. */
  requireReadable(ctx: Context, id: bigint): Promise<void>;
  follow(ctx: Context, id: bigint, after: bigint, signal: AbortSignal): AsyncGenerator<Stored, void>;
  read(ctx: Context, id: bigint, page: { after: bigint; limit: number }): Promise<Stored[]>;
}

/** Adds the subscription of a log, and the query that polls its messages. */
export function addLog({ subscription, message, of, descriptions, requireReadable, follow, read }: Log): void {
  const noun = of === "Execution" ? "an execution" : "a sensor";
  const readCursor = (after: string | null | undefined): bigint => {
    if (after === null || after === undefined) return 0n;
    const seq = parseBigInt(after);
    if (seq === null || seq < 0n) throw invalid("after", `"${after}" is not a cursor of ${noun}'s log`);
    return seq;
  };
  const Message = builder.objectRef<Chunk>(message).implement({
    description: descriptions.message,
    interfaces: [LiveMessage],
    fields: (t) => ({
      seq: t.expose("seq", { type: "BigInt", description: descriptions.seq }),
      stream: t.expose("stream", { type: LogStream, description: "The source of the output." }),
      text: t.exposeString("text", { description: "The text; it may contain several lines or part of one." }),
    }),
  });
  const query = pollingName(subscription);
  const afterDescription = "The cursor to begin after; by default the messages begin with the first chunk.";
  const idDescription = `The ${of.toLowerCase()}'s id.`;

  builder.subscriptionField(subscription, (t) =>
    t.field({
      type: Message,
      nullable: true,
      description: `${descriptions.subscription} \`${query}\` polls the same messages.`,
      args: {
        id: t.arg.id({ required: true, description: idDescription }),
        after: t.arg({ type: "Cursor", description: afterDescription }),
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
            yield toChunk(stored);
          }
        });
      },
      resolve: (each) => unwrap(each),
    }),
  );

  builder.queryField(query, (t) =>
    t.field({
      type: [Message],
      nullable: true,
      description: `The messages of the subscription \`${subscription}\` after a cursor, for polling.`,
      args: {
        id: t.arg.id({ required: true, description: idDescription }),
        after: t.arg({ type: "Cursor", description: afterDescription }),
        first: t.arg.int({ description: firstDescription }),
      },
      complexity: pollingCost,
      resolve: async (_root, { id, after, first }, ctx) => {
        checkPage({ first }, []);
        const from = readCursor(after);
        const object = readId(of, id, "id");
        await requireReadable(ctx, object);
        return (await read(ctx, object, { after: from, limit: first ?? defaultPageSize })).map(toChunk);
      },
    }),
  );
}
