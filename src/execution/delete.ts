import { sql } from "drizzle-orm";
import { authorizeFound, targetOf } from "../access/grants.ts";
import type { Session } from "../access/session.ts";
import { rows } from "../db/client.ts";
import type { Tx } from "../db/tx.ts";
import { ConflictError, NotFoundError } from "../errors.ts";
import { type ExecutionStatus, isTerminal } from "./states.ts";

/**
 * Deletes an execution with its timeline and its log; its parts stay. Throws NotFoundError (also where the session may not know of
 * it), ForbiddenError, and ConflictError while it has not ended.
 */
export async function deleteExecution(tx: Tx, session: Session, { id }: { id: bigint }): Promise<{ id: bigint }> {
  const [found] = await rows<{ ref: string; executor: string | null; status: ExecutionStatus }>(
    tx.db,
    sql`select action_ref as ref, executor::text, status from attune.execution where id = ${String(id)}::bigint for update`,
  );
  const target = targetOf(found?.ref ?? "", found?.executor ? BigInt(found.executor) : null);
  if (!found) throw new NotFoundError("execution", String(id));
  authorizeFound(session, "delete", { resource: "execution", id: String(id), target });
  if (!isTerminal(found.status))
    throw new ConflictError(`The execution has not ended (${found.status}): cancel it first.`);
  await tx.db.execute(sql`delete from attune.execution where id = ${String(id)}::bigint`);
  return { id };
}
