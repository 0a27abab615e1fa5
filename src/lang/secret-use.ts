import { InvalidInputError, type Issue } from "../errors.ts";
import { parsePath } from "../lib/json.ts";
import type { Parameter, ParameterMap } from "../schema/parameter.ts";
import type { SecretPlace } from "./template.ts";

/** A secret has up to 16 KiB. The size of what is rendered is not limited itself, because the limit would tell how long a secret is. */
const maxUses = 50;

/** The action whose parameters the templates are: secrets are taken where all its schemas say so. */
interface Receiver {
  action: string;
  schemas: readonly (ParameterMap | null)[];
}

/**
 * Requires that every text with secrets is a parameter that takes them, so that nothing but a masked text ever depends on a secret: a text
 * declared `secret` or `takes_secrets`, without a rule on its contents whose violation would tell about them. Throws InvalidInputError with
 * an issue for each place, and at `path` for too many.
 */
export function requireSecretPlaces(places: readonly SecretPlace[], { action, schemas }: Receiver, path: string): void {
  const issues = places.flatMap(({ path, pointer, names }): Issue[] => {
    const refusal = schemas.map((schema) => reasonToRefuse(schema, parsePath(pointer))).find((each) => each !== null);
    return refusal ? [{ path, message: `cannot contain ${names.join(", ")}, because ${action} ${refusal}` }] : [];
  });
  if (places.reduce((sum, { uses }) => sum + uses, 0) > maxUses) {
    issues.push({ path, message: `may use secrets at most ${maxUses} times` });
  }
  if (issues.length > 0) throw new InvalidInputError(issues);
}

/** Returns why the action takes no secret at this place, as the end of a sentence about it; null when it takes one. */
function reasonToRefuse(schema: ParameterMap | null, keys: readonly string[]): string | null {
  let parameter: Parameter | null = { type: "object", properties: schema ?? {} };
  let takes = false;
  const rules: string[] = [];
  for (const key of keys) {
    const within: Parameter | undefined = parameter?.properties ? parameter.properties[key] : parameter?.items;
    if (!within && (parameter?.properties || !takes)) return undeclared;
    // What is not described any further is like what contains it.
    parameter = within ?? null;
    if (!parameter) continue;
    takes = parameter.secret === true || parameter.takes_secrets === true;
    rules.push(...rulesOnContents(parameter));
  }
  if (!takes || (parameter && !isText(parameter))) return undeclared;
  return rules[0] === undefined ? null : `checks its contents (${rules[0]}), and a refusal would tell about them`;
}

const undeclared =
  "does not declare it as a text that takes secrets (secret: true; takes_secrets: true to show its other values)";

const isText = ({ type }: Parameter) => type === "string" || type === "any";

function rulesOnContents(parameter: Parameter): string[] {
  const rules = ["enum", "min_length", "max_length", "pattern", "format"] as const;
  return rules.filter((rule) => parameter[rule] !== undefined && (rule === "enum" || isText(parameter)));
}
