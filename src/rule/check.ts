import type { CheckedContents, PackRules, RuleContents, RuleTargets } from "../catalog/pack-rules.ts";
import { InvalidInputError, type Issue } from "../errors.ts";
import { normaliseConditions } from "../lang/criteria.ts";
import { requireSecretPlaces } from "../lang/secret-use.ts";
import { compileTemplates } from "../lang/template.ts";
import type { JsonObject } from "../lib/json.ts";
import { compileParameters, type ParameterMap } from "../schema/schema.ts";
import { storableJson } from "../schema/storable.ts";
import { findSecrets } from "../secrecy/find.ts";
import { checkActiveHours } from "./active-hours.ts";
import { checkActionParams } from "./parameters.ts";
import { scheduleOf } from "./schedule.ts";
import { syncTimer } from "./timer.ts";
import { checkMaxStarts, checkWindow } from "./window.ts";

/**
 * Checks what a rule consists of, for rules of users and of packs alike. Returns its canonical conditions and window, its trigger's parameters with their
 * defaults, and the names of the keys in its templates. Throws InvalidInputError with every fault, at the names of the fields.
 */
export function checkContents(
  rule: RuleContents,
  { action, trigger, settings }: RuleTargets,
): CheckedContents & { keys: string[] } {
  const [conditions, keys, triggerParams, window, maxStarts, activeHours] = runChecks(
    () => {
      const canonical = normaliseConditions(rule.conditions, "conditions");
      storableJson(canonical, "conditions");
      return canonical;
    },
    () => {
      const { names, places } = compileTemplates(rule.actionParams, "actionParams", settings);
      requireSecretPlaces(places, { action: rule.actionRef, schemas: action.secretSchemas }, "actionParams");
      checkActionParams(rule, action.paramSchema);
      storableJson(rule.actionParams, "actionParams");
      return names;
    },
    () => {
      const params = compileParameters(trigger.paramSchema ?? {})(rule.triggerParams, "triggerParams");
      refuseSecretTriggerParams(trigger.paramSchema ?? {}, params);
      scheduleOf(rule.triggerRef, params);
      storableJson(params, "triggerParams");
      return params;
    },
    () => checkWindow(rule.window, "window"),
    () => checkMaxStarts(rule.maxStarts, "maxStarts"),
    () => checkActiveHours(rule.activeHours, "activeHours"),
  );
  return { conditions, keys, triggerParams, window, maxStarts, activeHours };
}

/** The rules of packs. */
export const packRules: PackRules = {
  check: checkContents,
  loaded: (tx, rule) => syncTimer(tx, rule, { mayHavePassed: true }),
};

/** A rule is readable without access to secrets, and its trigger's parameters are no templates that could refer to one. */
function refuseSecretTriggerParams(schema: ParameterMap, params: JsonObject): void {
  const issues = findSecrets(schema, params).map(({ name }) => ({
    path: `triggerParams.${name}`,
    message: "is declared secret, and a rule cannot keep it secret: leave it out",
  }));
  if (issues.length > 0) throw new InvalidInputError(issues);
}

/** Runs every check and returns the results. Throws one InvalidInputError with all issues. */
export function runChecks<T extends readonly unknown[]>(...checks: { [K in keyof T]: () => T[K] }): T {
  const issues: Issue[] = [];
  const results = checks.map((check) => {
    try {
      return check();
    } catch (error) {
      if (!(error instanceof InvalidInputError)) throw error;
      issues.push(...error.issues);
      return null;
    }
  });
  if (issues.length > 0) throw new InvalidInputError(issues);
  return results as unknown as T; // without an issue every check has returned
}
