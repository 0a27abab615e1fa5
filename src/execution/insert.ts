import { sql } from "drizzle-orm";
import type { RetryPolicy } from "../catalog/retry.ts";
import { rows } from "../db/client.ts";
import type { Tx } from "../db/tx.ts";
import type { JsonObject } from "../lib/json.ts";
import { currentTrace, formatTraceparent } from "../lib/trace.ts";
import type { RunnableAction } from "./action.ts";
import type { Admission } from "./admit.ts";
import { insertSecrets, type StoredSecret } from "./secret.ts";

/** A request for an execution, with checked and complete parameters. Ids are decimal text, as the database returns them. */
export interface ExecutionRequest {
  action: RunnableAction;
  config: JsonObject;
  /** The secrets that `concealSecrets` removed from the parameters; none by default. */
  secrets?: readonly StoredSecret[];
  enforcement: string | null;
  executor: string | null;
  ruleRef: string | null;
  triggerRef: string | null;
  /** Null for `<action ref>.<execution id>`. */
  traceTag: string | null;
  generation: number;
  timeoutSeconds: number | null;
  priority: number;
  /** Instead of the action's. */
  retry?: RetryPolicy | null;
  /** Not to be admitted before this time; null: at once. */
  runAt?: Date | null;
  /** The execution of which it is a rerun, if any. */
  rerunOf?: string | null;
  /** Its place in a distributed trace, as a header; by default that of the current request. */
  traceContext?: string | null;
  /** The parent execution, if any. */
  parent?: Parent | null;
}

/** The properties that a child inherits from its parent. */
export interface Parent {
  id: string;
  root: string;
  depth: number;
  traceTag: string;
  /** That of its running attempt, as a header; null: it is in no trace. */
  traceContext: string | null;
  generation: number;
}

/**
 * Inserts one execution for each request, with the status of its admission, in a single statement. The database records the
 * transitions to that status, beginning with `requested`. Returns the ids in the order of the requests.
 */
export async function insertExecutions(
  tx: Tx,
  requests: readonly ExecutionRequest[],
  admissions: readonly Pick<Admission, "status" | "waitsFor" | "reason" | "error">[],
): Promise<string[]> {
  const current = currentTrace();
  const requested = current && formatTraceparent(current);
  const input = requests.map((request, ord) => ({
    ord,
    action: request.action.id,
    action_ref: request.action.ref,
    rule_ref: request.ruleRef,
    trigger_ref: request.triggerRef,
    config: request.config,
    enforcement: request.enforcement,
    executor: request.executor,
    status: admissions[ord]?.status,
    waits_for: admissions[ord]?.waitsFor,
    reason: admissions[ord]?.reason,
    error: admissions[ord]?.error,
    timeout_seconds: request.timeoutSeconds ?? request.action.timeoutSeconds,
    retry: request.retry ?? request.action.retry,
    run_at: request.runAt ?? null,
    rerun_of: request.rerunOf ?? null,
    on_worker_loss: request.action.onWorkerLoss,
    permission_set_refs: request.action.permissionSetRefs,
    worker_selector: request.action.workerSelector,
    pack_release: request.action.packRelease,
    trace_tag: request.traceTag,
    trace_context: request.parent?.traceContext ?? request.traceContext ?? requested,
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
            status attune.execution_status, waits_for text, reason text, error jsonb,
            timeout_seconds int, retry jsonb, run_at timestamptz, rerun_of bigint, on_worker_loss text,
            permission_set_refs text[], worker_selector jsonb, pack_release bigint, trace_tag text, trace_context text, generation int,
            priority int, parent bigint, root bigint, depth int)
          order by ord) i)
      insert into attune.execution (id, action, action_ref, rule_ref, trigger_ref, config, enforcement, executor, status, waits_for,
        reason, error, scheduled_at, finished_at, timeout_seconds, retry, max_retries, run_at, rerun_of, on_worker_loss,
        permission_set_refs, worker_selector, pack_release,
        trace_tag, trace_context, generation, priority, parent, root, depth)
      overriding system value
      select id, action, action_ref, rule_ref, trigger_ref, config, enforcement, executor, status, waits_for, reason, error,
        case when status = 'scheduled' then now() end, case when attune.is_terminal(status) then clock_timestamp() end,
        timeout_seconds, retry, (retry ->> 'max')::int, run_at, rerun_of, on_worker_loss, permission_set_refs,
        worker_selector, pack_release, coalesce(trace_tag, action_ref || '.' || id), trace_context, generation, priority, parent, root, depth
      from r order by ord returning id::text`,
  );
  const ids = inserted.map(({ id }) => id).sort((a, b) => (BigInt(a) < BigInt(b) ? -1 : 1));
  await insertSecrets(
    tx,
    requests.flatMap(({ secrets = [] }, index) =>
      secrets.map((secret) => ({ ...secret, execution: ids[index] ?? "" })),
    ),
  );
  return ids;
}
