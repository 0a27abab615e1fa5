import type { Json, JsonObject } from "../../lib/json.ts";
import type { Parameter, ParameterMap } from "../../schema/parameter.ts";
import { parameterMap } from "../../schema/schema.ts";
import { booleanOf, listOf, objectOf, textOf } from "./source.ts";

/** A converted map of parameters; `notes` says what ours lack, and `refused` which names have no parameter, and why. */
export interface Converted {
  parameters: ParameterMap;
  notes: string[];
  refused: Map<string, string>;
}

const types: Readonly<Record<string, Parameter["type"]>> = {
  ...{ string: "string", integer: "integer", number: "number", float: "number", boolean: "boolean" },
  ...{ object: "object", array: "array", list: "array", any: "any" },
};
const keywords = {
  ...{ minimum: "minimum", maximum: "maximum", minLength: "min_length", maxLength: "max_length" },
  ...{ minItems: "min_length", maxItems: "max_length", pattern: "pattern" },
} as const;
const formats = new Set("date-time date time duration uri email hostname ipv4 ipv6 uuid".split(" "));
/** What a schema may say that has no effect, or is handled by others. */
const silent = new Set(
  "type description title required default enum secret immutable position items properties format name examples example additionalItems".split(
    " ",
  ),
);

/** Whether values may have fields that their schema does not name. */
interface Openness {
  open: boolean;
}

/** Converts StackStorm's parameters by name. With `open`, objects may have more fields than are described, as payloads do. */
export function convertParameters(source: JsonObject, { open }: Openness): Converted {
  const parameters: ParameterMap = {};
  const notes: string[] = [];
  const refused = new Map<string, string>();
  for (const [name, value] of Object.entries(source)) {
    const note = (message: string) => notes.push(`${name}: ${message}`);
    const parameter = fitted(name, convert(objectOf(value), { open, note, depth: 0 }), note);
    if (parameter) parameters[name] = parameter;
    else refused.set(name, "its name must be letters, digits, _ or -, and begin with a letter or _");
  }
  return { parameters, notes, refused };
}

interface Context extends Openness {
  note(message: string): void;
  depth: number;
}

function convert(schema: JsonObject, context: Context): Parameter {
  const { note, depth } = context;
  const type = typeOf(schema, note);
  const parameter: Parameter = { type };
  const description = textOf(schema["description"]);
  if (description) parameter.description = description.slice(0, 10_000);
  if (booleanOf(schema["required"], false)) parameter.required = true;
  if (Array.isArray(schema["enum"]) && schema["enum"].length > 0) parameter.enum = schema["enum"];
  if (booleanOf(schema["secret"], false)) {
    if (type === "string") parameter.secret = true;
    else note(`only texts can be secret, and it is of type ${type}`);
  }
  for (const [theirs, ours] of Object.entries(keywords)) {
    const value = schema[theirs];
    if (value !== undefined) Object.assign(parameter, { [ours]: value });
  }
  const format = textOf(schema["format"]);
  if (format && formats.has(format)) parameter.format = format as NonNullable<Parameter["format"]>;
  const unknown = Object.keys(schema).filter(
    (key) => !silent.has(key) && !Object.hasOwn(keywords, key) && key !== "additionalProperties",
  );
  if (unknown.length > 0) note(`${unknown.join(", ")} of its schema has no counterpart`);
  if (depth < 8) nest(parameter, schema, context);
  const value = defaultOf(schema["default"], parameter);
  if (value !== undefined) parameter.default = value;
  return parameter;
}

function typeOf(schema: JsonObject, note: Context["note"]): Parameter["type"] {
  const given = Array.isArray(schema["type"]) ? schema["type"].filter((each) => each !== "null") : [schema["type"]];
  const [only] = given;
  if (given.length > 1) {
    note(`it may be of several types (${given.join(", ")}) and is not checked`);
    return "any";
  }
  if (only === undefined || only === "null" || only === null) return schema["properties"] ? "object" : "any";
  const type = typeof only === "string" && Object.hasOwn(types, only) ? types[only] : undefined;
  if (type) return type;
  note(`the type ${JSON.stringify(only)} is unknown, and it is not checked`);
  return "any";
}

/** Adds what lists and objects contain. */
function nest(parameter: Parameter, schema: JsonObject, context: Context): void {
  const below = { ...context, depth: context.depth + 1 };
  if (parameter.type === "array" && !Array.isArray(schema["items"]) && schema["items"]) {
    parameter.items = withoutRequired(convert(objectOf(schema["items"]), below));
  }
  if (parameter.type !== "object" || !schema["properties"]) return;
  // Ours refuse fields that are not described.
  const closed = schema["additionalProperties"] === false;
  if (!closed && !context.open) {
    context.note("its fields are not checked, because it may have others");
    return;
  }
  const names = new Set(listOf(schema["required"]).map(String));
  parameter.properties = Object.fromEntries(
    Object.entries(objectOf(schema["properties"])).map(([name, value]) => {
      const field = convert(objectOf(value), below);
      return [name, names.has(name) ? { ...field, required: true } : field];
    }),
  );
}

function withoutRequired({ required: _, ...parameter }: Parameter): Parameter {
  return parameter;
}

/** Returns a default with the type of its parameter, as StackStorm casts it; undefined for none. */
function defaultOf(value: Json | undefined, { type, secret }: Parameter): Json | undefined {
  if (value === undefined || value === null || (secret && value === "")) return undefined;
  if (type === "boolean") return typeof value === "string" ? booleanOf(value, value === "1") : value;
  if ((type === "integer" || type === "number") && typeof value === "string" && value.trim() !== "") {
    return Number.isNaN(Number(value)) ? value : Number(value);
  }
  if (type === "string" && typeof value !== "string")
    return typeof value === "object" ? JSON.stringify(value) : String(value);
  return value;
}

/** Returns the parameter without what does not fit its type; null when even then its name is unfit. */
function fitted(name: string, parameter: Parameter, note: Context["note"]): Parameter | null {
  let candidate: Parameter = parameter;
  for (let attempt = 0; attempt < 20; attempt++) {
    const { error } = parameterMap.safeParse({ [name]: candidate });
    if (!error) return candidate;
    const [issue] = error.issues;
    const keyword = String(issue?.path[1] ?? "");
    if (issue === undefined || keyword === "" || keyword === "type" || !Object.hasOwn(candidate, keyword)) break;
    note(`${keyword} is left out, because it ${issue.message}`);
    candidate = Object.fromEntries(
      Object.entries(candidate).filter(([key]) => key !== keyword),
    ) as unknown as Parameter;
  }
  const plain: Parameter = { type: "any", ...(parameter.required ? { required: true } : {}) };
  if (!parameterMap.safeParse({ [name]: plain }).success) return null;
  note("it is not checked, because its schema does not fit");
  return plain;
}
