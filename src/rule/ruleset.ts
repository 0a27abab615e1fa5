import { getColumns, type SQL, sql } from "drizzle-orm";
import { secretSchemasJson } from "../catalog/action.ts";
import type { ActiveHours } from "../catalog/active-hours.ts";
import type { MaxStarts, WindowDefinition } from "../catalog/window.ts";
import { anyOf, type Db, rows } from "../db/client.ts";
import { rule as ruleTable } from "../db/tables/rule.ts";
import { type RunnableAction, runnableJson } from "../execution/action.ts";
import { canonicalConditions } from "../lang/canonical.ts";
import { requireSecretPlaces } from "../lang/secret-use.ts";
import { compileTemplates, type Templates } from "../lang/template.ts";
import type { Json, JsonObject } from "../lib/json.ts";
import type { ParameterMap } from "../schema/schema.ts";
import { hideSecrets, type SealedSettings } from "../secrecy/settings.ts";
import { type AnsweredRule, readAnswered } from "./answers.ts";
import { createOwners, type Owners } from "./authority.ts";
import { compileJudge, type Judge } from "./judge.ts";
import { readsEvents } from "./parameters.ts";
import { createRuleIndex, type IndexedRule, type RuleIndex } from "./rule-index.ts";

/** A rule that can evaluate events. */
export interface CompiledRule extends IndexedRule {
  ref: string;
  revision: number;
  conditions: Json[];
  /** Its secret settings are hidden in `config`, and encrypted in `secrets`. */
  pack: { ref: string; config: JsonObject; secrets: SealedSettings };
  /** Which of its matches start its action; null: each. */
  window: WindowDefinition | null;
  maxStarts: MaxStarts | null;
  /** Whether it matches only events that no other rule matched. */
  backstop: boolean;
  /** When it matches at all; null: always. */
  activeHours: ActiveHours | null;
  /** The priority of what it starts. */
  executionPriority: number;
  /** The trigger whose events answer its own; null: its window waits for none. */
  answerTrigger: string | null;
  actionRef: string;
  /** Null when the action has been deleted. */
  action: RunnableAction | null;
  /** The identity whose grants it runs with; null for a pack's rule, and for an ad-hoc rule whose owner was deleted. */
  owner: string | null;
  isAdhoc: boolean;
  judge: Judge;
  render: Templates["render"];
  /** Whether it tells anything of what its events contain. */
  readsEvents: boolean;
  /** The refs of the keys in its templates. */
  keys: readonly string[];
}

interface StoredRule extends Omit<CompiledRule, "criteria" | "judge" | "render" | "readsEvents" | "keys"> {
  actionParams: JsonObject;
  confSchema: ParameterMap;
  /** The schemas that decide which parameters take secrets; null when the action has been deleted. */
  secretSchemas: (ParameterMap | null)[] | null;
}

/**
 * Saved rules compile; one that no longer does must neither run nor affect the others. What an index needs is known at once, the rest is compiled when an
 * event first needs it: with thousands of rules most are not found by any event for a long time.
 */
function compile(rule: StoredRule): CompiledRule {
  // A version before this one may still write settings in clear.
  const pack = { ...rule.pack, config: hideSecrets(rule.confSchema, rule.pack.config) };
  const isHeld = rule.window !== null || rule.maxStarts !== null;
  const judged = once(() => compileJudge({ ...rule, key: rule.window?.key, isHeld }));
  const params = once(() => compileParams(rule));
  return {
    ...{ ...rule, pack },
    criteria: canonicalConditions(rule.conditions) ?? judged().criteria,
    judge: (event, meter) => judged().judge(event, meter),
    render: (context, read, meter) => params().render(context, read, meter),
    get readsEvents() {
      return params().readsEvents;
    },
    get keys() {
      return params().keys;
    },
  };
}

/** Returns the function that computes a value at its first call, and returns it at each. */
function once<T>(compute: () => T): () => T {
  let known: { value: T } | null = null;
  return () => {
    known ??= { value: compute() };
    return known.value;
  };
}

