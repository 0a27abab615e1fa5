import { DrizzleQueryError, sql } from "drizzle-orm";
import { anyOf, rows } from "../db/client.ts";
import { eventQueue, type Job } from "../db/jobs.ts";
import { asRefusal, inSavepoint, type Tx } from "../db/tx.ts";
import { formatTraceparent, newContext, parseTraceparent } from "../lib/trace.ts";
import { findAnswers } from "./answers.ts";
import { loadAuthority } from "./authority.ts";
import {
  type Evaluation,
  type Match,
  type MatchedRule,
  matchEvent,
  type PendingEvent,
  resolveMatch,
  rulesFor,
} from "./match.ts";
import type { RuleSets } from "./ruleset.ts";
import { insertEnforcements } from "./start.ts";
import { createLimit, inTurn } from "./turn.ts";

/** After this many failed tries an event is skipped, and its row records the reason. */
const maxTries = 5;

/**
 * Evaluates up to `limit` events together: stores evaluations, one enforcement for each match, their executions and jobs, and deletes
 * the events' own jobs. Returns how many it took; `limit` also if it put some back, which are to be taken next.
 */
export async function enforceBatch(tx: Tx, ruleSets: RuleSets, limit: number): Promise<number> {
  const jobs = await tx.jobs.take(tx.db, eventQueue, limit);
  const left = jobs.length > 0 ? await evaluate(tx, ruleSets, jobs) : 0;
  return left > 0 ? limit : jobs.length;
}

/**
 * The same for a batch that cannot be stored: each event is evaluated separately, in a savepoint, so that a failure does not affect
 * the others. A failed event is retried later, and skipped after five tries; then its row records the reason.
 */
export async function enforceEach(tx: Tx, ruleSets: RuleSets, limit: number): Promise<Job[]> {
  const jobs = await tx.jobs.take(tx.db, eventQueue, limit);
  for (const job of jobs) await enforceOne(tx, ruleSets, job);
  return jobs;
}

/** Evaluates an event by one of its rules and stores what follows from it; the event stays to be evaluated. */
export async function enforceRule(tx: Tx, ruleSets: RuleSets, job: Job, rule: string): Promise<void> {
  await evaluate(tx, ruleSets, [job], new Set([rule]));
}

/** Stores that an event was evaluated by all its rules, and deletes its job. */
export async function concludeEvent(tx: Tx, job: Job): Promise<void> {
  await markEvaluated(tx, await lockEvents(tx, [job]));
  await tx.jobs.done(tx.db, eventQueue, [job]);
}

/** Evaluates one event; a failure counts as a try and is recorded, as in `enforceEach`. */
export async function enforceOne(tx: Tx, ruleSets: RuleSets, job: Job): Promise<void> {
  try {
    // A bad event does not stop the others.
    await inSavepoint(tx, (own) => evaluate(own, ruleSets, [job]));
  } catch (error) {
    await recordFailure(tx, job, error);
  }
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
  if (event?.given_up) {
    tx.observe(() =>
      tx.log.error({ event: job.entity, tries: event.tries }, "an event was given up: its row has the reason"),
    );
  }
  if (event && !event.given_up) {
    const startAfter = new Date(Date.now() + 1000 * 2 ** event.tries);
    await tx.jobs.add(tx.db, eventQueue, [{ id: job.entity, startAfter }]);
  }
}

/**
 * Processor time after which a batch takes no further event. Those that are left are put back: no transaction, which on the embedded
 * database keeps all others waiting, takes much longer than the budget of one rule.
 */
const batchCpuMs = 100;

/**
 * Stored bytes of payloads after which a batch takes no further event either: they are put back without having been read, so that neither
 * the memory nor the length of the transaction, which holds back the feed, grows with what the events hold.
 */
const batchBytes = 4 * 1024 * 1024;

/** The rules that an evaluation is limited to; it then leaves the event as not evaluated. */
type Part = ReadonlySet<string>;

/** Returns how many events it put back. */
async function evaluate(tx: Tx, ruleSets: RuleSets, jobs: readonly Job[], part: Part | null = null): Promise<number> {
  const from = performance.now();
  const locked = await lockEvents(tx, jobs);
  const revisions = new Map<string, string>();
  for (const { trigger, rulesRevision } of locked) {
    if (trigger !== null && rulesRevision !== null) revisions.set(trigger, rulesRevision);
  }
  const [sets, answers] = await Promise.all([ruleSets.load(tx.db, revisions), ruleSets.answers.load(tx.db, revisions)]);
  const isOver = createLimit(batchCpuMs);
  const matched: { event: PendingEvent; matches: MatchedRule[]; evaluations: Evaluation[]; omitted: number }[] = [];
  for (const event of locked) {
    if (isOver() || event.isBeyond) break;
    const found = await matchEvent(event, rulesFor(event, sets.get(event.trigger ?? ""), part));
    const answered = await findAnswers(event, answers.get(event.trigger ?? ""), part);
    found.evaluations.push(...answered.map((answer) => ({ ...answer, matched: false })));
    matched.push({ event, ...found });
  }
  const rules = new Set(matched.flatMap(({ matches }) => matches.map(({ rule }) => rule)));
  const authority = await loadAuthority(tx, ruleSets.owners, [...rules]);
  const isOverToo = createLimit(batchCpuMs);
  const events: PendingEvent[] = [];
  const matches: Match[] = [];
  const evaluations: Evaluation[] = [];
  const omitted: Record<string, number> = {};
  for (const found of matched) {
    if (isOverToo()) break;
    events.push(found.event);
    for (const each of found.matches) matches.push(await inTurn(() => resolveMatch(each, authority, tx.keyring)));
    evaluations.push(...found.evaluations);
    if (found.omitted > 0) omitted[found.event.id] = found.omitted;
  }
  const contexts = traceEvaluations(tx, { events, matches, from });
  // No statement depends on another: the connection pipelines them.
  await Promise.all([
    insertEnforcements(tx, matches, contexts),
    insertEvaluations(tx, evaluations),
    ...(part === null ? [markEvaluated(tx, events, omitted), tx.jobs.done(tx.db, eventQueue, jobs)] : []),
  ]);
  const left = locked.slice(events.length).map(({ id }) => ({ id }));
  if (left.length > 0) await tx.jobs.add(tx.db, eventQueue, left);
  if (part === null) tx.observe(() => observeAges(tx, events, from));
  return left.length;
}

