import { sql } from "drizzle-orm";
import { z } from "zod";
import { authorizeFound, targetOf } from "../access/grants.ts";
import { requireHeldSets } from "../access/permission.ts";
import { identityOf, type Session } from "../access/session.ts";
import { LONGEST_TIMEOUT, type RetryInput, retryInput } from "../catalog/retry.ts";
import { rows } from "../db/client.ts";
import type { Tx } from "../db/tx.ts";
import { ConflictError, invalid } from "../errors.ts";
import type { JsonObject } from "../lib/json.ts";
import { attemptContext, formatTraceparent, parseTraceparent } from "../lib/trace.ts";
import { checkInput } from "../schema/input.ts";
import { storableJson } from "../schema/storable.ts";
import { checkParameters, findAction, type RunnableAction, unrunnable } from "./action.ts";
import { type Admission, admit } from "./admit.ts";
import { countEnded } from "./ended.ts";
import { enqueue } from "./enqueue.ts";
import { type ExecutionRequest, insertExecutions, type Parent } from "./insert.ts";
import { concealSecrets, findInheritedSecrets } from "./secret.ts";
import { takePlaces } from "./slots.ts";

/** Children of executions at this depth are refused, to stop loops. */
const maxDepth = 32;

/**
 * Creates one execution for each request, in the caller's transaction: inserts them with their admissions and enqueues those that are
 * scheduled, in two statements, and in two more where policies apply. Returns the ids in the order of the requests.
 */
export async function requestExecutions(tx: Tx, requests: readonly ExecutionRequest[]): Promise<string[]> {
  if (requests.length === 0) return [];
  const admissions = await decide(tx, requests);
  const ids = await insertExecutions(tx, requests, admissions);
  tx.observe(() => tx.metrics.requested.inc(ids.length));
  countEnded(tx, admissions);
  const stored = requests.map(({ action: { queue }, priority }, index) => {
    const { status, place } = admissions[index] ?? { status: null, place: null };
    return { id: ids[index] ?? "", queue, priority, status, place };
  });
  // No statement depends on another: the connection pipelines them.
  await Promise.all([
    enqueue(
      tx,
      stored.flatMap(({ id, queue, priority, status }) =>
        status === "scheduled" && queue !== null ? [{ id, queue, priority }] : [],
      ),
    ),
    takePlaces(
      tx,
      stored.flatMap(({ id, priority, place }) => (place ? [{ ...place, execution: id, priority }] : [])),
    ),
  ]);
  return ids;
}

const later = { status: "requested", waitsFor: "time", reason: null, error: null, place: null } as const;

/** Admits those that are to run now; the others are requested, and admitted when their time has come. */
async function decide(tx: Tx, requests: readonly ExecutionRequest[]): Promise<Admission[]> {
  const isLater = ({ runAt = null }: ExecutionRequest) => runAt !== null && runAt.getTime() > Date.now();
  if (requests.some(isLater)) tx.announce("admission");
  const now = requests.filter((request) => !isLater(request));
  const admitted = await admit(
    tx,
    now.map(({ action, config }) => ({ policy: action.policy, config })),
  );
  const byRequest = new Map(now.map((request, index) => [request, admitted[index]]));
  return requests.map((request) => byRequest.get(request) ?? later);
}

/** A request to execute an action. */
export interface ExecuteActionInput {
  action: string;
  parameters: JsonObject | null;
  timeoutSeconds: number | null;
  priority: number | null;
  /** Instead of the action's own. */
  retry?: RetryInput | null;
  /** Not before this time; one in the past means now. */
  runAt?: Date | null;
}

/** The longest time ahead for which an execution can be requested, in days. */
const furthestDays = 366;

/** Returns the time-out, the retries and the time of a request. Throws InvalidInputError. */
function checkOptions({
  timeoutSeconds,
  retry = null,
  runAt = null,
}: Pick<ExecuteActionInput, "timeoutSeconds" | "retry" | "runAt">) {
  if (timeoutSeconds !== null && !(timeoutSeconds >= 1 && timeoutSeconds <= LONGEST_TIMEOUT)) {
    throw invalid("timeoutSeconds", `must be from 1 to ${LONGEST_TIMEOUT} seconds`);
  }
  if (runAt !== null && runAt.getTime() > Date.now() + furthestDays * 24 * 3600 * 1000) {
    throw invalid("runAt", `must be within ${furthestDays} days`);
  }
  return { timeoutSeconds, runAt, ...checkInput(z.object({ retry: retryInput.nullable() }), { retry }) };
}

/**
 * Creates an execution of an action; in an execution's session, as its child. Throws NotFoundError (the action or one of its permission
 * sets), ForbiddenError, ConflictError (the action is disabled; the parent is no longer running), InvalidInputError (each invalid
 * parameter).
 */
export async function executeAction(tx: Tx, session: Session, input: ExecuteActionInput): Promise<{ id: bigint }> {
  const action = await findRunnable(tx, session, input.action);
  const options = checkOptions(input);
  const given = await concealParameters(tx, session, action, input.parameters ?? {});
  const parent = await parentOf(tx, session);
  const [id] = await requestExecutions(tx, [
    {
      action,
      ...given,
      enforcement: null,
      executor: identityOf(session),
      ruleRef: null,
      triggerRef: null,
      traceTag: parent?.traceTag ?? null,
      generation: parent?.generation ?? 0,
      ...options,
      priority: input.priority ?? 0,
      parent,
    },
  ]);
  return { id: BigInt(id ?? 0) };
}

/** Returns the action, if the session may execute it and a worker can run it. Throws NotFoundError, ForbiddenError, ConflictError. */
export async function findRunnable(tx: Tx, session: Session, ref: string): Promise<RunnableAction> {
  const action = authorizeFound(session, "execute", await findAction(tx.db, ref), {
    resource: "action",
    name: ref,
    target: (found) => targetOf(found.ref),
  });
  await requireHeldSets(tx.db, session, action.permissionSetRefs);
  const reason = unrunnable(action);
  if (reason) throw new ConflictError(reason);
  return action;
}

/** Returns the parameters as they are stored, complete and without their secrets, and these. Throws InvalidInputError. */
export async function concealParameters(tx: Tx, session: Session, action: RunnableAction, parameters: JsonObject) {
  const values = checkParameters(action, parameters, "parameters");
  storableJson(values, "parameters");
  return concealSecrets(tx.keyring, action.paramSchema, values, await findInheritedSecrets(tx, session, values));
}

/** Returns the execution whose session it is, locked; null for other sessions. Throws ConflictError when it no longer runs. */
export async function parentOf(tx: Tx, session: Session): Promise<Parent | null> {
  return session.executionId === null ? null : await lockParent(tx, String(session.executionId));
}

/** Cancelling takes the same lock: a child is either cancelled with its parent or never created. */
async function lockParent(tx: Tx, id: string): Promise<Parent> {
  const [parent] = await rows<Parent & { status: string; attempt: number }>(
    tx.db,
    sql`select id::text as "id", coalesce(root, id)::text as "root", depth as "depth", trace_tag as "traceTag",
        trace_context as "traceContext", attempt as "attempt", generation as "generation", status as "status"
      from attune.execution where id = ${id}::bigint for no key update`,
  );
  if (parent?.status !== "running")
    throw new ConflictError("The execution is no longer running: it cannot start actions.");
  if (parent.depth >= maxDepth) throw new ConflictError(`Stopped loop: the execution is ${maxDepth} levels deep.`);
  const context = parseTraceparent(parent.traceContext);
  if (tx.tracing === null || context === null) return parent;
  return { ...parent, traceContext: formatTraceparent(attemptContext(context, parent)) };
}
