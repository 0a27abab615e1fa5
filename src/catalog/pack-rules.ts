import { sql } from "drizzle-orm";
import { type Db, rows } from "../db/client.ts";
import type { Tx } from "../db/tx.ts";
import { InvalidInputError, type Issue } from "../errors.ts";
import type { JsonObject } from "../lib/json.ts";
import { didYouMean } from "../lib/nearest.ts";
import type { ParameterMap } from "../schema/schema.ts";
import { secretSchemasJson } from "./action.ts";
import type { ActiveHours } from "./active-hours.ts";
import type { CheckedPack } from "./read.ts";
import type { MaxStarts, WindowDefinition } from "./window.ts";

/** What a rule consists of, besides its names. */
export interface RuleContents {
  actionRef: string;
  triggerRef: string;
  conditions: unknown;
  actionParams: JsonObject;
  triggerParams: JsonObject;
  window: unknown;
  maxStarts: unknown;
  activeHours: unknown;
}

/** The canonical form of what a rule consists of. */
export interface CheckedContents {
  conditions: JsonObject[];
  triggerParams: JsonObject;
  window: WindowDefinition | null;
  maxStarts: MaxStarts | null;
  activeHours: ActiveHours | null;
}

/** What a rule is checked against. */
export interface RuleTargets {
  /** `secretSchemas` decide which parameters take secrets. */
  action: { paramSchema: ParameterMap | null; secretSchemas: (ParameterMap | null)[] };
  trigger: { paramSchema: ParameterMap | null };
  /** The schema of the settings of the rule's pack. */
  settings: ParameterMap;
}

/** How the rules of packs are checked, as those that users create are, and what follows when one is loaded. */
export interface PackRules {
  check(rule: RuleContents, targets: RuleTargets): CheckedContents;
  loaded(tx: Tx, rule: { id: string }): Promise<void>;
}

/** The actions and triggers that rules may name, by their refs. */
export interface Known<Id = unknown> {
  actions: ReadonlyMap<string, RuleTargets["action"] & { id: Id }>;
  triggers: ReadonlyMap<string, RuleTargets["trigger"] & { id: Id }>;
}

/** Returns the columns of the pack's rules. Throws InvalidInputError with the faults of all of them, at their places in the files. */
export async function ruleRows(
  db: Db,
  source: CheckedPack,
  packRules: PackRules,
): Promise<({ ref: string } & Record<string, unknown>)[]> {
  if (source.rules.length === 0) return [];
  const known = { actions: await findActions(db), triggers: await findTriggers(db) };
  return checkRules(source, known, packRules).map(({ actionId, triggerId, ...columns }) => {
    return { ...columns, actionId: BigInt(actionId), triggerId: BigInt(triggerId) };
  });
}

/** Returns the columns of the pack's rules with what they name. Throws InvalidInputError with the faults of all of them. */
export function checkRules<Id>(
  { rules, pack: { conf_schema: settings }, issueAt }: CheckedPack,
  { actions, triggers }: Known<Id>,
  { check }: Pick<PackRules, "check">,
) {
  const issues: Issue[] = [];
  const values = rules.flatMap((manifest) => {
    const { ref, action_ref: actionRef, trigger_ref: triggerRef } = manifest;
    const action = actions.get(actionRef);
    const trigger = triggers.get(triggerRef);
    const absent = (field: string, noun: string, name: string, known: Iterable<string>) =>
      issues.push(issueAt(ref, [field], `there is no ${noun} "${name}"${didYouMean(name, [...known])}`));
    if (!action) absent("action_ref", "action", actionRef, actions.keys());
    if (!trigger) absent("trigger_ref", "trigger", triggerRef, triggers.keys());
    const answer = manifest.window?.absence?.of.trigger;
    if (answer !== undefined && !triggers.has(answer)) absent("window", "trigger", answer, triggers.keys());
    if (!action || !trigger) return [];
    const { conditions, action_params: actionParams, trigger_params: triggerParams } = manifest;
    try {
      const { window, max_starts: maxStarts, active_hours: activeHours } = manifest;
      const checked = check(
        { actionRef, triggerRef, conditions, actionParams, triggerParams, window, maxStarts, activeHours },
        { action, trigger, settings },
      );
      return [
        {
          ...{ ref, actionRef, triggerRef, actionParams, ...checked },
          label: manifest.label,
          description: manifest.description,
          enabled: manifest.enabled,
          actionId: action.id,
          triggerId: trigger.id,
          condition: manifest.condition,
          backstop: manifest.backstop,
          executionPriority: manifest.execution_priority,
        },
      ];
    } catch (error) {
      if (!(error instanceof InvalidInputError)) throw error;
      issues.push(...error.issues.map(({ path, message }) => issueAt(ref, inFile(path), message)));
      return [];
    }
  });
  if (issues.length > 0) throw new InvalidInputError(issues);
  return values;
}

/** Returns the place in the file of a field that is named as in the API, such as `actionParams.text`. */
function inFile(path: string): string[] {
  const [field = "", ...below] = path.split(".");
  return [field.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`), ...below];
}

async function findActions(db: Db): Promise<Map<string, RuleTargets["action"] & { id: string }>> {
  const found = await rows<RuleTargets["action"] & { id: string; ref: string }>(
    db,
    sql`select a.id::text as "id", a.ref as "ref", a.param_schema as "paramSchema", ${secretSchemasJson} as "secretSchemas"
      from attune.action a left join attune.runtime rt on rt.id = a.runtime`,
  );
  return new Map(found.map(({ ref, ...action }) => [ref, action]));
}

async function findTriggers(db: Db): Promise<Map<string, RuleTargets["trigger"] & { id: string }>> {
  const found = await rows<RuleTargets["trigger"] & { id: string; ref: string }>(
    db,
    sql`select id::text as "id", ref as "ref", param_schema as "paramSchema" from attune.trigger`,
  );
  return new Map(found.map(({ ref, ...trigger }) => [ref, trigger]));
}
