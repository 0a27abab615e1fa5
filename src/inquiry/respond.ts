import { sql } from "drizzle-orm";
import { identityOf, type Session } from "../access/session.ts";
import { rows } from "../db/client.ts";
import type { Tx } from "../db/tx.ts";
import { ConflictError, ForbiddenError } from "../errors.ts";
import { endParked } from "../execution/parked.ts";
import type { Json } from "../lib/json.ts";
import { mayRespond } from "./access.ts";
import { endOf, lockInquiry } from "./lock.ts";
import { checkResponse } from "./question.ts";

/**
 * Stores the response to an inquiry, once; an execution that waits for it completes in the same transaction. Throws NotFoundError,
 * ForbiddenError (neither the assignee nor inquiry:respond; an execution with the same root as the inquiry's), ConflictError (it has a
 * response, has expired, or was cancelled), InvalidInputError (the response violates the schema).
 */
export async function respondToInquiry(
  tx: Tx,
  session: Session,
  input: { id: bigint; response: Json },
): Promise<{ id: bigint }> {
  const inquiry = await lockInquiry(tx, session, { id: input.id, allowed: mayRespond });
  if (inquiry.sameTree) {
    throw new ForbiddenError(
      "An execution may not respond to its own inquiries or to those of executions with the same root.",
    );
  }
  if (!mayRespond(session, inquiry)) {
    throw new ForbiddenError("You may not respond to this inquiry: it is not assigned to you.");
  }
  const end = endOf(inquiry);
  if (end !== null) throw new ConflictError(end);
  const response = checkResponse(inquiry.responseSchema, input.response, "response");
  const [stored] = await rows<{ at: string }>(
    tx.db,
    sql`update attune.inquiry set status = 'responded', response = ${JSON.stringify(response)}::text::jsonb,
          responded_by = ${identityOf(session)}::bigint, responded_at = clock_timestamp()
        where id = ${inquiry.id}::bigint and status = 'pending'
        returning to_char(responded_at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') as at`,
  );
  if (!stored) throw new ConflictError("The inquiry already has a response.");
  if (inquiry.execution === null) return { id: input.id };
  const data = { response, responded_by: session.login, responded_at: stored.at };
  await endParked(tx, "inquiry", [{ id: inquiry.execution, status: "completed", data, error: null, reason: null }]);
  return { id: input.id };
}
