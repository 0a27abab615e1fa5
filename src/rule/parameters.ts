import { InvalidInputError, invalid } from "../errors.ts";
import { usesVariable } from "../lang/template.ts";
import type { Json, JsonObject } from "../lib/json.ts";
import { didYouMean } from "../lib/nearest.ts";
import { compileParameters, type ParameterMap } from "../schema/schema.ts";
import { findSecrets } from "../secrecy/find.ts";

/** What can be known of a rule before an event: literal parameters are checked whole, of templates only the names. Throws InvalidInputError. */
export function checkActionParams(
  { actionRef, actionParams }: { actionRef: string; actionParams: JsonObject },
  schema: ParameterMap | null,
): void {
  if (actionRef === "core.shell" && usesVariable(actionParams["command"] ?? null, "event")) {
    throw invalid(
      "actionParams.command",
      'must not contain anything of the event: give it as `args`, where the command finds it as "$1"',
    );
  }
  if (!schema) return;
  refuseWritten(schema, actionParams);
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

/** A rule is there for everybody to read. */
function refuseWritten(schema: ParameterMap, actionParams: JsonObject): void {
  const written = findSecrets(schema, actionParams).filter(({ value }) => !hasTemplate(value));
  if (written.length === 0) return;
  const message = 'is secret and must not be written into a rule: store a key, and give it as {{ key("its ref") }}';
  throw new InvalidInputError(written.map(({ name }) => ({ path: `actionParams.${name}`, message })));
}

function hasTemplate(value: Json): boolean {
  return JSON.stringify(value).includes("{{");
}
