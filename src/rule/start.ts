import { sql } from "drizzle-orm";
import { rows } from "../db/client.ts";
import type { Tx } from "../db/tx.ts";
import { requestExecutions } from "../execution/execute.ts";
import type { ExecutionRequest } from "../execution/insert.ts";
import type { Match } from "./match.ts";

/** Inserts at most one enforcement for each (rule, event), and requests one execution for each new enforcement. */
export async function insertEnforcements(
  tx: Tx,
  matches: readonly Match[],
  contexts: ReadonlyMap<string, string>,
): Promise<void> {
  if (matches.length === 0) return;
  const input = matches.map(({ rule, event, status, config, error }, ord) => ({
    ord,
    rule: rule.id,
    rule_ref: rule.ref,
    rule_revision: rule.revision,
    trigger_ref: event.triggerRef,
    event: event.id,
    status,
    config,
    condition: rule.condition,
    conditions: rule.conditions,
    error,
  }));
  const inserted = await rows<{ id: string; rule: string; event: string }>(
    tx.db,
    sql`insert into attune.enforcement (rule, rule_ref, rule_revision, trigger_ref, event, status, config, payload, condition, conditions, error, resolved_at)
      select rule, rule_ref, rule_revision, trigger_ref, event, status::attune.enforcement_status, config,
        coalesce((select nullif(e.payload, 'null') from attune.event e where e.id = r.event), '{}'), -- large ones need not be sent
        condition::attune.enforcement_condition, conditions, error, now()
      from jsonb_to_recordset(${JSON.stringify(input)}::text::jsonb) as r(ord int, rule bigint, rule_ref text, rule_revision int, trigger_ref text,
        event bigint, status text, config jsonb, condition text, conditions jsonb, error jsonb)
      order by ord
      on conflict (rule, event) where rule is not null do nothing
      returning id::text, rule::text, event::text`,
  );
  tx.observe(() => tx.metrics.enforcements.inc(inserted.length));
  const ids = new Map(inserted.map(({ id, rule, event }) => [`${rule}/${event}`, id]));
  const requests: ExecutionRequest[] = [];
  for (const { rule, event, config, secrets } of matches) {
    const enforcement = ids.get(`${rule.id}/${event.id}`);
    if (enforcement === undefined || config === null || rule.action === null) continue;
    requests.push({
      action: rule.action,
      config,
      secrets,
      enforcement,
      executor: null,
      ruleRef: rule.ref,
      triggerRef: event.triggerRef,
      traceTag: event.traceTag,
      traceContext: contexts.get(event.id) ?? event.traceContext,
      generation: event.generation,
      timeoutSeconds: null,
      priority: rule.executionPriority,
    });
  }
  await requestExecutions(tx, requests);
}
