import { invalid } from "../errors.ts";

/** A position in a notification log, after the entry with that id. `log` names the log, because ids repeat in a restored one. */
export interface Cursor {
  log: string;
  id: bigint;
}

const highest = 2n ** 63n - 1n;

/** Returns the cursor as `log.id`. */
export function formatCursor({ log, id }: Cursor): string {
  return `${log}.${id}`;
}

/**
 * Parses a subscriber's cursor. Throws InvalidInputError for `after`. The cursors of old releases have three numbers: the first two are
 * returned as the name of a log that no longer exists.
 */
export function parseCursor(text: string): Cursor {
  const [, log, digits] = /^([0-9a-f]{12}|\d{1,19}\.\d{1,20})\.(\d{1,19})$/.exec(text) ?? [];
  const id = BigInt(digits ?? -1);
  if (log === undefined || id < 0n || id > highest) {
    throw invalid("after", `"${text}" is not a cursor; give the \`cursor\` of a message, or omit it`);
  }
  return { log, id };
}
