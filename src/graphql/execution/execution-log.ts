import { invalid, NotFoundError } from "../../errors.ts";
import { followLog, type StoredLog } from "../../execution/log.ts";
import { builder } from "../kit/builder.ts";
import type { Context } from "../kit/context.ts";
import { LogStream } from "../kit/enums.ts";
import { readId } from "../kit/ids.ts";
import { parseBigInt } from "../kit/scalars.ts";
import { messages, unwrap } from "../kit/stream.ts";

const ExecutionLogMessage = builder.objectRef<StoredLog>("ExecutionLogMessage").implement({
  description: "A piece of what an execution writes.",
  fields: (t) => ({
    cursor: t.field({
      type: "Cursor",
      description: "Give it as `after` to go on right behind this piece.",
      resolve: ({ seq }) => String(seq),
    }),
    occurredAt: t.expose("at", { type: "DateTime", description: "When it was written." }),
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

builder.subscriptionField("executionLog", (t) =>
  t.field({
    type: ExecutionLogMessage,
    nullable: true,
    description:
      "What an execution wrote and writes, in order; completes when it has ended. `execution { logs(where: {seq: {gt: …}}) }` polls the same.",
    args: {
      id: t.arg.id({ required: true, description: "The execution's id." }),
      after: t.arg({ type: "Cursor", description: "Begin right behind this cursor; left out: with the first piece." }),
    },
    subscribe: (_root, { id, after }, ctx) =>
      messages(ctx, async function* (signal, session) {
        const from = readCursor(ctx.lastEventId ?? after);
        const execution = readId("Execution", id, "id");
        let checked = session();
        await requireReadable(ctx, execution);
        for await (const piece of followLog(ctx.services, execution, from, signal)) {
          if (session() !== checked) {
            checked = session();
            await requireReadable(ctx, execution);
          }
          yield piece;
        }
      }),
    resolve: (message) => unwrap(message),
  }),
);
