import { DrizzleQueryError, sql } from "drizzle-orm";
import { rows } from "../db/client.ts";
import { asRefusal, inSavepoint, type Tx } from "../db/tx.ts";
import { formatTraceparent, newContext, parseTraceparent } from "../lib/trace.ts";
import { findAnswers } from "./answers.ts";
import { loadAuthority } from "./authority.ts";
import { insertEvaluations } from "./evaluations.ts";
import {
  type Earlier,
  type Match,
  type Matched,
  matchEvent,
  type PendingEvent,
  resolveMatch,
  rulesFor,
} from "./match.ts";
import { type LockedEvent, lockEvents, markEvaluated, postponeEvent, removePending, takeEvents } from "./pending.ts";
import type { RuleSets } from "./ruleset.ts";
import { inShares } from "./shares.ts";
import { insertEnforcements } from "./start.ts";
import { createLimit } from "./turn.ts";

/** After this many failed tries an event is skipped, and its row records the reason. */
const maxTries = 5;

/**
 * Evaluates up to `limit` pending events together: stores evaluations, one enforcement for each match, their executions and jobs. Returns
 * how many it took; `limit` also if it left some of them, which are to be taken next.
 */
export async function enforceBatch(tx: Tx, ruleSets: RuleSets, limit: number): Promise<number> {
  const taken = await takeEvents(tx, limit);
  const left = taken.length > 0 ? (await evaluate(tx, ruleSets, taken)).left : 0;
  return left > 0 ? limit : taken.length;
}

/**
 * The same for a batch that cannot be stored: each event is evaluated separately, in a savepoint, so that a failure does not affect
 * the others. A failed event is retried later, and skipped after five tries; then its row records the reason.
 */
export async function enforceEach(tx: Tx, ruleSets: RuleSets, limit: number): Promise<number> {
  const taken = await takeEvents(tx, limit);
  for (const { id } of taken) await enforceOne(tx, ruleSets, id);
  return taken.length;
}

/**
 * Evaluates an event by one of its rules and stores what follows from it, in place of what an earlier try has left; the event stays to be evaluated.
 * Backstops are to be evaluated last. Returns how many evaluations were not recorded, because the event has left enough without a match.
 */
export async function enforceRule(tx: Tx, ruleSets: RuleSets, event: string, rule: string): Promise<number> {
  await rows(
    tx.db,
    sql`delete from attune.rule_evaluation where event = ${event}::bigint and rule = ${rule}::bigint and key_hash is null`,
  );
  return (await evaluate(tx, ruleSets, await lockEvents(tx, [event]), rule)).omitted;
}

/** Stores that an event was evaluated by all its rules, and how many evaluations were not recorded. */
export async function concludeEvent(tx: Tx, event: string, omitted: number): Promise<void> {
  await markEvaluated(tx, await lockEvents(tx, [event]), { [event]: omitted });
}

/** Evaluates one event; a failure counts as a try and is recorded, as in `enforceEach`. */
export async function enforceOne(tx: Tx, ruleSets: RuleSets, event: string): Promise<void> {
  try {
    // A bad event does not stop the others.
    await inSavepoint(tx, async (own) => evaluate(own, ruleSets, await lockEvents(own, [event])));
  } catch (error) {
    await recordFailure(tx, event, error);
  }
}

async function recordFailure(tx: Tx, id: string, error: unknown): Promise<void> {
  const refusal = asRefusal(error);
  // The driver's message: that of DrizzleQueryError would contain the event's data.
  const reason = refusal instanceof DrizzleQueryError ? (refusal.cause ?? refusal) : refusal;
  const message = reason instanceof Error ? reason.message : String(reason);
  const [event] = await rows<{ tries: number; given_up: boolean }>(
    tx.db,
    sql`update attune.event set tries = tries + 1,
        evaluated_at = case when tries + 1 >= ${maxTries}::int then now() end,
        skipped = case when tries + 1 >= ${maxTries}::int then 'gave up after ' || (tries + 1) || ' tries: ' || ${message}::text end
      where id = ${id}::bigint and evaluated_at is null
      returning tries, evaluated_at is not null as given_up`,
  );
  if (event?.given_up) {
    await removePending(tx, [id]);
    tx.observe(() => tx.log.error({ event: id, tries: event.tries }, "an event was given up: its row has the reason"));
  } else if (event) await postponeEvent(tx, id, 2 ** event.tries);
}

/**
 * Processor time after which a batch takes no further event. Those that are left stay pending: no transaction, which on the embedded
 * database keeps all others waiting, takes much longer than the budget of one rule.
 */
