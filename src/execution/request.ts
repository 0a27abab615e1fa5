import { sql } from "drizzle-orm";
import { authorizeFound, targetOf } from "../access/grants.ts";
import { requireHeldSets } from "../access/permission.ts";
import { identityOf, type Session } from "../access/session.ts";
import { rows } from "../db/client.ts";
import { runtimeQueue } from "../db/jobs.ts";
import type { Tx } from "../db/tx.ts";
import { ConflictError, invalid } from "../errors.ts";
import type { JsonObject } from "../lib/json.ts";
import { compileParameters } from "../schema/schema.ts";
import { storableJson } from "../schema/storable.ts";
import { findAction, type RunnableAction } from "./action.ts";
import { concealSecrets, findHandedOn, insertSecrets, type StoredSecret } from "./secret.ts";

/** One execution to be made: its parameters are checked and complete. Ids are decimal text, as the database gives them. */
export interface ExecutionRequest {
  action: RunnableAction;
  config: JsonObject;
  /** What `concealSecrets` took out of the parameters; nothing when left out. */
  secrets?: readonly StoredSecret[];
  enforcement: string | null;
  executor: string | null;
  ruleRef: string | null;
  triggerRef: string | null;
  /** Null: `<action ref>.<execution id>`. */
  traceTag: string | null;
  generation: number;
  timeoutSeconds: number | null;
  priority: number;
  /** The execution that it is a direct part of, if any. */
  parent?: Parent | null;
}

/** What a part takes from the execution that asked for it. */
interface Parent {
  id: string;
  root: string;
  depth: number;
  traceTag: string;
  generation: number;
}

/** Executions this many levels below another are refused: a stopped loop. */
const maxDepth = 32;

/** Fails in words when the action cannot be run by any worker; null when it can. */
export function unrunnable(action: RunnableAction): string | null {
  if (!action.enabled) return `The action "${action.ref}" is disabled.`;
  if (action.runtimeRef === null) return `The action "${action.ref}" is a workflow; this version runs no workflows.`;
  return null;
}

/** The parameters with the action's defaults filled in; InvalidInputError at `${path}.<name>` for what does not fit. */
export function checkParameters(action: RunnableAction, values: JsonObject, path: string): JsonObject {
  return action.paramSchema ? compileParameters(action.paramSchema)(values, path) : values;
}

/**
 * Inserts executions as `scheduled` (nothing holds them back) with the path that led there, and their jobs, in the caller's
 * transaction, in two statements whatever their number. Answers their ids in the order of the requests.
 */
export async function requestExecutions(tx: Tx, requests: readonly ExecutionRequest[]): Promise<string[]> {
  if (requests.length === 0) return [];
  const input = requests.map((request, ord) => ({
    ord,
    action: request.action.id,
    action_ref: request.action.ref,
    rule_ref: request.ruleRef,
    trigger_ref: request.triggerRef,
    config: request.config,
    enforcement: request.enforcement,
    executor: request.executor,
    timeout_seconds: request.timeoutSeconds ?? request.action.timeoutSeconds,
    retry: request.action.retry,
    on_worker_loss: request.action.onWorkerLoss,
    permission_set_refs: request.action.permissionSetRefs,
    worker_selector: request.action.workerSelector,
    pack_release: request.action.packRelease,
    trace_tag: request.traceTag,
    generation: request.generation,
    priority: request.priority,
    parent: request.parent?.id ?? null,
    root: request.parent?.root ?? null,
    depth: request.parent ? request.parent.depth + 1 : 0,
  }));
  const inserted = await rows<{ id: string }>(
    tx.db,
    sql`with r as (
        select nextval('attune.execution_id_seq') as id, i.* from (
          select * from jsonb_to_recordset(${JSON.stringify(input)}::text::jsonb) as r(ord int, action bigint,
            action_ref text, rule_ref text, trigger_ref text, config jsonb, enforcement bigint, executor bigint,
            timeout_seconds int, retry jsonb, on_worker_loss text, permission_set_refs text[], worker_selector jsonb,
            pack_release bigint, trace_tag text, generation int, priority int, parent bigint, root bigint, depth int)
          order by ord) i)
      insert into attune.execution (id, action, action_ref, rule_ref, trigger_ref, config, enforcement, executor, status,
        scheduled_at, timeout_seconds, retry, on_worker_loss, permission_set_refs, worker_selector, pack_release,
        trace_tag, generation, priority, parent, root, depth)
      overriding system value
      select id, action, action_ref, rule_ref, trigger_ref, config, enforcement, executor, 'scheduled', now(),
        timeout_seconds, retry, on_worker_loss, permission_set_refs, worker_selector, pack_release,
        coalesce(trace_tag, action_ref || '.' || id), generation, priority, parent, root, depth
      from r order by ord returning id::text`,
  );
  const ids = inserted.map(({ id }) => id).sort((a, b) => (BigInt(a) < BigInt(b) ? -1 : 1));
  await insertSecrets(
    tx,
    requests.flatMap(({ secrets = [] }, index) =>
      secrets.map((secret) => ({ ...secret, execution: ids[index] ?? "" })),
    ),
  );
  await enqueue(
    tx,
    requests.map(({ action, priority }, index) => ({
      id: ids[index] ?? "",
      runtimeRef: action.runtimeRef ?? "",
      priority,
    })),
  );
  return ids;
}

