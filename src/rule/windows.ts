import { sql } from "drizzle-orm";
import type { WindowDefinition } from "../catalog/window.ts";
import { type Db, rows } from "../db/client.ts";
import type { Hold } from "../db/tables/event.ts";
import type { Tx } from "../db/tx.ts";
import { faultPoint } from "../lib/fault.ts";
import { loadAuthority, type Owners } from "./authority.ts";
import { decide, emptyState, kindOf, passTime, type Start, spend } from "./decide.ts";
import { type Match, resolveMatch } from "./match.ts";
import { compileDraft } from "./ruleset.ts";
import { insertEnforcements } from "./start.ts";
import { inTurn } from "./turn.ts";
import * as stored from "./window-rows.ts";

/** The number of matches, and of windows that are due, of one transaction. */
const batch = 500;
/** A rule has at most so many windows that have not expired: the matches of further keys start nothing. */
const maxKeys = 10_000;

/** What one transaction decided about a rule. */
export interface Decided {
  /** The number of matches, answers and deadlines that it decided about. */
  count: number;
  /** Whether more can be decided about at once. */
  isLeft: boolean;
}

/**
 * Decides which matches of a rule start its action, in the order of their events and by the times of these, up to the first event that is
 * not evaluated yet: so the result does not depend on which processes evaluate, how many, and when. The lock of the rule's row decides who
 * does so; null when another transaction has it. Requests the executions.
 */
export async function decideRule(tx: Tx, owners: Owners, id: string): Promise<Decided | null> {
  const rule = await stored.lockRule(tx.db, id);
  if (rule === null) return null;
  const triggers = [rule.triggerRef, ...(rule.answerTrigger === null ? [] : [rule.answerTrigger])];
  const horizon = await stored.readHorizon(tx.db, triggers);
  const inputs = await stored.readInputs(tx.db, id, horizon, batch);
  const isWhole = inputs.length < batch;
  if (!rule.isActive) {
    await stored.storeOutcomes(tx.db, new Map(inputs.map((each) => [each.evaluation, isHeldBy(each, "disabled")])));
    await stored.dropDue(tx.db, id);
    return { count: inputs.length, isLeft: !isWhole };
  }
  const windows = await stored.openWindows(tx.db, { rule: id, inputs, now: horizon.now, limit: batch });
  const pass: Pass = { tx, rule, inputs, windows, outcomes: new Map(), starts: [] };
  decideInputs(pass);
  if (isWhole) decideDue(pass, horizon.now);
  await spendBudget(pass);
  await startAll(pass, owners);
  await stored.storeOutcomes(tx.db, pass.outcomes);
  if (rule.window) {
    await stored.storeWindows(tx.db, { rule: id, kind: kindOf(rule.window), windows: windows.byHash.values() });
  }
  faultPoint("window.before_commit");
  return { count: inputs.length + windows.byHash.size, isLeft: !isWhole || windows.areMoreDue };
}

const isHeldBy = ({ isMatch }: stored.Input, hold: Hold): Hold => (isMatch ? hold : "answer");

/** One transaction's decisions about a rule, while they are made. */
interface Pass {
  tx: Tx;
  rule: stored.LockedRule;
  inputs: readonly stored.Input[];
  windows: stored.OpenWindows;
  /** What was decided about inputs, by the ids of their evaluations; null: they start the action. */
  outcomes: Map<string, Hold | null>;
  starts: (Start & { evaluation: string | null })[];
}

function decideInputs(pass: Pass): void {
  const { tx, rule, inputs, windows } = pass;
  let beyond = 0;
  for (const input of inputs) {
    const isKnown = windows.byHash.has(input.hash);
    if (rule.window === null || (!input.isMatch && !isKnown)) startAtOnce(pass, input);
    else if (isKnown || windows.keys < maxKeys) decideInput(pass, rule.window, input);
    else {
      pass.outcomes.set(input.evaluation, "keys");
      beyond += 1;
    }
  }
  const found = { rule: rule.ref, keys: maxKeys, matches: beyond };
  if (beyond > 0) tx.log.warn(found, "the window of a rule has too many keys: matches of further ones start nothing");
}

/** Without a window each match starts the action, and an answer to nothing changes nothing. */
function startAtOnce({ outcomes, starts }: Pass, { evaluation, event, at, isMatch }: stored.Input): void {
  outcomes.set(evaluation, isMatch ? null : "answer");
  if (isMatch) starts.push({ event, at, evaluation });
}

function decideInput({ windows, outcomes, starts }: Pass, window: WindowDefinition, input: stored.Input): void {
  const { evaluation, hash, key, event, isMatch } = input;
  const known = windows.byHash.get(hash);
  if (!known) windows.keys += 1;
  const { state, starts: begun, isHeld } = decide(window, known?.state ?? emptyState(input.at), input);
  windows.byHash.set(hash, { key, hash, state });
  outcomes.set(evaluation, isMatch && !isHeld ? null : isHeldBy(input, kindOf(window)));
  for (const start of begun) {
    starts.push({ ...start, evaluation: !isHeld && start.event === event ? evaluation : null });
  }
}

/** Decides about the deadlines up to that time, before which every event was decided about. */
function decideDue({ windows, starts }: Pass, now: number): void {
  for (const [hash, window] of windows.byHash) {
    const passed = passTime(window.state, now);
    windows.byHash.set(hash, { ...window, state: passed.state });
    for (const start of passed.starts) starts.push({ ...start, evaluation: null });
  }
}

