import { invalid, NotFoundError } from "../../errors.ts";
import { followLog, readLog, type StoredLog } from "../../execution/log.ts";
import { builder, defaultPageSize } from "../kit/builder.ts";
import type { Context } from "../kit/context.ts";
import { LogStream } from "../kit/enums.ts";
import { readId } from "../kit/ids.ts";
import { firstDescription, LiveMessage, pollingCost, pollingName } from "../kit/live.ts";
import { checkPage } from "../kit/page.ts";
import { parseBigInt } from "../kit/scalars.ts";
import { messages, unwrap } from "../kit/stream.ts";

interface Chunk extends StoredLog {
  cursor: string;
}

const toChunk = (stored: StoredLog): Chunk => ({ ...stored, cursor: String(stored.seq) });

const ExecutionLogMessage = builder.objectRef<Chunk>("ExecutionLogMessage").implement({
  description: "A chunk of an execution's output.",
  interfaces: [LiveMessage],
  fields: (t) => ({
    seq: t.expose("seq", { type: "BigInt", description: "Its number within the execution, from 1, without gaps." }),
    stream: t.expose("stream", { type: LogStream, description: "The source of the output." }),
    text: t.exposeString("text", { description: "The text; it may contain several lines or part of one." }),
  }),
});

function readCursor(after: string | null | undefined): bigint {
  if (after === null || after === undefined) return 0n;
  const seq = parseBigInt(after);
  if (seq === null || seq < 0n) throw invalid("after", `"${after}" is not a cursor of an execution's log`);
  return seq;
}

async function requireReadable(ctx: Context, id: bigint): Promise<void> {
  const found = await ctx.db.query.executions.findFirst({ columns: { id: true }, where: { id } });
  if (!found) throw new NotFoundError("execution", String(id));
}

const subscription = "executionLog";
const query = pollingName(subscription);
const afterDescription = "The cursor to begin after; by default the messages begin with the first chunk.";
const idDescription = "The execution's id.";

builder.subscriptionField(subscription, (t) =>
  t.field({
    type: ExecutionLogMessage,
    nullable: true,
    description: `The output of an execution, stored and live, in order. Completes when the execution has ended. \`${query}\` polls the same messages.`,
    args: {
      id: t.arg.id({ required: true, description: idDescription }),
      after: t.arg({ type: "Cursor", description: afterDescription }),
    },
    subscribe: (_root, { id, after }, ctx) => {
      const given = ctx.lastEventId ?? after;
      ctx.beginsAfter = given ?? "0";
      return messages(ctx, async function* (signal, session) {
        const from = readCursor(given);
        const execution = readId("Execution", id, "id");
        let checked = session();
        await requireReadable(ctx, execution);
        for await (const stored of followLog(ctx.services, execution, from, signal)) {
          if (session() !== checked) {
            checked = session();
            await requireReadable(ctx, execution);
          }
          yield toChunk(stored);
        }
      });
    },
    resolve: (message) => unwrap(message),
  }),
);

builder.queryField(query, (t) =>
  t.field({
    type: [ExecutionLogMessage],
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
      const execution = readId("Execution", id, "id");
      await requireReadable(ctx, execution);
      const limit = first ?? defaultPageSize;
      return (await readLog(ctx.services.db, execution, { after: from, limit })).entries.map(toChunk);
    },
  }),
);
