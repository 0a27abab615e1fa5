import { sql } from "drizzle-orm";
import { LONGEST_TIMEOUT } from "../catalog/retry.ts";
import { idsOf, rows } from "../db/client.ts";
import type { Tx } from "../db/tx.ts";
import { admitStored } from "./admit.ts";
import { copySecrets } from "./secret.ts";

/**
 * Requests the retries of executions that have ended, in the transaction that ends them: each is an execution of its own with the same
 * parameters, which is admitted after the delay. One that has used up its retries, that was to be cancelled, or whose parent no longer runs
 * has none.
 */
export async function requestRetries(tx: Tx, ended: readonly string[]): Promise<void> {
  const requested = await rows<{ id: string; retryOf: string; isDue: boolean }>(
    tx.db,
    sql`insert into attune.execution (action, action_ref, rule_ref, trigger_ref, config, env_vars, parent, root, depth, enforcement,
        executor, status, waits_for, reason, priority, run_at, timeout_seconds, retry_of, retry_count, max_retries, retry,
        on_worker_loss, permission_set_refs, pack_release, trace_tag, trace_context, generation, workflow_task, worker_selector)
      select e.action, e.action_ref, e.rule_ref, e.trigger_ref, e.config, e.env_vars, e.parent, e.root, e.depth, e.enforcement,
        e.executor, 'requested', 'retry', 'retry ' || e.retry_count + 1 || ' of ' || e.max_retries, e.priority,
        clock_timestamp() + make_interval(secs => d.delay * (1 - (e.retry ->> 'jitter')::float8 * random())),
        e.timeout_seconds, e.id, e.retry_count + 1, e.max_retries, e.retry,
        e.on_worker_loss, e.permission_set_refs, e.pack_release, e.trace_tag, e.trace_context, e.generation, e.workflow_task, e.worker_selector
      from attune.execution e cross join lateral (
        select least((e.retry ->> 'delay')::float8 * case e.retry ->> 'backoff' when 'linear' then e.retry_count + 1
            when 'exponential' then 2 ^ e.retry_count else 1 end,
          coalesce((e.retry ->> 'max_delay')::float8, ${LONGEST_TIMEOUT}::float8)) as delay) d
      where e.id = any (${idsOf(ended)}) and e.retry_count < e.max_retries and e.retry -> 'on' ? e.status::text
        and e.cancel_requested_at is null
        and (e.parent is null or exists (select from attune.execution p where p.id = e.parent and p.status = 'running'))
      order by e.id
      returning id::text, retry_of::text as "retryOf", run_at <= clock_timestamp() + interval '1 millisecond' as "isDue"`, // it is rounded
  );
  if (requested.length === 0) return;
  tx.observe(() => tx.metrics.retries.inc(requested.length));
  await copySecrets(
    tx,
    requested.map(({ id, retryOf }) => ({ from: retryOf, to: id })),
  );
  await admitStored(
    tx,
    requested.flatMap(({ id, isDue }) => (isDue ? [id] : [])),
  );
  tx.announce("admission");
}
