import { DrizzleQueryError, sql } from "drizzle-orm";
import { anyOf, rows } from "../db/client.ts";
import { eventQueue, type Job } from "../db/jobs.ts";
import { asRefusal, type Tx } from "../db/tx.ts";
import { requestExecutions } from "../execution/execute.ts";
import type { ExecutionRequest } from "../execution/insert.ts";
import { loadAuthority } from "./authority.ts";
import { type Evaluation, type Match, type MatchedRule, matchEvent, type PendingEvent, resolveMatch } from "./match.ts";
import type { RuleSets } from "./ruleset.ts";

/** After this many failed tries an event is skipped, and its row records the reason. */
const maxTries = 5;

/**
 * Evaluates up to `limit` events together: stores evaluations, one enforcement for each match, their executions and jobs, and deletes
 * the events' own jobs. Returns the jobs that were taken.
 */
export async function enforceBatch(tx: Tx, ruleSets: RuleSets, limit: number): Promise<Job[]> {
  const jobs = await tx.jobs.take(tx.db, eventQueue, limit);
  if (jobs.length > 0) await evaluate(tx, ruleSets, jobs);
  return jobs;
}

/**
 * The same for a batch that cannot be stored: each event is evaluated separately, in a savepoint, so that a failure does not affect
 * the others. A failed event is retried later, and skipped after five tries; then its row records the reason.
 */
export async function enforceEach(tx: Tx, ruleSets: RuleSets, limit: number): Promise<Job[]> {
  const jobs = await tx.jobs.take(tx.db, eventQueue, limit);
  for (const job of jobs) {
    try {
      // A transaction of its own: a savepoint, so that a bad event does not stop the others.
      await tx.db.transaction((db) => evaluate({ ...tx, db }, ruleSets, [job]));
    } catch (error) {
      await recordFailure(tx, job, error);
    }
  }
  return jobs;
}

async function recordFailure(tx: Tx, job: Job, error: unknown): Promise<void> {
  const refusal = asRefusal(error);
  // The driver's message: that of DrizzleQueryError would contain the event's data.
  const reason = refusal instanceof DrizzleQueryError ? (refusal.cause ?? refusal) : refusal;
  const message = reason instanceof Error ? reason.message : String(reason);
  await tx.jobs.done(tx.db, eventQueue, [job]);
  const [event] = await rows<{ tries: number; given_up: boolean }>(
    tx.db,
    sql`update attune.event set tries = tries + 1,
        evaluated_at = case when tries + 1 >= ${maxTries}::int then now() end,
        skipped = case when tries + 1 >= ${maxTries}::int then 'gave up after ' || (tries + 1) || ' tries: ' || ${message}::text end
      where id = ${job.entity}::bigint and evaluated_at is null
      returning tries, evaluated_at is not null as given_up`,
  );
  if (event && !event.given_up) {
    const startAfter = new Date(Date.now() + 1000 * 2 ** event.tries);
    await tx.jobs.add(tx.db, eventQueue, [{ id: job.entity, startAfter }]);
  }
}

async function evaluate(tx: Tx, ruleSets: RuleSets, jobs: readonly Job[]): Promise<void> {
  const events = await lockEvents(tx, jobs);
  const revisions = new Map<string, string>();
  for (const { trigger, rulesRevision } of events) {
    if (trigger !== null && rulesRevision !== null) revisions.set(trigger, rulesRevision);
  }
  const sets = await ruleSets.load(tx.db, revisions);
  const matched: MatchedRule[] = [];
  const evaluations: Evaluation[] = [];
  for (const event of events) {
    const found = matchEvent(event, sets.get(event.trigger ?? "") ?? []);
    matched.push(...found.matches);
    evaluations.push(...found.evaluations);
  }
  const rules = [...new Set(matched.map(({ rule }) => rule))];
  const authority = await loadAuthority(tx, ruleSets.owners, rules);
  const matches = matched.map((each) => resolveMatch(each, authority, tx.keyring));
  // No statement depends on another: the connection pipelines them.
  await Promise.all([
    insertEnforcements(tx, matches),
    insertEvaluations(tx, evaluations),
    markEvaluated(tx, events),
    tx.jobs.done(tx.db, eventQueue, jobs),
  ]);
}

async function markEvaluated(tx: Tx, events: readonly PendingEvent[]): Promise<void> {
  if (events.length === 0) return;
  await rows(
    tx.db,
    sql`update attune.event set evaluated_at = clock_timestamp(),
        skipped = case when trigger is null then 'its trigger no longer exists' end
      where id = ${anyOf(events.map(({ id }) => id))}`,
  );
}

/** Locks and returns the unevaluated events of the jobs, with the revision of their triggers' rules in this snapshot. */
async function lockEvents(tx: Tx, jobs: readonly Job[]): Promise<PendingEvent[]> {
  return await rows<PendingEvent>(
    tx.db,
    sql`select e.id::text as "id", e.trigger::text as "trigger", e.trigger_ref as "triggerRef", e.payload as "payload",
        e.rule::text as "rule", e.trace_tag as "traceTag", e.generation as "generation",
        to_jsonb(e.created) #>> '{}' as "created", to_jsonb(now()) #>> '{}' as "now", t.rules_revision::text as "rulesRevision"
      from attune.event e left join attune.trigger t on t.id = e.trigger
      where e.id = ${anyOf(jobs.map(({ entity }) => entity))}
        and e.evaluated_at is null order by e.id for no key update of e`,
  );
}

/** Inserts at most one enforcement for each (rule, event), and requests one execution for each new enforcement. */
async function insertEnforcements(tx: Tx, matches: readonly Match[]): Promise<void> {
  if (matches.length === 0) return;
  const input = matches.map(({ rule, event, status, config, error }, ord) => ({
    ord,
    rule: rule.id,
    rule_ref: rule.ref,
    trigger_ref: event.triggerRef,
    event: event.id,
    status,
    config,
    payload: event.payload ?? {},
    condition: rule.condition,
    conditions: rule.conditions,
    error,
  }));
  const inserted = await rows<{ id: string; rule: string; event: string }>(
    tx.db,
    sql`insert into attune.enforcement (rule, rule_ref, trigger_ref, event, status, config, payload, condition, conditions, error, resolved_at)
      select rule, rule_ref, trigger_ref, event, status::attune.enforcement_status, config, payload,
        condition::attune.enforcement_condition, conditions, error, clock_timestamp()
      from jsonb_to_recordset(${JSON.stringify(input)}::text::jsonb) as r(ord int, rule bigint, rule_ref text, trigger_ref text,
        event bigint, status text, config jsonb, payload jsonb, condition text, conditions jsonb, error jsonb)
      order by ord
      on conflict (rule, event) where rule is not null do nothing
      returning id::text, rule::text, event::text`,
  );
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
      generation: event.generation,
      timeoutSeconds: null,
      priority: 0,
    });
  }
  await requestExecutions(tx, requests);
}

async function insertEvaluations(tx: Tx, evaluations: readonly Evaluation[]): Promise<void> {
  if (evaluations.length === 0) return;
  const input = evaluations.map(({ rule, event, matched, detail }) => ({
    event: event.id,
    rule: rule.id,
    rule_revision: rule.revision,
    matched,
    detail,
  }));
  await rows(
    tx.db,
    sql`insert into attune.rule_evaluation (event, rule, rule_revision, matched, detail)
      select event, rule, rule_revision, matched, detail
      from jsonb_to_recordset(${JSON.stringify(input)}::text::jsonb) as r(event bigint, rule bigint, rule_revision int,
        matched boolean, detail jsonb)`,
  );
}
