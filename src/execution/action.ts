import { type SQL, sql } from "drizzle-orm";
import type { RetryPolicy } from "../catalog/retry.ts";
import { type Db, rows } from "../db/client.ts";
import type { Queue } from "../db/jobs.ts";
import type { JsonObject } from "../lib/json.ts";
import { compileParameters, type ParameterMap } from "../schema/schema.ts";

/** The properties that a new execution copies from its action: later changes to the action do not affect it. */
export interface RunnableAction {
  id: string;
  ref: string;
  enabled: boolean;
  /** Null for a workflow, which no worker runs. */
  runtimeRef: string | null;
  paramSchema: ParameterMap | null;
  timeoutSeconds: number | null;
  retry: RetryPolicy | null;
  onWorkerLoss: "abandon" | "requeue";
  permissionSetRefs: string[];
  workerSelector: JsonObject;
  /** The queue of its executions; null for a workflow. */
  queue: Queue | null;
  packRelease: string | null;
  /** The id of the policy that applies to it. */
  policy: string | null;
}

/** SQL: a RunnableAction as a JSON object, from the action `a`, its runtime `rt` and its pack `p`. */
export const runnableJson: SQL = sql.raw(`jsonb_build_object('id', a.id::text, 'ref', a.ref, 'enabled', a.enabled,
  'runtimeRef', rt.ref, 'paramSchema', a.param_schema, 'timeoutSeconds', a.timeout_seconds, 'retry', a.retry,
  'onWorkerLoss', a.on_worker_loss, 'permissionSetRefs', to_jsonb(a.permission_set_refs),
  'workerSelector', a.worker_selector, 'queue', attune.execution_queue(rt.ref, a.worker_selector), 'packRelease', p.active_release::text,
  'policy', (select ap.policy::text from attune.action_policy ap where ap.action = a.id))`);

/** Returns the action with that ref; null when it does not exist. */
export async function findAction(db: Db, ref: string): Promise<RunnableAction | null> {
  const [found] = await rows<{ action: RunnableAction }>(
    db,
    sql`select ${runnableJson} as action from attune.action a
      left join attune.runtime rt on rt.id = a.runtime left join attune.pack p on p.id = a.pack where a.ref = ${ref}`,
  );
  return found?.action ?? null;
}

/** The runtime whose actions work on packs, and the mutation that requests each of them. */
const packRuntime = "core.action.pack";
const requestedBy: Readonly<Record<string, string>> = {
  "core.test_pack": "The tests of packs are run with testPack.",
  "core.install_pack": "Packs are installed with installPack.",
};

/** Returns why the action cannot be executed; null when it can. */
export function unrunnable(action: RunnableAction): string | null {
  if (action.runtimeRef === packRuntime) return requestedBy[action.ref] ?? "Only mutations request it.";
  if (!action.enabled) return `The action "${action.ref}" is disabled.`;
  if (action.runtimeRef === null) return `The action "${action.ref}" is a workflow; this version runs no workflows.`;
  return null;
}

/** Returns the parameters with the action's defaults filled in. Throws InvalidInputError with `${path}.<name>` for each invalid one. */
export function checkParameters(action: RunnableAction, values: JsonObject, path: string): JsonObject {
  return action.paramSchema ? compileParameters(action.paramSchema)(values, path) : values;
}
