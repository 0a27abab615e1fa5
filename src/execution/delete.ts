import { deleteRow, lockRow } from "../access/rows.ts";
import type { Session } from "../access/session.ts";
import type { Tx } from "../db/tx.ts";
import { ConflictError } from "../errors.ts";
import { isTerminal } from "./states.ts";

/**
 * Deletes an execution with its timeline and its log; its children are kept. Throws NotFoundError, ForbiddenError, and ConflictError
 * while it has not ended.
 */
export async function deleteExecution(tx: Tx, session: Session, { id }: { id: bigint }): Promise<{ id: bigint }> {
  const { status } = await lockRow(tx, session, { of: "execution", doing: "delete", which: { id } });
  if (!isTerminal(status)) throw new ConflictError(`The execution has not ended (${status}): cancel it first.`);
  await deleteRow(tx, "execution", id);
  return { id };
}
