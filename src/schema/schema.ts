import { Ajv, type ErrorObject } from "ajv";
import formats from "ajv-formats";
import { InvalidInputError, type Issue } from "../errors.ts";
import { createCache } from "../lib/cache.ts";
import { type JsonObject, parsePath } from "../lib/json.ts";
import { didYouMean } from "../lib/nearest.ts";
import { compileRegex } from "../lib/regex.ts";
import { bound, wrongType } from "../lib/wording.ts";
import { issuesOf } from "./input.ts";
import { type Parameter, type ParameterMap, parameterRecord } from "./parameter.ts";

export type { ParameterMap } from "./parameter.ts";

/** Checks values and returns them with defaults filled in. Throws InvalidInputError at `${path}.<name>`. */
type CheckValues = (values: JsonObject, path: string) => JsonObject;

// Masking cannot distinguish a shorter value from ordinary text.
const minSecretLength = 6;
const maxIssues = 100;
const maxDepth = 10;
const compiled = createCache<CheckValues>(500);

/** Compiles the parameters of an action or trigger; unknown names are refused. Cached by content, at most 500. */
export function compileParameters(map: ParameterMap): CheckValues {
  return compiled(`closed ${JSON.stringify(map)}`, () => compile(map, false));
}

/** Compiles the schema of a trigger's payload; unknown fields are allowed. Cached by content, at most 500. */
export function compilePayloadSchema(map: ParameterMap): CheckValues {
  return compiled(`open ${JSON.stringify(map)}`, () => compile(map, true));
}

/** The parameter map of manifests and inputs: keywords must fit the type, patterns compile, and defaults be valid. */
export const parameterMap = parameterRecord.superRefine((map, context) => {
  for (const { path, message } of findFaults(map, "", 0)) {
    context.addIssue({ code: "custom", path: parsePath(path), message });
  }
});

function compile(map: ParameterMap, open: boolean): CheckValues {
  // A new instance, because ajv keeps the values and patterns of everything that an instance has compiled.
  const ajv = new Ajv({
    allErrors: true,
    verbose: true,
    useDefaults: true,
    ownProperties: true,
    strict: false,
    meta: false,
    validateSchema: false,
    code: { regExp: Object.assign(regExp, { code: "regExp" }) },
  });
  formats.default(ajv);
  const validate = ajv.compile<JsonObject>(objectSchema(map, open));
  const fills = JSON.stringify(map).includes('"default":');
  return (values, path) => {
    // Filling in defaults changes the validated object.
    const checked = fills ? structuredClone(values) : values;
    if (validate(checked)) return checked;
    throw new InvalidInputError((validate.errors ?? []).slice(0, maxIssues).map((error) => toIssue(error, path)));
  };
}

function regExp(pattern: string) {
  const { test } = compileRegex(pattern);
  // ajv treats two patterns with the same text as one.
  return { test, toString: () => pattern };
}

function objectSchema(map: ParameterMap, open: boolean): object {
  const entries = Object.entries(map);
  return {
    type: "object",
    properties: Object.fromEntries(entries.map(([name, parameter]) => [name, valueSchema(parameter, open)])),
    required: entries.filter(([, parameter]) => parameter.required).map(([name]) => name),
    additionalProperties: open,
  };
}

function valueSchema(parameter: Parameter, open: boolean): object {
  const list = parameter.type === "array";
  const minimumLength = parameter.secret ? Math.max(minSecretLength, parameter.min_length ?? 0) : parameter.min_length;
  const schema = {
    ...(parameter.properties ? objectSchema(parameter.properties, open) : {}),
    type: parameter.type === "any" ? undefined : parameter.type,
    default: parameter.default,
    enum: parameter.enum,
    minimum: parameter.minimum,
    maximum: parameter.maximum,
    [list ? "minItems" : "minLength"]: minimumLength,
    [list ? "maxItems" : "maxLength"]: parameter.max_length,
    pattern: parameter.pattern,
    format: parameter.format,
    items: parameter.items && valueSchema(parameter.items, open),
  };
  return Object.fromEntries(Object.entries(schema).filter(([, value]) => value !== undefined));
}

