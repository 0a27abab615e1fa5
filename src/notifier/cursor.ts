import { invalid } from "../errors.ts";

/** A place in a notification log: right behind the entry with that id. `log` names the log, for ids repeat in a restored one. */
export interface Cursor {
  log: string;
  id: bigint;
}

const highest = 2n ** 63n - 1n;

/** `log.id`, as subscribers get it. */
export function formatCursor({ log, id }: Cursor): string {
  return `${log}.${id}`;
}

/**
 * Reads a subscriber's cursor; throws InvalidInputError at `after` when it is none. Cursors once had three numbers: the first
 * two are read as the name of a log, which no log has any more.
 */
export function parseCursor(text: string): Cursor {
  const [, log, digits] = /^([0-9a-f]{12}|\d{1,19}\.\d{1,20})\.(\d{1,19})$/.exec(text) ?? [];
  const id = BigInt(digits ?? -1);
  if (log === undefined || id < 0n || id > highest) {
    throw invalid("after", `"${text}" is not a cursor; give the \`cursor\` of a message, or leave it out`);
  }
  return { log, id };
}
