import { z } from "zod";
import { didYouMean } from "./nearest.ts";

/** How many faults of one value are listed. */
const mostFaults = 100;
const nouns: Readonly<Record<string, string>> = {
  string: "a string",
  number: "a number",
  int: "a whole number",
  integer: "a whole number",
  bigint: "a whole number",
  boolean: "true or false",
  array: "a list",
  object: "a map",
  record: "a map",
  nan: "a number",
  undefined: "nothing",
  null: "null",
};
const formats: Readonly<Record<string, string>> = {
  url: "a URL such as https://example.org/a",
  datetime: "a time such as 2026-01-31T12:00:00Z",
};
const units: Readonly<Record<string, string>> = { string: "character", array: "item", set: "item", map: "entry" };

/** The message for a fault that a schema finds without one of its own: what was expected. Unknown fields get a line each, for `faultsOf`. */
export function explain(issue: z.core.$ZodRawIssue): string {
  switch (issue.code) {
    case "unrecognized_keys":
      return unknownFields(issue);
    case "invalid_value":
      return oneOf(issue.values, issue.input);
    case "invalid_type":
      return wrongType(issue);
    case "too_big":
      return `expected ${bound(issue, issue.maximum, issue.inclusive ? "at most" : "less than")}`;
    case "too_small":
      return `expected ${bound(issue, issue.minimum, issue.inclusive ? "at least" : "more than")}`;
    case "not_multiple_of":
      return `expected a multiple of ${issue.divisor}`;
    case "invalid_format":
      return issue.pattern !== undefined && formats[issue.format] === undefined
        ? `expected text that matches ${issue.pattern}`
        : `expected ${formats[issue.format] ?? `text in the format ${issue.format}`}`;
    case "invalid_union":
      return wrongUnion(issue);
    default:
      return "does not fit here";
  }
}

function unknownFields({ keys, inst }: z.core.$ZodRawIssue<z.core.$ZodIssueUnrecognizedKeys>): string {
  const known = inst instanceof z.ZodObject ? Object.keys(inst.shape) : [];
  const among = known.length === 0 ? "; expected no fields" : `; expected one of ${known.join(", ")}`;
  return keys
    .slice(0, mostFaults)
    .map((key) => `unknown field ${JSON.stringify(key)}${didYouMean(key, known) || among}`)
    .join("\n");
}

function oneOf(values: readonly unknown[], input: unknown): string {
  const known = values.map(String);
  const hint = typeof input === "string" && known.length > 1 ? didYouMean(input, known) : "";
  const expected = `expected ${known.length === 1 ? "" : "one of "}${known.join(", ")}${hint}`;
  return input === undefined ? `is required: ${expected}` : expected;
}

/** Says that a value, which is undefined if it is missing, is not of the type that is expected, by its name in JSON Schema or zod. */
export function wrongType({ expected, input }: { expected: string; input?: unknown }): string {
  const noun = nouns[expected] ?? expected;
  return input === undefined ? `is required: expected ${noun}` : `expected ${noun}, not ${given(input, expected)}`;
}

function given(value: unknown, expected: string): string {
  if (value === null) return "nothing";
  if (Array.isArray(value)) return "a list";
  // Which number it is is the fault; any other value may be a secret.
  const isFraction = typeof value === "number" && (expected === "int" || expected === "integer");
  if (isFraction || Number.isNaN(value)) return String(value);
  return nouns[typeof value] ?? typeof value;
}

/** Says how large or long a value of an origin such as `number`, `string` or `array` may be. */
export function bound(
  { origin, exact }: { origin: string; exact?: boolean | undefined },
  limit: unknown,
  words: string,
) {
  const unit = units[origin];
  if (unit === undefined) return `${nouns[origin] ?? origin} of ${words} ${limit}`;
  const plural = unit.endsWith("y") ? `${unit.slice(0, -1)}ies` : `${unit}s`;
  return `${exact ? "exactly" : words} ${limit} ${Number(limit) === 1 ? unit : plural}`;
}

/** The alternatives, where each is about the whole value; else the first fault within it. */
function wrongUnion({ errors, options, input }: z.core.$ZodRawIssue & { code: "invalid_union" }): string {
  if (Array.isArray(options)) return oneOf(options, undefined).replace("is required: ", "");
  const firsts = errors.flatMap(([first]) => first ?? []);
  const inner = firsts.find(({ path }) => path.length > 0);
  if (inner) return `${inner.path.map(String).join(".")}: ${inner.message}`;
  const expected = firsts.flatMap(({ message }) => /expected ([^,]+)/.exec(message)?.[1] ?? []);
  return expected.length === 0
    ? "does not fit here"
    : `expected ${[...new Set(expected)].join(" or ")}, not ${given(input, "")}`;
}

/** One fault of a value: where, whether the name of the field is meant and not what it holds, and what was expected. */
export interface Fault {
  path: PropertyKey[];
  atKey: boolean;
  message: string;
}

/** Returns the faults of a value that was checked with `explain`. */
export function faultsOf({ issues }: z.ZodError): Fault[] {
  return issues.flatMap(faultsOfIssue).slice(0, mostFaults);
}

function faultsOfIssue(issue: z.core.$ZodIssue): Fault[] {
  if (issue.code === "unrecognized_keys") {
    const messages = issue.message.split("\n");
    return messages.map((message, index) => ({ path: [...issue.path, issue.keys[index] ?? ""], atKey: true, message }));
  }
  const atKey = issue.code === "invalid_key";
  return [{ path: issue.path, atKey, message: (atKey && issue.issues[0]?.message) || issue.message }];
}

/** Returns the first fault of a value that was checked with `explain`, with its place, as one text. */
export function firstFault(error: z.ZodError): string {
  const [{ path, message } = { path: [], message: "" }] = faultsOf(error);
  return path.length === 0 ? message : `${path.map(String).join(".")}: ${message}`;
}