/** Begins a span for the evaluation of each event in a trace, and returns the contexts, as headers, for what its rules start. */
function traceEvaluations(
  tx: Tx,
  { events, matches, from }: { events: readonly PendingEvent[]; matches: readonly Match[]; from: number },
): ReadonlyMap<string, string> {
  const { tracing } = tx;
  const contexts = new Map<string, string>();
  if (tracing === null) return contexts;
  const began = Date.now() - (performance.now() - from);
  for (const { id, triggerRef, traceContext } of events) {
    const parent = parseTraceparent(traceContext);
    if (parent === null) continue;
    const context = newContext(parent);
    contexts.set(id, formatTraceparent(context));
    const attributes = {
      "attune.event": id,
      "attune.trigger": triggerRef,
      "attune.rules": matches.filter(({ event }) => event.id === id).map(({ rule }) => rule.ref),
    };
    const span = { name: "evaluate rules", kind: "internal", context, parent, from: began, attributes } as const;
    tx.observe(() => tracing.record({ ...span, to: Date.now() }));
  }
  return contexts;
}

/** Counts how old the events were when their evaluation, which began at `from`, was committed. */
function observeAges({ metrics }: Tx, events: readonly PendingEvent[], from: number): void {
  const tookMs = performance.now() - from;
  for (const { created, now } of events) {
    metrics.evaluation.observe(Math.max(0, Date.parse(now) - Date.parse(created) + tookMs) / 1000);
  }
}

/** `omitted` has the numbers of evaluations that were not recorded, by event. */
async function markEvaluated(
  tx: Tx,
  events: readonly PendingEvent[],
  omitted: Readonly<Record<string, number>> = {},
): Promise<void> {
  if (events.length === 0) return;
  await rows(
    tx.db,
    sql`update attune.event set evaluated_at = clock_timestamp(),
        skipped = case when trigger is null then 'its trigger no longer exists' end,
        evaluations_omitted = coalesce((${JSON.stringify(omitted)}::text::jsonb ->> id::text)::int, 0)
      where id = ${anyOf(events.map(({ id }) => id))}`,
  );
}

/** A locked event; one beyond the batch's bytes, as are all that follow it, comes without its payload. */
interface LockedEvent extends PendingEvent {
  isBeyond: boolean;
}

/** Locks and returns the unevaluated events of the jobs, with the revision of their triggers' rules in this snapshot. */
async function lockEvents(tx: Tx, jobs: readonly Job[]): Promise<LockedEvent[]> {
  const ids = anyOf(jobs.map(({ entity }) => entity));
  // An event alone is within any limit, and is what a quiet server takes: it needs no sizes.
  const sized =
    jobs.length === 1
      ? sql`select id, false as beyond from attune.event where id = ${ids}`
      : sql`select p.id, sum(p.size) over (order by p.id) - p.size >= ${batchBytes}::int as beyond
        from (select id, pg_column_size(payload) as size from attune.event where id = ${ids} and evaluated_at is null) p`;
  return await rows<LockedEvent>(
    tx.db,
    sql`with s as materialized (${sized})
      select e.id::text as "id", e.trigger::text as "trigger", e.trigger_ref as "triggerRef", s.beyond as "isBeyond",
        case when not s.beyond then e.payload end as "payload",
        e.rule::text as "rule", e.trace_tag as "traceTag", e.trace_context as "traceContext", e.generation as "generation",
        to_jsonb(e.created) #>> '{}' as "created", to_jsonb(now()) #>> '{}' as "now", t.rules_revision::text as "rulesRevision"
      from s join attune.event e on e.id = s.id left join attune.trigger t on t.id = e.trigger
      where e.evaluated_at is null order by e.id for no key update of e`,
  );
}

async function insertEvaluations(tx: Tx, evaluations: readonly Evaluation[]): Promise<void> {
  if (evaluations.length === 0) return;
  const input = evaluations.map(({ rule, event, matched, detail, hold }) => ({
    event: event.id,
    rule: rule.id,
    rule_revision: rule.revision,
    matched,
    detail,
    held: hold?.held ?? null,
    key: hold?.key.text ?? null,
    key_hash: hold?.key.hash ?? null,
  }));
  if (evaluations.some(({ hold }) => hold !== null)) tx.announce("window");
  await rows(
    tx.db,
    // What a window decides about is one of each kind for (rule, event), also when an event is evaluated again rule by rule.
    sql`insert into attune.rule_evaluation (event, rule, rule_revision, matched, detail, held, pending, key, key_hash)
      select event, rule, rule_revision, matched, detail, held, held is not null, key, key_hash
      from jsonb_to_recordset(${JSON.stringify(input)}::text::jsonb) as r(event bigint, rule bigint, rule_revision int,
        matched boolean, detail jsonb, held text, key text, key_hash text)
      on conflict (rule, event, matched) where key_hash is not null do nothing`,
  );
}
