import { Refusal } from "../errors.ts";

/** The SQLSTATE classes of errors that the data itself causes: storing it again would fail again. */
const causedByData = /^(22|23|54|P0)/;

/** Returns whether the data causes the error, so that another try is useless. */
export function isFinal(error: unknown): boolean {
  if (error instanceof Refusal) return true;
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  return cause instanceof Error && "code" in cause && causedByData.test(String(cause.code));
}