const batchCpuMs = 100;

/** What an evaluation did: how many events it left pending, and how many evaluations it did not record. */
interface Evaluated {
  left: number;
  omitted: number;
}

/** Evaluates locked events; if `only` is given, by that rule, and leaves them pending. */
async function evaluate(
  tx: Tx,
  ruleSets: RuleSets,
  locked: readonly LockedEvent[],
  only: string | null = null,
): Promise<Evaluated> {
  const from = performance.now();
  const judged = await judgeEvents(tx, ruleSets, locked, only);
  const { events, matches } = await resolveEvents(tx, ruleSets, judged);
  const evaluations = judged.slice(0, events.length).flatMap((found) => found.evaluations);
  const omitted = Object.fromEntries(
    judged.flatMap((found) => (found.omitted > 0 ? [[found.event.id, found.omitted]] : [])),
  );
  const contexts = traceEvaluations(tx, { events, matches, from });
  // No statement depends on another: the connection pipelines them.
  await Promise.all([
    insertEnforcements(tx, matches, contexts),
    insertEvaluations(tx, evaluations),
    ...(only === null ? [markEvaluated(tx, events, omitted)] : []),
  ]);
  const left = locked.length - events.length;
  if (only === null) tx.observe(() => observeAges(tx, events, from));
  return { left, omitted: Object.values<number>(omitted).reduce((sum, count) => sum + count, 0) };
}

interface JudgedEvent extends Matched {
  event: PendingEvent;
}

/** Returns what the rules find of the events, or of the first of them when that takes long. */
async function judgeEvents(
  tx: Tx,
  ruleSets: RuleSets,
  locked: readonly LockedEvent[],
  only: string | null,
): Promise<JudgedEvent[]> {
  const revisions = new Map<string, string>();
  for (const { trigger, rulesRevision } of locked) {
    if (trigger !== null && rulesRevision !== null) revisions.set(trigger, rulesRevision);
  }
  const sets = await ruleSets.load(tx.db, revisions);
  const part = only === null ? null : new Set([only]);
  const isOver = createLimit(batchCpuMs);
  const judged: JudgedEvent[] = [];
  for (const event of locked) {
    if (isOver() || event.isBeyond) break;
    const earlier = only === null ? undefined : await findEarlier(tx, event, only);
    const set = sets.get(event.trigger ?? "");
    const found = await matchEvent(event, rulesFor(event, set?.rules, part), earlier);
    const answered = await findAnswers(event, set?.answered ?? [], part);
    found.evaluations.push(...answered.map((answer) => ({ ...answer, matched: false })));
    judged.push({ event, ...found });
  }
  return judged;
}

/** Returns the matches of the events with their parameters, or of the first events when that takes long. */
async function resolveEvents(
  tx: Tx,
  ruleSets: RuleSets,
  judged: readonly JudgedEvent[],
): Promise<{ events: PendingEvent[]; matches: Match[] }> {
  const rules = new Set(judged.flatMap(({ matches }) => matches.map(({ rule }) => rule)));
  const authority = await loadAuthority(tx, ruleSets.owners, [...rules]);
  const isOver = createLimit(batchCpuMs);
  const events: PendingEvent[] = [];
  const matches: Match[] = [];
  for (const { event, matches: found } of judged) {
    if (isOver()) break;
    events.push(event);
    await inShares(
      found,
      (each, meter) => resolveMatch(each, { authority, keyring: tx.keyring, meter }),
      (_each, match) => matches.push(match),
    );
  }
  return { events, matches };
}

/** Returns what the evaluations of the event by other rules have left. A rule that a window held back has matched. */
async function findEarlier(tx: Tx, event: PendingEvent, rule: string): Promise<Earlier> {
  const of = sql`v.event = ${event.id}::bigint and v.rule <> ${rule}::bigint`;
  const [found] = await rows<Earlier>(
    tx.db,
    sql`select (select count(*)::int from attune.rule_evaluation v where ${of} and not v.matched and v.key_hash is null) as misses,
        exists (select from attune.enforcement f left join attune.rule r on r.id = f.rule
          where f.event = ${event.id}::bigint and r.backstop is not true and f.rule is distinct from ${rule}::bigint)
        or exists (select from attune.rule_evaluation v join attune.rule r on r.id = v.rule
          where ${of} and v.matched and not r.backstop) as "isMatched"`,
  );
  return found ?? { misses: 0, isMatched: false };
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
