import { sql } from "drizzle-orm";
import { authorize, may } from "../access/grants.ts";
import { findOwner } from "../access/rows.ts";
import type { Session } from "../access/session.ts";
import { type Db, rows } from "../db/client.ts";
import type { Tx } from "../db/tx.ts";
import { ConflictError, invalid } from "../errors.ts";
import { park } from "../execution/parked.ts";
import { faultPoint } from "../lib/fault.ts";
import type { JsonObject } from "../lib/json.ts";
import { checkQuestion, type Naming, type Question, type QuestionInput } from "./question.ts";

const asNamed: Naming = (field) => field;
/** The names as parameters of `core.inquire`. */
const asParameter: Naming = (field) => field.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);

/**
 * Creates an inquiry. In an execution's session it belongs to the execution, ends with it and needs no grant. Throws InvalidInputError,
 * NotFoundError (the assigned identity), ForbiddenError, ConflictError when the execution is no longer running.
 */
export async function createInquiry(tx: Tx, session: Session, input: QuestionInput): Promise<{ id: bigint }> {
  const question = checkQuestion(input, asNamed);
  const { executionId } = session;
  if (executionId !== null) await lockAskingExecution(tx, String(executionId));
  const mayCreate = (ownerId: bigint) => executionId !== null || may(session, "inquiry", "create", { ownerId });
  const { assignedTo } = question;
  const assignee =
    assignedTo === null ? null : await findOwner(tx.db, session, { type: "identity", ref: assignedTo, mayCreate });
  if (executionId === null) authorize(session, "inquiry", "create", { ownerId: assignee });
  const of = {
    execution: executionId === null ? null : String(executionId),
    assignee: assignee === null ? null : String(assignee),
  };
  return { id: BigInt(await insertInquiry(tx, question, of)) };
}

/**
 * Creates the inquiry of a claimed execution of `core.inquire` and parks the execution. Returns false, and creates nothing, when the
 * attempt has ended or is being cancelled. Throws InvalidInputError.
 */
export async function askAndPark(tx: Tx, claim: { id: string; attempt: number; config: JsonObject }): Promise<boolean> {
  const { config } = claim;
  // The action's schema has checked these parameters.
  const input = {
    prompt: config["prompt"],
    responseSchema: config["response_schema"],
    assignedTo: config["assigned_to"],
    assignedRole: config["assigned_role"],
    timeoutSeconds: config["timeout_seconds"],
    defaultResponse: config["default_response"] ?? null,
  } as unknown as QuestionInput;
  const question = checkQuestion(input, asParameter);
  if (!(await park(tx, claim, { waitsFor: "inquiry", reason: "waits for a response" }))) return false;
  const assignee = await findAssignee(tx.db, question);
  await insertInquiry(tx, question, { execution: claim.id, assignee });
  faultPoint("inquiry.before_commit");
  return true;
}

/** The end of an execution takes the same lock, so that no ended execution has a pending inquiry. */
async function lockAskingExecution(tx: Tx, id: string): Promise<void> {
  const [execution] = await rows<{ status: string }>(
    tx.db,
    sql`select status from attune.execution where id = ${id}::bigint for no key update`,
  );
  if (execution?.status === "running") return;
  throw new ConflictError(
    `The execution is no longer running (${execution?.status ?? "deleted"}): it cannot create an inquiry.`,
  );
}

async function findAssignee(db: Db, { assignedTo }: Question): Promise<string | null> {
  if (assignedTo === null) return null;
  const [identity] = await rows<{ id: string }>(
    db,
    sql`select id::text from attune.identity where login = ${assignedTo}`,
  );
  if (!identity) throw invalid(asParameter("assignedTo"), `there is no identity "${assignedTo}"`);
  return identity.id;
}

async function insertInquiry(
  tx: Tx,
  question: Question,
  of: { execution: string | null; assignee: string | null },
): Promise<string> {
  const json = (value: unknown) => (value === null ? null : JSON.stringify(value));
  const [inquiry] = await rows<{ id: string }>(
    tx.db,
    sql`insert into attune.inquiry (execution, prompt, response_schema, assigned_to, assigned_role, timeout_at, default_response)
      values (${of.execution}::bigint, ${question.prompt}, ${json(question.responseSchema)}::text::jsonb, ${of.assignee}::bigint,
        ${question.assignedRole}, now() + make_interval(secs => ${question.timeoutSeconds}::int),
        ${json(question.defaultResponse)}::text::jsonb)
      returning id::text`,
  );
  if (!inquiry) throw new Error("the inquiry could not be stored");
  tx.announce("inquiry");
  return inquiry.id;
}
