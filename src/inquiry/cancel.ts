import { sql } from "drizzle-orm";
import type { Session } from "../access/session.ts";
import type { Tx } from "../db/tx.ts";
import { ConflictError, ForbiddenError } from "../errors.ts";
import { endParked } from "../execution/parked.ts";
import { mayCancel } from "./access.ts";
import { endOf, lockInquiry } from "./lock.ts";

/**
 * Cancels an inquiry and, in the same transaction, an execution that waits for it. Throws NotFoundError, ForbiddenError (neither its
 * execution nor inquiry:cancel), ConflictError when it has ended.
 */
export async function cancelInquiry(tx: Tx, session: Session, input: { id: bigint }): Promise<{ id: bigint }> {
  const inquiry = await lockInquiry(tx, session, { id: input.id, allowed: mayCancel });
  if (!mayCancel(session, inquiry)) {
    throw new ForbiddenError("You may not cancel this inquiry: it needs a grant of inquiry:cancel.");
  }
  const end = endOf(inquiry);
  if (end !== null) throw new ConflictError(end);
  await tx.db.execute(
    sql`update attune.inquiry set status = 'cancelled' where id = ${inquiry.id}::bigint and status = 'pending'`,
  );
  if (inquiry.execution === null) return { id: input.id };
  const reason = `the inquiry was cancelled by ${session.login}`;
  await endParked(tx, "inquiry", [{ id: inquiry.execution, status: "cancelled", data: null, error: null, reason }]);
  return { id: input.id };
}