/** Puts scheduled executions into the queues of their runtimes. */
export async function enqueue(
  tx: Tx,
  scheduled: readonly { id: string; runtimeRef: string; priority: number }[],
): Promise<void> {
  for (const [runtimeRef, group] of Map.groupBy(scheduled, (execution) => execution.runtimeRef)) {
    await tx.jobs.add(
      tx.db,
      runtimeQueue(runtimeRef),
      group.map(({ id, priority }) => ({ id, priority })),
    );
    tx.announce(`execution:${runtimeRef}`);
  }
}

export interface ExecuteActionInput {
  action: string;
  parameters: JsonObject | null;
  timeoutSeconds: number | null;
  priority: number | null;
}

const longestTimeout = 30 * 24 * 3600;

/**
 * Starts an action by hand, or as a part of the execution whose session asks. Throws NotFoundError (the action, or a permission set
 * that it comes with), ForbiddenError, ConflictError (disabled; the execution that asks does not run any more), InvalidInputError
 * (parameters that do not fit, each named); then nothing is stored.
 */
export async function executeAction(tx: Tx, session: Session, input: ExecuteActionInput): Promise<{ id: bigint }> {
  const action = authorizeFound(session, "execute", await findAction(tx.db, input.action), {
    resource: "action",
    name: input.action,
    target: ({ ref }) => targetOf(ref),
  });
  await requireHeldSets(tx.db, session, action.permissionSetRefs);
  const reason = unrunnable(action);
  if (reason) throw new ConflictError(reason);
  const { timeoutSeconds } = input;
  if (timeoutSeconds !== null && !(timeoutSeconds >= 1 && timeoutSeconds <= longestTimeout)) {
    throw invalid("timeoutSeconds", `must be from 1 to ${longestTimeout} seconds`);
  }
  const values = checkParameters(action, input.parameters ?? {}, "parameters");
  storableJson(values, "parameters");
  const { config, secrets } = concealSecrets(
    tx.keyring,
    action.paramSchema,
    values,
    await findHandedOn(tx, session, values),
  );
  const parent = session.executionId === null ? null : await lockParent(tx, String(session.executionId));
  const [id] = await requestExecutions(tx, [
    {
      action,
      config,
      secrets,
      enforcement: null,
      executor: identityOf(session),
      ruleRef: null,
      triggerRef: null,
      traceTag: parent?.traceTag ?? null,
      generation: parent?.generation ?? 0,
      timeoutSeconds,
      priority: input.priority ?? 0,
      parent,
    },
  ]);
  return { id: BigInt(id ?? 0) };
}

/** Cancelling takes the same lock: a part is either cancelled with its parent or never made. */
async function lockParent(tx: Tx, id: string): Promise<Parent> {
  const [parent] = await rows<Parent & { status: string }>(
    tx.db,
    sql`select id::text as "id", coalesce(root, id)::text as "root", depth as "depth", trace_tag as "traceTag",
        generation as "generation", status as "status"
      from attune.execution where id = ${id}::bigint for no key update`,
  );
  if (parent?.status !== "running") throw new ConflictError("The execution does not run any more: it starts nothing.");
  if (parent.depth >= maxDepth) throw new ConflictError(`Stopped loop: the execution is ${maxDepth} levels deep.`);
  return parent;
}
