import type { WindowDefinition } from "../catalog/window.ts";
import { InvalidInputError } from "../errors.ts";
import { celMembers } from "../lang/cel.ts";
import { normaliseConditions } from "../lang/criteria.ts";
import { criterionOperators, synonyms } from "../lang/operators.ts";
import { templateMembers } from "../lang/template.ts";
import { type Json, type JsonObject, parsePath } from "../lib/json.ts";
import type { ParameterMap } from "../schema/schema.ts";
import { checkActiveHours } from "./active-hours.ts";
import { runChecks } from "./check.ts";
import { type LintedKind, lintBackstop, lintHours, type OtherRules } from "./lint-kinds.ts";
import { checkActionParams } from "./parameters.ts";
import { contradictionsIn } from "./satisfiable.ts";
import { findMismatch, findUnknown } from "./types.ts";
import { checkWindow } from "./window.ts";

/** The kinds of findings. An `invalid` rule cannot be saved; every other finding is a warning. */
export const findingKinds = [
  "invalid",
  "unknown_path",
  "type_mismatch",
  "ignored_value",
  "contradiction",
  "unreachable",
] as const;

/** What is probably wrong with a rule: its place, such as `conditions.0.value`, what it is, and what would be right. */
export interface Finding {
  kind: (typeof findingKinds)[number];
  path: string;
  message: string;
  suggestion: string;
}

/** What the linter reads of a rule. */
export interface LintedRule extends LintedKind {
  condition: "any" | "all";
  conditions: readonly Json[];
  actionRef: string;
  actionParams: JsonObject;
  /** Its window; none by default. */
  window?: unknown;
  /** Its active hours; none by default. */
  activeHours?: unknown;
}

/** The schemas to compare a rule with; null: unknown, or one that declares nothing. */
export interface LintSchemas {
  payload: ParameterMap | null;
  parameters: ParameterMap | null;
  /** The other rules of its trigger; unknown by default. */
  others?: OtherRules | null;
}

const maxFindings = 100;

/** Returns the first hundred findings about a rule, saved or not: what cannot be saved, or else what is probably a mistake. Has no effect. */
export function lintRule(rule: LintedRule, schemas: LintSchemas): Finding[] {
  const ignored = findIgnored(rule.conditions, "conditions");
  try {
    const [conditions, window, activeHours] = runChecks(
      () => normaliseConditions(rule.conditions, "conditions"),
      () => checkWindow(rule.window, "window"),
      () => checkActiveHours(rule.activeHours, "activeHours"),
      () => templateMembers(rule.actionParams, "actionParams"),
      () => checkActionParams(rule, schemas.parameters),
    );
    return [
      ...ignored,
      ...lintList({ list: conditions, path: "conditions", kind: rule.condition }, schemas.payload),
      ...lintTemplates(rule.actionParams, schemas.payload),
      ...lintWindow(window, schemas.payload),
      ...lintHours(activeHours, rule),
      ...lintBackstop(rule, schemas.others ?? null),
    ].slice(0, maxFindings);
  } catch (error) {
    if (!(error instanceof InvalidInputError)) throw error;
    const faults = error.issues.map(({ path, message }): Finding => {
      return { kind: "invalid", path, message, suggestion: "Correct it: a rule with it cannot be saved." };
    });
    return [...faults, ...ignored].slice(0, maxFindings);
  }
}

/** Conditions as they were written, or as they are stored. */
function findIgnored(list: readonly Json[], path: string): Finding[] {
  return list.flatMap((item, index) => ignoredIn(item, `${path}.${index}`));
}

function ignoredIn(item: Json, path: string): Finding[] {
  if (typeof item !== "object" || item === null || Array.isArray(item)) return [];
  const { any, all, not, operator, value } = item;
  if (Array.isArray(any)) return findIgnored(any, `${path}.any`);
  if (Array.isArray(all)) return findIgnored(all, `${path}.all`);
  if (not !== undefined) return ignoredIn(not, `${path}.not`);
  const written = typeof operator === "string" ? operator.toLowerCase() : "";
  const name = synonyms[written] ?? written;
  const takesValue = Object.hasOwn(criterionOperators, name) ? criterionOperators[name]?.takesValue : true;
  if (value === undefined || takesValue !== false) return [];
  const suggestion = 'Leave out the value, or compare with it by "equals".';
  return [{ kind: "ignored_value", path: `${path}.value`, message: `"${name}" ignores its value`, suggestion }];
}

/** A list of conditions in the canonical form, and how they are joined. */
interface Group {
  list: readonly JsonObject[];
  path: string;
  kind: "any" | "all";
}

function lintList(group: Group, payload: ParameterMap | null): Finding[] {
  const each = group.list.flatMap((item, index) => lintOne(item, `${group.path}.${index}`, payload));
  return [...each, ...contradictionsIn(group)];
}

function lintOne(item: JsonObject, path: string, payload: ParameterMap | null): Finding[] {
  for (const kind of ["any", "all"] as const) {
    // Canonical: a list of conditions, all of them objects.
    if (item[kind]) return lintList({ list: item[kind] as JsonObject[], path: `${path}.${kind}`, kind }, payload);
  }
  if (item["not"]) return lintOne(item["not"] as JsonObject, `${path}.not`, payload);
  if (payload === null) return [];
  if (typeof item["expression"] === "string") {
    const chains = celMembers(item["expression"], path).map((chain) => ({ path: `${path}.expression`, chain }));
    return lintChains(chains, payload);
  }
  const field = String(item["field"]);
  const unknown = findUnknown(payload, parsePath(field));
  if (unknown) return [{ kind: "unknown_path", path: `${path}.field`, ...unknown }];
  const mismatch = findMismatch(payload, { field, operator: String(item["operator"]), value: item["value"] ?? null });
  return mismatch ? [{ kind: "type_mismatch", path: `${path}.value`, ...mismatch }] : [];
}

function lintTemplates(actionParams: JsonObject, payload: ParameterMap | null): Finding[] {
  return payload === null ? [] : lintChains(templateMembers(actionParams, "actionParams"), payload);
}

/** The answers of another trigger are not compared with its schema. */
function lintWindow(window: WindowDefinition | null, payload: ParameterMap | null): Finding[] {
  if (window === null || payload === null) return [];
  const keys = (key: string | undefined, path: string) =>
    key === undefined
      ? []
      : lintChains(
          celMembers(key, path).map((chain) => ({ path, chain })),
          payload,
        );
  const { of } = window.absence ?? {};
  if (!of || of.trigger !== undefined) return keys(window.key, "window.key");
  const path = "window.absence.of";
  const list = of.conditions as JsonObject[]; // canonical, as checkWindow returns them
  const answers = lintList({ list, path: `${path}.conditions`, kind: of.condition }, payload);
  return [...keys(window.key, "window.key"), ...answers, ...keys(of.key, `${path}.key`)];
}

/** Every member of a longer chain is a chain too, so that a path is found more than once. */
function lintChains(chains: readonly { path: string; chain: string[] }[], payload: ParameterMap): Finding[] {
  const found = new Map<string, Finding>();
  for (const { path, chain } of chains) {
    const [variable, member, ...keys] = chain;
    if (variable !== "event" || member !== "payload") continue;
    const unknown = findUnknown(payload, keys);
    if (unknown) found.set(`${path} ${unknown.message}`, { kind: "unknown_path", path, ...unknown });
  }
  return [...found.values()];
}
