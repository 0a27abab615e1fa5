import { invalid } from "../errors.ts";

/** A place in the notification log: everything up to and including (xid, id) lies behind it. */
export interface Position {
  xid: bigint;
  id: bigint;
}

/** Negative, zero or positive as `a` lies before, at or behind `b`. */
export function comparePositions(a: Position, b: Position): number {
  if (a.xid !== b.xid) return a.xid < b.xid ? -1 : 1;
  if (a.id !== b.id) return a.id < b.id ? -1 : 1;
  return 0;
}

/** `epoch.xid.id`, as subscribers get it. */
export function formatCursor(epoch: bigint, { xid, id }: Position): string {
  return `${epoch}.${xid}.${id}`;
}

/** Reads a subscriber's cursor; InvalidInputError at `after` when it is not one. */
export function parseCursor(text: string): Position & { epoch: bigint } {
  const match = /^(\d{1,19})\.(\d{1,20})\.(\d{1,19})$/.exec(text);
  const [, epoch, xid, id] = match ?? [];
  if (epoch === undefined || xid === undefined || id === undefined) {
    throw invalid("after", `"${text}" is not a cursor; give the \`cursor\` of a message, or leave it out`);
  }
  return { epoch: BigInt(epoch), xid: BigInt(xid), id: BigInt(id) };
}