/** Takes from the starts those that the rule's limit does not allow, and reports when they trip it. */
async function spendBudget(pass: Pass): Promise<void> {
  const { tx, rule, outcomes } = pass;
  const { maxStarts } = rule;
  if (maxStarts === null || pass.starts.length === 0) return;
  let budget = await stored.readBudget(tx.db, rule.id);
  const allowed: Pass["starts"] = [];
  const refused: string[] = [];
  for (const start of pass.starts.sort((a, b) => a.at - b.at)) {
    const spent = spend(budget, maxStarts, start.at);
    budget = spent.budget;
    if (spent.trips) await reportTripped(tx, rule, budget.resetsAt ?? start.at);
    if (spent.isAllowed) allowed.push(start);
    else if (start.evaluation !== null) outcomes.set(start.evaluation, "max_starts");
    else refused.push(start.event);
  }
  pass.starts = allowed;
  await stored.storeBudget(tx.db, rule.id, budget);
  await stored.storeRefused(tx.db, rule.id, refused);
}

async function reportTripped(tx: Tx, { ref, maxStarts }: stored.LockedRule, resetsAt: number): Promise<void> {
  const until = new Date(resetsAt).toISOString();
  const details = { rule: ref, count: maxStarts?.count ?? 0, per: maxStarts?.per ?? 0, resets_at: until };
  const payload = {
    title: `The rule "${ref}" started its action more often than its limit allows, and starts nothing until ${until}.`,
    ...{ severity: "warning", source: "attune", details },
  };
  tx.log.warn(details, "a rule tripped");
  await tx.db.execute(sql`select attune.tell('core.alert', ${JSON.stringify(payload)}::text::jsonb)`);
}

/** Requests one execution for each start, or stores why there is none. */
async function startAll({ tx, rule, starts }: Pass, owners: Owners): Promise<void> {
  if (starts.length === 0) return;
  const compiled = await compileDraft(tx.db, BigInt(rule.id), {});
  if (compiled === null) return; // it is locked, so it exists
  const authority = await loadAuthority(tx, owners, [compiled]);
  const events = await stored.readEvents(
    tx.db,
    starts.map(({ event }) => event),
  );
  const matches: Match[] = [];
  for (const { event: id } of starts) {
    const event = events.get(id);
    if (event)
      matches.push(await inTurn(() => resolveMatch({ rule: compiled, event }, { authority, keyring: tx.keyring })));
  }
  await insertEnforcements(tx, matches, new Map());
}

/** Returns the rules that have something to decide about, or whose windows are due. */
export async function findUndecided(db: Db): Promise<string[]> {
  const found = await rows<{ rule: string }>(
    db,
    // One step of the index for each rule, however many matches wait.
    sql`with recursive waiting(rule) as (
        (select rule from attune.rule_evaluation where pending order by rule limit 1)
        union all
        select (select v.rule from attune.rule_evaluation v where v.pending and v.rule > w.rule order by v.rule limit 1)
          from waiting w where w.rule is not null)
      select rule::text from waiting where rule is not null
      union select rule::text from (select rule from attune.rule_window where due_at <= now() order by due_at limit 1000) d`,
  );
  return found.map(({ rule }) => rule);
}

/** Returns what held back the match of an event by a rule, or `answer` when the event answered one; null: nothing, or it is not recorded. */
export async function findHold(db: Db, { rule, event }: { rule: bigint; event: bigint }): Promise<Hold | null> {
  const [found] = await rows<{ held: Hold | null }>(
    db,
    sql`select held from attune.rule_evaluation where rule = ${String(rule)}::bigint and event = ${String(event)}::bigint
      and key_hash is not null order by matched desc limit 1`,
  );
  return found?.held ?? null;
}

/** Returns the milliseconds until the next window is due; null: none is. */
export async function untilNextDue(db: Db): Promise<number | null> {
  const [next] = await rows<{ ms: number | null }>(
    db,
    sql`select (extract(epoch from min(due_at) - clock_timestamp()) * 1000)::float8 as ms from attune.rule_window where due_at is not null`,
  );
  return next?.ms ?? null;
}

const expiredBatch = 2000;

/**
 * Deletes up to 2,000 windows that have expired, and what is over of rules that tripped, unless an event that is older still waits, to be evaluated or
 * decided about. Returns whether there may be more.
 */
export async function dropExpired(tx: Tx): Promise<boolean> {
  const isOver = (column: string, alias: string) => {
    const [at, rule] = [sql.raw(`${alias}.${column}`), sql.raw(`${alias}.rule`)];
    return sql`${at} < least(now(), (select created from attune.event where id = (select min(event) from attune.pending_event)),
      (select e.created from attune.rule_evaluation v join attune.event e on e.id = v.event where v.rule = ${rule} and v.pending order by v.event limit 1))`;
  };
  await rows(
    tx.db,
    sql`delete from attune.rule_budget b where id in (select b.id from attune.rule_budget b where ${isOver("resets_at", "b")}
      for update skip locked)`,
  );
  const dropped = await rows(
    tx.db,
    sql`delete from attune.rule_window where id in (select w.id from attune.rule_window w
      where w.expires_at < now() and ${isOver("expires_at", "w")}
      order by w.expires_at limit ${expiredBatch}::int for update skip locked) returning id`,
  );
  return dropped.length === expiredBatch;
}
