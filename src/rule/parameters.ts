import { InvalidInputError, invalid } from "../errors.ts";
import { usesVariable } from "../lang/template.ts";
import type { Json, JsonObject } from "../lib/json.ts";
import { didYouMean } from "../lib/nearest.ts";
import type { Parameter } from "../schema/parameter.ts";
import { compileParameters, type ParameterMap } from "../schema/schema.ts";
import { findSecrets } from "../secrecy/find.ts";

/** Checks a rule's parameters when it is saved: those without templates completely, of the others only the names. Throws InvalidInputError. */
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
  const literals = Object.fromEntries(
    Object.entries(actionParams).filter(([name, value]) => Object.hasOwn(schema, name) && !hasTemplate(value)),
  );
  const ofLiterals = Object.fromEntries(Object.keys(literals).map((name) => [name, schema[name] as Parameter]));
  compileParameters(ofLiterals)(literals, "actionParams");
  const known = Object.keys(schema);
  const unknown = Object.keys(actionParams).filter((name) => !Object.hasOwn(schema, name));
  const missing = known.filter((name) => schema[name]?.required && !Object.hasOwn(actionParams, name));
  const issues = [
    ...unknown.map((name) => ({
      path: `actionParams.${name}`,
      message: `${actionRef} has no such parameter${didYouMean(name, known)}`,
    })),
    ...missing.map((name) => ({ path: `actionParams.${name}`, message: "is required" })),
  ];
  if (issues.length > 0) throw new InvalidInputError(issues);
}

/**
 * Returns the parameters that a rule's templates gave, as their schema takes them: where it wants text, numbers and booleans become text;
 * null leaves out what is not required. Everything else is unchanged, and left to the check that follows.
 */
export function fitParameters(schema: ParameterMap, values: JsonObject): JsonObject {
  const fitted = Object.entries(values).flatMap(([name, value]): [string, Json][] => {
    const parameter = Object.hasOwn(schema, name) ? schema[name] : undefined;
    if (value === null && parameter && parameter.type !== "any" && !parameter.required) return [];
    return [[name, parameter ? fitValue(parameter, value) : value]];
  });
  return Object.fromEntries(fitted);
}

function fitValue({ type, items, properties }: Parameter, value: Json): Json {
  if (type === "string" && (typeof value === "number" || typeof value === "boolean")) return String(value);
  if (Array.isArray(value)) return items ? value.map((item) => fitValue(items, item)) : value;
  return properties && typeof value === "object" && value !== null ? fitParameters(properties, value) : value;
}

/** Returns whether a rule tells anything of what its events contain: whether they meet its conditions or, as a backstop, those of others, what its window groups them by, or values in its templates. */
export function readsEvents({
  conditions,
  actionParams,
  window,
  backstop,
}: {
  conditions: readonly Json[];
  actionParams: JsonObject;
  window: { key?: string | undefined } | null;
  backstop: boolean;
}): boolean {
  return backstop || conditions.length > 0 || window?.key !== undefined || usesVariable(actionParams, "event");
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