/** Rendering invalid templates throws why they are invalid. */
function compileParams(rule: StoredRule): Pick<CompiledRule, "render" | "readsEvents" | "keys"> {
  try {
    const { render, names, places } = compileTemplates(rule.actionParams, "action_params", rule.confSchema);
    requireSecretPlaces(places, { action: rule.actionRef, schemas: rule.secretSchemas ?? [null] }, "action_params");
    return { render, readsEvents: readsEvents(rule), keys: names };
  } catch (error) {
    const render = () => {
      throw error;
    };
    return { render, readsEvents: true, keys: [] };
  }
}

/** Returns the rules (`r`) of the source that meet the condition, with the ids of their triggers, by ref. */
async function readRules(
  db: Db,
  which: SQL,
  source: SQL = sql`attune.rule`,
): Promise<{ trigger: string | null; rule: StoredRule }[]> {
  return await rows(
    db,
    sql`select r.trigger::text as trigger, jsonb_build_object('id', r.id::text, 'ref', r.ref, 'revision', r.revision,
        'condition', r.condition, 'conditions', r.conditions, 'recordEvaluations', r.record_evaluations,
        'window', r."window", 'maxStarts', r.max_starts, 'backstop', r.backstop, 'activeHours', r.active_hours,
        'executionPriority', r.execution_priority, 'answerTrigger', attune.answer_trigger(r),
        'actionParams', r.action_params, 'actionRef', r.action_ref,
        'owner', r.owner::text, 'isAdhoc', r.is_adhoc, 'pack', jsonb_build_object('ref', rp.ref, 'config', rp.config, 'secrets', rp.secrets),
        'confSchema', rp.conf_schema,
        'action', case when a.id is not null then ${runnableJson} end,
        'secretSchemas', case when a.id is not null then ${secretSchemasJson} end) as rule
      from ${source} r join attune.pack rp on rp.id = r.pack
        left join attune.action a on a.id = r.action left join attune.runtime rt on rt.id = a.runtime
        left join attune.pack p on p.id = a.pack
      where ${which} order by r.ref`,
  );
}

/** Returns one rule, enabled or not, compiled with other contents; null when it does not exist. */
export async function compileDraft(
  db: Db,
  id: bigint,
  draft: Partial<Pick<StoredRule, "condition" | "conditions" | "actionParams" | "window" | "activeHours" | "backstop">>,
): Promise<CompiledRule | null> {
  const [found] = await readRules(db, sql`r.id = ${String(id)}::bigint`);
  return found ? compile({ ...found.rule, ...draft }) : null;
}

/** Returns a rule that does not exist, with these columns, compiled as if it were its first revision; null when its pack does not exist. */
export async function compileNew(db: Db, columns: Readonly<Record<string, unknown>>): Promise<CompiledRule | null> {
  const names: Readonly<Record<string, { name: string } | undefined>> = getColumns(ruleTable);
  const row = Object.fromEntries(
    Object.entries(columns).map(([field, value]) => [
      names[field]?.name ?? field,
      typeof value === "bigint" ? String(value) : value,
    ]),
  );
  const input = JSON.stringify({ ...row, id: "0", revision: 1 });
  const [found] = await readRules(db, sql`true`, sql`jsonb_populate_record(null::attune.rule, ${input}::text::jsonb)`);
  return found ? compile(found.rule) : null;
}

/** What evaluates the events of a trigger. */
export interface TriggerRules {
  /** Its enabled rules. */
  rules: RuleIndex<CompiledRule>;
  /** The enabled rules, also of other triggers, whose windows wait for its events. */
  answered: readonly AnsweredRule[];
}

/** A cache of compiled rules, by trigger. A change of a rule, or of what it is compiled from, compiles that rule anew. */
export interface RuleSets {
  /** Returns the rules of each trigger, at the given revision, which the caller's snapshot showed, or at a later one. */
  load(db: Db, triggers: ReadonlyMap<string, string>): Promise<Map<string, TriggerRules>>;
  /** The grants of the rules' owners. */
  owners: Owners;
}

