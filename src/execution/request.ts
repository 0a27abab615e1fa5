import { sql } from "drizzle-orm";
import { authorize, targetOf } from "../access/grants.ts";
import { identityOf, type Session } from "../access/session.ts";
import { rows } from "../db/client.ts";
import { type Engine, type Tx, write } from "../db/engine.ts";
import { runtimeQueue } from "../db/jobs.ts";
import { ConflictError, invalid, NotFoundError } from "../errors.ts";
import type { JsonObject } from "../lang/json.ts";
import { compileParameters } from "../lang/schema.ts";
import { storableJson } from "../lang/storable.ts";
import { findAction, type RunnableAction } from "./action.ts";

/** One execution to be made: its parameters are checked and complete. Ids are decimal text, as the database gives them. */
export interface ExecutionRequest {
  action: RunnableAction;
  config: JsonObject;
  enforcement: string | null;
  executor: string | null;
  ruleRef: string | null;
  triggerRef: string | null;
  /** Null: `<action ref>.<execution id>`. */
  traceTag: string | null;
  generation: number;
  timeoutSeconds: number | null;
  priority: number;
}

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
  }));
  const inserted = await rows<{ id: string }>(
    tx.db,
    sql`with r as (
        select nextval('attune.execution_id_seq') as id, i.* from (
          select * from jsonb_to_recordset(${JSON.stringify(input)}::text::jsonb) as r(ord int, action bigint,
            action_ref text, rule_ref text, trigger_ref text, config jsonb, enforcement bigint, executor bigint,
            timeout_seconds int, retry jsonb, on_worker_loss text, permission_set_refs text[], worker_selector jsonb,
            pack_release bigint, trace_tag text, generation int, priority int) order by ord) i)
      insert into attune.execution (id, action, action_ref, rule_ref, trigger_ref, config, enforcement, executor, status,
        scheduled_at, timeout_seconds, retry, on_worker_loss, permission_set_refs, worker_selector, pack_release,
        trace_tag, generation, priority)
      overriding system value
      select id, action, action_ref, rule_ref, trigger_ref, config, enforcement, executor, 'scheduled', now(),
        timeout_seconds, retry, on_worker_loss, permission_set_refs, worker_selector, pack_release,
        coalesce(trace_tag, action_ref || '.' || id), generation, priority
      from r order by ord returning id::text`,
  );
  const ids = inserted.map(({ id }) => id).sort((a, b) => (BigInt(a) < BigInt(b) ? -1 : 1));
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
 * Starts an action by hand. Throws NotFoundError (no such action), ConflictError (disabled), InvalidInputError (parameters
 * that do not fit, each named); then nothing is stored.
 */
export async function executeAction(
  engine: Engine,
  session: Session,
  input: ExecuteActionInput,
): Promise<{ id: bigint }> {
  authorize(session, "action", "execute", targetOf(input.action));
  const action = await findAction(engine.db, input.action);
  if (!action) throw new NotFoundError("action", input.action);
  const reason = unrunnable(action);
  if (reason) throw new ConflictError(reason);
  const { timeoutSeconds } = input;
  if (timeoutSeconds !== null && !(timeoutSeconds >= 1 && timeoutSeconds <= longestTimeout)) {
    throw invalid("timeoutSeconds", `must be from 1 to ${longestTimeout} seconds`);
  }
  const config = checkParameters(action, input.parameters ?? {}, "parameters");
  storableJson(config, "parameters");
  return await write(engine, async (tx) => {
    const [id] = await requestExecutions(tx, [
      {
        action,
        config,
        enforcement: null,
        executor: identityOf(session),
        ruleRef: null,
        triggerRef: null,
        traceTag: null,
        generation: 0,
        timeoutSeconds,
        priority: input.priority ?? 0,
      },
    ]);
    return { id: BigInt(id ?? 0) };
  });
}
