import type { Option } from "commander";
import { currentCursor } from "./commands/resource.ts";
import type { Context } from "./context.ts";
import { option } from "./define.ts";
import { Failure } from "./failure.ts";
import type { Message } from "./follow.ts";
import { resourceOf } from "./resources.ts";
import { withoutSteering, write } from "./terminal.ts";

/** What is selected of an execution that a command has made or changed. */
export const executionFields = "id actionRef status reason created finishedAt";

/** The columns of such executions. */
export const executionColumns = [
  ["ID", "id"],
  ["STATUS", "status"],
  ["ACTION", "actionRef"],
  ["REASON", "reason"],
] as const;

/** How a command goes on once its execution is requested. */
export interface GoOn {
  follow?: boolean;
  watch?: boolean;
  wait?: boolean;
}

/** The options that decide how a command goes on. */
export const goOnOptions = (): Option[] => [
  option("--follow", "print its output until it ends").conflicts(["watch", "wait"]),
  option("--watch", "print each change of its status until it ends").conflicts(["follow", "wait"]),
  option("--wait", "wait for its end, and print its result").conflicts(["follow", "watch"]),
];

interface Execution {
  id: string;
  status: string;
  reason: string | null;
  finishedAt: string | null;
}

interface StatusMessage extends Message {
  toStatus: string;
  execution: Execution | null;
}

/** Requests an execution with `request`, and goes on as the options say. Returns the exit code: 0 if what was waited for has succeeded. */
export async function requestAndGoOn(
  context: Context,
  { follow, watch, wait }: GoOn,
  request: () => Promise<Execution>,
): Promise<number> {
  // The position before the request: no change of the new execution is missed.
  const before = watch || wait ? await currentCursor(context) : null;
  const execution = await request();
  try {
    return await goOn(context, execution, before, { follow, watch, wait });
  } catch (error) {
    if (context.terminal.signal.aborted && (follow || watch || wait)) {
      context.note(`${execution.id} goes on: "attune execution cancel ${execution.id}" would end it.`);
    }
    throw error;
  }
}

async function goOn(
  context: Context,
  execution: Execution,
  before: string | null,
  { follow, watch, wait }: GoOn,
): Promise<number> {
  if (follow) return await followLog(context, execution.id);
  if (watch)
    return await watchToEnd(context, execution.id, before, (message) => context.printNext(message, watchColumns));
  if (wait) {
    const code = await watchToEnd(context, execution.id, before, async () => {});
    await context.printObject(await readEnd(context, execution.id));
    return code;
  }
  await context.printOne(execution, executionColumns);
  return 0;
}

/** Waits for the end of an execution, which may be long ago, and prints it. Returns the exit code. */
export async function waitFor(context: Context, id: string): Promise<number> {
  const before = await currentCursor(context);
  let execution = await readEnd(context, id);
  if (execution.finishedAt === null) {
    await watchToEnd(context, id, before, async () => {});
    execution = await readEnd(context, id);
  }
  await context.printObject(execution);
  return codeOf(execution.status);
}

const codeOf = (status: string) => (status === "COMPLETED" ? 0 : 1);

const watchColumns = resourceOf("execution").watch?.columns ?? [];

const statusDocument = `subscription($where: ExecutionStatusWhere, $after: Cursor) { executionStatus(where: $where, after: $after) {
  cursor executionId actionRef fromStatus toStatus reason attempt occurredAt execution { id status reason finishedAt } } }`;

async function watchToEnd(
  context: Context,
  id: string,
  after: string | null,
  onMessage: (message: object) => Promise<void>,
): Promise<number> {
  const variables = { where: { id: { eq: id } } };
  for await (const { execution, ...message } of context.follow<StatusMessage>({
    document: statusDocument,
    variables,
    after,
  })) {
    await onMessage(message);
    // The object is as it is now, the message as it was then: the end is the message of the status that is left.
    if (execution === null || (execution.finishedAt !== null && execution.status === message.toStatus)) {
      return codeOf(message.toStatus);
    }
  }
  return 1;
}

export async function readEnd(context: Context, id: string): Promise<Execution & Record<string, unknown>> {
  const { execution } = await context.ask<{ execution: (Execution & Record<string, unknown>) | null }>(
    "query($id: ID!) { execution(id: $id) { id actionRef status reason startedAt finishedAt result error } }",
    { id },
  );
  if (execution) return execution;
  throw new Failure(`There is no execution "${id}", or you may not read it.`, { code: "NOT_FOUND" });
}

/** A piece of an execution's output. */
export interface Piece extends Message {
  seq: string;
  stream: string;
  text: string;
  occurredAt: string;
}

export const pieceFields = "cursor seq stream text occurredAt";

/** Prints the output of an execution until it has ended. Returns the exit code. */
export async function followLog(context: Context, id: string): Promise<number> {
  const document = `subscription($id: ID!, $after: Cursor) { executionLog(id: $id, after: $after) { ${pieceFields} } }`;
  for await (const piece of context.follow<Piece>({ document, variables: { id }, after: null })) {
    await printPiece(context, piece);
  }
  const { status, reason } = await readEnd(context, id);
  context.note(`${id} has ended: ${status}${reason === null ? "" : ` (${reason})`}`);
  return codeOf(status);
}

/** Prints the output that an execution, or another thing with a log, has so far. Returns the cursor of its end; null: it is empty. */
export async function printLog(context: Context, id: string, log = "executionLog"): Promise<string | null> {
  const document = `query($id: ID!, $after: Cursor) { messages: ${log}Messages(id: $id, after: $after, first: 100) { ${pieceFields} } }`;
  let after: string | null = null;
  for (;;) {
    const page: { messages: Piece[] | null } = await context.ask(document, { id, after });
    const pieces = page.messages ?? [];
    for (const piece of pieces) await printPiece(context, piece);
    const last = pieces.at(-1);
    if (!last) return after;
    after = last.cursor;
  }
}

/** Prints a piece of output. It goes to where the action wrote it; for programs, each piece is an object on stdout. */
export async function printPiece(context: Context, piece: Piece): Promise<void> {
  if (context.options.output !== "table") return await context.printNext(piece, []);
  const { stdout, stderr, signal } = context.terminal;
  const stream = piece.stream === "STDOUT" ? stdout : stderr;
  await write(stream, stream.isTTY ? withoutSteering(piece.text) : piece.text, signal);
}
