import { InvalidInputError, invalid } from "../errors.ts";
import { usesVariable } from "../lang/template.ts";
import type { Json, JsonObject } from "../lib/json.ts";
import { didYouMean } from "../lib/nearest.ts";
import { compileParameters, type ParameterMap } from "../schema/schema.ts";
import { findSecrets } from "../secrecy/find.ts";

/** Checks a rule's parameters when it is saved: completely if they are literal, only their names if there are templates. Throws InvalidInputError. */
export function checkActionParams(
  { actionRef, actionParams }: { actionRef: string; actionParams: JsonObject },
  schema: ParameterMap | null,
): void {
  if (actionRef === "core.shell" && usesVariable(actionParams["command"] ?? null, "event")) {
    throw invalid(
      "actionParams.command",
      'must not use the event: pass its values as `args`, which the command reads as "$1"',
    );
  }
  if (!schema) return;
  refuseLiteralSecrets(schema, actionParams);
  if (!hasTemplate(actionParams)) {
    compileParameters(schema)(actionParams, "actionParams");
    return;
  }
  const known = Object.keys(schema);
  const unknown = Object.keys(actionParams).filter((name) => !(name in schema));
  const missing = known.filter((name) => schema[name]?.required && !(name in actionParams));
  const issues = [
    ...unknown.map((name) => ({
      path: `actionParams.${name}`,
      message: `${actionRef} has no such parameter${didYouMean(name, known)}`,
    })),
    ...missing.map((name) => ({ path: `actionParams.${name}`, message: "is required" })),
  ];
  if (issues.length > 0) throw new InvalidInputError(issues);
}

/** Returns whether a rule tells anything of what its events contain: whether they meet its conditions, or values in its templates. */
export function readsEvents({
  conditions,
  actionParams,
}: {
  conditions: readonly Json[];
  actionParams: JsonObject;
}): boolean {
  return conditions.length > 0 || usesVariable(actionParams, "event");
}

/** Rules are readable without access to keys, so they must not contain secrets. */
function refuseLiteralSecrets(schema: ParameterMap, actionParams: JsonObject): void {
  const literals = findSecrets(schema, actionParams).filter(({ value }) => !hasTemplate(value));
  if (literals.length === 0) return;
  const message = 'is secret and must not be literal in a rule: store a key, and refer to it as {{ key("its ref") }}';
  throw new InvalidInputError(literals.map(({ name }) => ({ path: `actionParams.${name}`, message })));
}

function hasTemplate(value: Json): boolean {
  return JSON.stringify(value).includes("{{");
}