interface RuleSet extends TriggerRules {
  /** The set contains every change up to this one, and perhaps later ones. */
  revision: bigint;
}

const maxKept = 2000;

/** Creates an empty cache; the executor has one for each process. */
export function createRuleSets(): RuleSets {
  const kept = new Map<string, RuleSet>();
  return {
    owners: createOwners(),
    load: async (db, triggers) => {
      if (kept.size > maxKept) kept.clear();
      const stale = [...triggers].filter(([trigger, revision]) => !isCurrent(kept.get(trigger), revision));
      const [known, unknown] = [stale.filter(([id]) => kept.has(id)), stale.filter(([id]) => !kept.has(id))];
      for (const [trigger, rules] of await readSets(db, unknown)) kept.set(trigger, rules);
      for (const [trigger, revision] of known) await refresh(db, trigger, BigInt(revision), kept);
      return new Map([...triggers.keys()].map((trigger) => [trigger, kept.get(trigger) ?? emptySet("0")]));
    },
  };
}

const emptySet = (revision: string): RuleSet => ({
  revision: BigInt(revision),
  rules: createRuleIndex<CompiledRule>(),
  answered: [],
});

const isCurrent = (set: RuleSet | undefined, revision: string) => set !== undefined && set.revision >= BigInt(revision);

/** Reads and compiles all rules of the triggers, given with their revisions. */
async function readSets(db: Db, triggers: readonly [string, string][]): Promise<Map<string, RuleSet>> {
  const sets = new Map(triggers.map(([trigger, revision]) => [trigger, emptySet(revision)]));
  const ids = triggers.map(([trigger]) => trigger);
  if (ids.length === 0) return sets;
  const [found, answered] = await Promise.all([
    readRules(db, sql`r.enabled and r.trigger = ${anyOf(ids)}`),
    readAnswered(db, ids),
  ]);
  for (const { trigger, rule } of found) sets.get(trigger ?? "")?.rules.set(compile(rule));
  for (const [trigger, set] of sets) set.answered = answered.get(trigger) ?? [];
  return sets;
}

/**
 * Brings a set to a revision that the caller has seen. Statements see what was committed before each of them began, which may be more than that revision:
 * the next refresh reads it again.
 */
async function refresh(db: Db, trigger: string, revision: bigint, kept: Map<string, RuleSet>): Promise<void> {
  const set = kept.get(trigger);
  if (set === undefined) return;
  const [changed, [count], answered] = await Promise.all([
    readRules(
      db,
      sql`r.enabled and r.trigger = ${trigger}::bigint and r.id = any (array(
        select c.rule from attune.rule_change c where c.trigger = ${trigger}::bigint and c.revision > ${String(set.revision)}::bigint))`,
    ),
    rows<{ count: number }>(
      db,
      sql`select count(*)::int as count from attune.rule r where r.enabled and r.trigger = ${trigger}::bigint`,
    ),
    readAnswered(db, [trigger]),
  ]);
  if (isCurrent(kept.get(trigger), String(revision))) return; // another load was faster
  for (const { rule } of changed) set.rules.set(compile(rule));
  // All that exist are there; if there are more, some were deleted, disabled or moved.
  if (set.rules.size !== count?.count) await forgetGone(db, trigger, set);
  set.answered = answered.get(trigger) ?? [];
  set.revision = revision;
}

async function forgetGone(db: Db, trigger: string, { rules }: RuleSet): Promise<void> {
  const found = await rows<{ id: string }>(
    db,
    sql`select r.id::text as id from attune.rule r where r.enabled and r.trigger = ${trigger}::bigint`,
  );
  const ids = new Set(found.map(({ id }) => id));
  for (const id of [...rules.ids()]) if (!ids.has(id)) rules.delete(id);
}
