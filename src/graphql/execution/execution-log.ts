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

interface Piece extends StoredLog {
  cursor: string;
}

const toPiece = (stored: StoredLog): Piece => ({ ...stored, cursor: String(stored.seq) });

const ExecutionLogMessage = builder.objectRef<Piece>("ExecutionLogMessage").implement({
  description: "A piece of an execution's output.",
  interfaces: [LiveMessage],
  fields: (t) => ({
    seq: t.expose("seq", { type: "BigInt", description: "Its number within the execution: from 1, without a gap." }),
    stream: t.expose("stream", { type: LogStream, description: "Where it came from." }),
    text: t.exposeString("text", { description: "The text; it may hold several lines, or part of one." }),
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
const after = "Begin right after this cursor; left out: with the first piece.";
const which = "The execution's id.";

builder.subscriptionField(subscription, (t) =>
  t.field({
    type: ExecutionLogMessage,
    nullable: true,
    description: `What an execution wrote and writes, in order; completes when it has ended. \`${query}\` polls the same.`,
    args: {
      id: t.arg.id({ required: true, description: which }),
      after: t.arg({ type: "Cursor", description: after }),
    },
    subscribe: (_root, { id, after }, ctx) =>
      messages(ctx, async function* (signal, session) {
        const from = readCursor(ctx.lastEventId ?? after);
        const execution = readId("Execution", id, "id");
        let checked = session();
        await requireReadable(ctx, execution);
        for await (const stored of followLog(ctx.services, execution, from, signal)) {
          if (session() !== checked) {
            checked = session();
            await requireReadable(ctx, execution);
          }
          yield toPiece(stored);
        }
      }),
    resolve: (message) => unwrap(message),
  }),
);

builder.queryField(query, (t) =>
  t.field({
    type: [ExecutionLogMessage],
    nullable: true,
    description: `What the subscription \`${subscription}\` would send after a cursor: the same messages, by polling.`,
    args: {
      id: t.arg.id({ required: true, description: which }),
      after: t.arg({ type: "Cursor", description: after }),
      first: t.arg.int({ description: firstDescription }),
    },
    complexity: pollingCost,
    resolve: async (_root, { id, after, first }, ctx) => {
      checkPage({ first }, []);
      const from = readCursor(after);
      const execution = readId("Execution", id, "id");
      await requireReadable(ctx, execution);
      const limit = first ?? defaultPageSize;
      return (await readLog(ctx.services.db, execution, { after: from, limit })).entries.map(toPiece);
    },
  }),
);