function toIssue(error: ErrorObject, path: string): Issue {
  const at = [path, ...parsePath(error.instancePath)].filter((key) => key !== "").join(".");
  const below = (name: string) => (at === "" ? name : `${at}.${name}`);
  switch (error.keyword) {
    case "required":
      return { path: below(String(error.params["missingProperty"])), message: "is required" };
    case "additionalProperties": {
      const name = String(error.params["additionalProperty"]);
      const known = Object.keys(error.parentSchema?.["properties"] ?? {});
      return { path: below(name), message: `there is no parameter of this name${didYouMean(name, known)}` };
    }
    case "enum":
      return { path: at, message: `must be one of ${JSON.stringify(error.params["allowedValues"]).slice(1, -1)}` };
    default:
      return { path: at, message: explainKeyword(error) };
  }
}

/** What a length or a size of a keyword is of. */
const origins: Readonly<Record<string, string>> = {
  ...{ minimum: "number", maximum: "number", minLength: "string", maxLength: "string" },
  ...{ minItems: "array", maxItems: "array" },
};

function explainKeyword({ keyword, params, data, message }: ErrorObject): string {
  const origin = origins[keyword];
  if (origin !== undefined) {
    return `expected ${bound({ origin }, params["limit"], keyword.startsWith("min") ? "at least" : "at most")}`;
  }
  if (keyword === "type") return wrongType({ expected: String(params["type"]), input: data });
  if (keyword === "pattern") return `expected text that matches ${params["pattern"]}`;
  if (keyword === "format") return `expected text in the format ${params["format"]}`;
  return message ?? `breaks the rule "${keyword}"`;
}

type Keyword = Exclude<keyof Parameter, "type" | "description" | "required" | "default" | "enum">;

const fitting: Record<Keyword, readonly Parameter["type"][]> = {
  minimum: ["integer", "number"],
  maximum: ["integer", "number"],
  min_length: ["string", "array"],
  max_length: ["string", "array"],
  pattern: ["string"],
  format: ["string"],
  items: ["array"],
  properties: ["object"],
  secret: ["string"],
  takes_secrets: ["string", "array", "object", "any"],
};

// Paths here are JSON pointers, so that they can be split into zod's paths.
function findFaults(map: ParameterMap, path: string, depth: number): Issue[] {
  if (depth > maxDepth) return [{ path, message: `parameters may be nested at most ${maxDepth} deep` }];
  return Object.entries(map).flatMap(([name, parameter]) => findParameterFaults(parameter, `${path}/${name}`, depth));
}

function findParameterFaults(parameter: Parameter, path: string, depth: number): Issue[] {
  const faults = [
    ...keywordFaults(parameter, path),
    ...rangeFaults(parameter, path),
    ...patternFaults(parameter, path),
  ];
  if (parameter.items) faults.push(...findFaults({ items: parameter.items }, path, depth + 1));
  if (parameter.properties) faults.push(...findFaults(parameter.properties, `${path}/properties`, depth + 1));
  return faults.length === 0 ? defaultFaults(parameter, path) : faults;
}

function keywordFaults(parameter: Parameter, path: string): Issue[] {
  return Object.entries(fitting)
    .filter(([keyword, fits]) => keyword in parameter && !fits.includes(parameter.type))
    .map(([keyword, fits]) => ({
      path: `${path}/${keyword}`,
      message: `is for type ${fits.join(" and ")}, not for ${parameter.type}`,
    }));
}

function rangeFaults(parameter: Parameter, path: string): Issue[] {
  const { minimum = -Infinity, maximum = Infinity, min_length = 0, max_length = Infinity } = parameter;
  const faults: Issue[] = [];
  if (minimum > maximum) faults.push({ path: `${path}/maximum`, message: "is below minimum" });
  if (min_length > max_length) faults.push({ path: `${path}/max_length`, message: "is below min_length" });
  return faults;
}

function patternFaults({ pattern }: Parameter, path: string): Issue[] {
  return pattern === undefined ? [] : issuesOf(() => compileRegex(pattern, `${path}/pattern`));
}

function defaultFaults(parameter: Parameter, path: string): Issue[] {
  const value = parameter.default;
  if (value === undefined) return [];
  const check = compileParameters({ default: { ...parameter, default: undefined } });
  return issuesOf(() => check({ default: value }, "")).map((issue) => ({
    path: `${path}/${issue.path.replaceAll(".", "/")}`,
    message: issue.message,
  }));
}
