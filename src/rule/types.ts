import { type Json, jsonType, parsePath, sameJson } from "../lib/json.ts";
import { didYouMean } from "../lib/nearest.ts";
import type { Parameter } from "../schema/parameter.ts";
import type { ParameterMap } from "../schema/schema.ts";

/** What is wrong, and what would be right. */
interface Remark {
  message: string;
  suggestion: string;
}

const typeNames = {
  string: "string",
  integer: "number",
  number: "number",
  boolean: "boolean",
  array: "list",
  object: "object",
} as const;
type TypeName = (typeof typeNames)[keyof typeof typeNames];

/** Returns the type of the values, as criteria name it; null: any. */
const typeOf = ({ type }: Parameter): TypeName | null => (type === "any" ? null : typeNames[type]);

/** Returns what the schema declares at the keys; the remark if it declares nothing there; null: anything. */
function declaredAt(schema: ParameterMap, keys: readonly string[]): Parameter | Remark | null {
  let properties: ParameterMap | undefined = schema;
  let parameter: Parameter | null = null;
  for (const [index, key] of keys.entries()) {
    const at = keys.slice(0, index).join(".");
    if (properties) {
      const next: Parameter | undefined = Object.hasOwn(properties, key) ? properties[key] : undefined;
      if (!next) return unknownKey(properties, key, at);
      parameter = next;
    } else if (parameter?.type === "array" && /^\d+$/.test(key)) {
      if (!parameter.items) return null;
      parameter = parameter.items;
    } else if (parameter === null || parameter.type === "any" || parameter.type === "object") return null;
    else return insideOf(parameter, key, at);
    properties = parameter.properties;
  }
  return parameter;
}

function unknownKey(properties: ParameterMap, key: string, at: string): Remark {
  const known = Object.keys(properties);
  const where = at === "" ? "the payload" : `"${at}"`;
  const near = didYouMean(key, known);
  return {
    message: `the trigger's schema has no "${key}" in ${where}`,
    suggestion: near === "" ? `Use one of ${known.join(", ")}.` : `Check the name${near}`,
  };
}

function insideOf(parameter: Parameter, key: string, at: string): Remark {
  const type = typeOf(parameter);
  const suggestion = type === "list" ? `Name a position, like "${at}.0".` : `Compare "${at}" itself.`;
  return { message: `"${at}" is a ${type} in the trigger's schema and has no "${key}"`, suggestion };
}

const isRemark = (found: Parameter | Remark | null): found is Remark => found !== null && "suggestion" in found;

/** Returns the remark about a path that the payload's schema does not declare; null if it does, or leaves it open. */
export function findUnknown(schema: ParameterMap, keys: readonly string[]): Remark | null {
  // The names of headers are found in any case.
  const [first, second = ""] = keys;
  const found = declaredAt(schema, keys);
  if (!isRemark(found)) return null;
  return first === "headers" && !isRemark(declaredAt(schema, [first, second.toLowerCase()])) ? null : found;
}

const onText = ["iequals", "startswith", "istartswith", "endswith", "iendswith", "regex", "iregex", "matchwildcard"];
const onTextOrList = ["contains", "ncontains", "icontains", "incontains"];
const ordering = ["lt", "lte", "gt", "gte"];

/** Returns the remark about a criterion that cannot hold, or cannot fail, for values of the declared type; null if it can. */
export function findMismatch(
  schema: ParameterMap,
  { field, operator, value }: { field: string; operator: string; value: Json },
): Remark | null {
  const parameter = declaredAt(schema, parsePath(field));
  if (parameter === null || isRemark(parameter)) return null;
  const type = typeOf(parameter);
  if (type === null) return null;
  const wanted = wantedTypes(operator, value);
  if (wanted === null || wanted.includes(type)) return findOutside(parameter, operator, value);
  const isOnValue = ["equals", "nequals", "in", "nin", ...ordering, "between"].includes(operator);
  const suggestion = isOnValue
    ? `Compare with a ${type}${asType(value, type)}.`
    : `Use an operator for a ${type}, like "equals", or another field.`;
  const needs = wanted.length === 0 ? "a list with values" : `a ${wanted.join(" or a ")}`;
  return {
    message: `"${operator}" needs ${needs} here, and "${field}" is a ${type} in the trigger's schema`,
    suggestion,
  };
}

function asType(value: Json, type: string): string {
  if (type === "number" && typeof value === "string" && value.trim() !== "" && Number.isFinite(Number(value)))
    return `: ${Number(value)}`;
  if (type === "boolean" && (value === "true" || value === "false")) return `: ${value}`;
  return type === "string" && (typeof value === "number" || typeof value === "boolean") ? `: "${value}"` : "";
}

/** Returns the types of values that the criterion can hold for or tell apart; null: every type. */
function wantedTypes(operator: string, value: Json): string[] | null {
  if (onText.includes(operator)) return ["string"];
  if (onTextOrList.includes(operator)) return typeof value === "string" ? ["string", "list"] : ["list"];
  if (ordering.includes(operator)) return [jsonType(value)];
  if (operator === "between") return Array.isArray(value) ? value.slice(0, 1).map(jsonType) : [];
  if (operator === "in" || operator === "nin") return Array.isArray(value) ? value.map(jsonType) : [];
  if (operator === "equals" || operator === "nequals") return [jsonType(value)];
  if (operator === "is_type") return [value === "integer" ? "number" : String(value)];
  return null;
}

/** An `enum` in the schema lists the values that the field can have. */
function findOutside({ enum: values }: Parameter, operator: string, value: Json): Remark | null {
  const compared = operator === "equals" || operator === "nequals" ? [value] : value;
  if (!values || !Array.isArray(compared) || !["equals", "nequals", "in", "nin"].includes(operator)) return null;
  if (compared.some((each) => values.some((known) => sameJson(known, each)))) return null;
  const shown = values.map((each) => JSON.stringify(each)).join(", ");
  return { message: "the trigger's schema does not list this value", suggestion: `Use one of ${shown}.` };
}
