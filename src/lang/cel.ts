import {
  TypeError as CelTypeError,
  Environment,
  EvaluationError,
  ParseError,
  type ParseResult,
} from "@marcbachmann/cel-js";
import { invalid, Refusal } from "../errors.ts";
import type { Json, JsonObject } from "../lib/json.ts";
import { didYouMean } from "../lib/nearest.ts";
import { compileRegex } from "../lib/regex.ts";
import { collectMembers, collectVariables, findInexact, findRefused } from "./cel-ast.ts";
import { charge, runMetered } from "./cel-meter.ts";
import { type Meter, unitsPerStep } from "./meter.ts";

/** The variables that an expression may use. The context provides their values. */
export interface CelScope {
  readonly variables: readonly string[];
}

/** The scope of the expressions in a rule's action parameters. */
export const ruleScope: CelScope = { variables: ["event", "rule", "trigger", "pack", "now"] };

/** An expression failed at run time; the message contains the reason and the position. */
export class ExpressionError extends Error {
  override readonly name = "ExpressionError";
}

const maxLength = 10_000;
/** Compiling a part of a pattern takes about a microsecond. */
const unitsPerPart = 256;
const environments = new WeakMap<CelScope, Environment>();

/**
 * Compiles a CEL expression. The returned function takes the values of the scope's variables (a Date is a timestamp),
 * returns JSON (a timestamp as ISO text, a duration as "3600s"), charges its work to the meter, and throws ExpressionError. Throws
 * InvalidInputError at `path`, naming the position, for an invalid expression.
 */
export function compileCel(
  source: string,
  path = "",
  scope = ruleScope,
): (context: Record<string, unknown>, meter: Meter) => Json {
  const program = parse(source, path, scope);
  return (context, meter) => {
    try {
      return runMetered(program.ast, meter, () => toJson(program(context), meter));
    } catch (error) {
      throw new ExpressionError(reason(error), { cause: error });
    }
  };
}

/** Returns the names of the variables in an expression. Throws InvalidInputError like compileCel. */
export function celVariables(source: string, path = "", scope = ruleScope): Set<string> {
  const names = new Set<string>();
  collectVariables(parse(source, path, scope).ast, names);
  return names;
}

/** Returns every chain of members in an expression, such as `["pack", "config", "region"]`. Throws InvalidInputError like compileCel. */
export function celMembers(source: string, path: string, scope = ruleScope): string[][] {
  const chains: string[][] = [];
  collectMembers(parse(source, path, scope).ast, chains);
  return chains;
}

function parse(source: string, path: string, scope: CelScope): ParseResult {
  if (source.length > maxLength) throw invalid(path, `an expression may have at most ${maxLength} characters`);
  try {
    const program = environment(scope).parse(source);
    const refused = findRefused(program.ast) ?? findInexact(program.ast);
    if (refused) throw invalid(path, located(refused.message, refused.at));
    const checked = program.check();
    if (checked.error) throw checked.error;
    return program;
  } catch (error) {
    if (error instanceof Refusal) throw error;
    throw invalid(path, `${reason(error)}${suggestion(error, source, scope)}`);
  }
}

/** `headers.X-GitHub-Event` is a subtraction. */
function isAfterDash({ range }: CelTypeError, source: string): boolean {
  return range !== undefined && /[\w\])]-$/.test(source.slice(0, range.start));
}

function suggestion(error: unknown, source: string, scope: CelScope): string {
  if (!(error instanceof CelTypeError) || error.code !== "unknown_variable") return "";
  const name = /^Unknown variable: (\w+)$/.exec(error.summary)?.[1] ?? "";
  if (isAfterDash(error, source)) return '; write a name with "-" in brackets: event.payload.headers["x-name"]';
  return didYouMean(name, scope.variables) || `; known names: ${scope.variables.join(", ")}`;
}

function reason(error: unknown): string {
  if (error instanceof ParseError || error instanceof EvaluationError || error instanceof CelTypeError) {
    const summary = `${error.summary.replaceAll(/\bdyn<(\w+)>/g, "$1")}${hint(error)}`;
    return error.range ? located(summary, error.range.start) : summary;
  }
  return error instanceof Error ? error.message : String(error);
}

/** Says what is meant where the mistake is a usual one. */
function hint({ summary }: { summary: string }): string {
  const [, key = ""] = /^No such key: (\S+)$/.exec(summary) ?? [];
  if (!/[A-Z]/.test(key) || !key.includes("-")) return "";
  return `; the names of headers are in lower case: "${key.toLowerCase()}"`;
}

function located(message: string, at: number): string {
  return `${message} (at character ${at + 1})`;
}

function environment(scope: CelScope): Environment {
  const known = environments.get(scope);
  if (known) return known;
  const created = new Environment({ homogeneousAggregateLiterals: false, limits: { maxAstNodes: 500, maxDepth: 30 } });
  for (const name of scope.variables) created.registerVariable(name, "dyn");
  registerMixedNumbers(created);
  created.registerFunction("string.regex(string): bool", (text: string, pattern: string) => {
    const compiled = compileRegex(pattern, "", { beforeCompiling: (parts) => charge(unitsPerPart * parts) });
    charge(compiled.steps(text));
    return compiled.test(text);
  });
  environments.set(scope, created);
  return created;
}

// Every JSON number is a double, and every integer literal in an expression is an int.
function registerMixedNumbers(to: Environment): void {
  const arithmetic: Record<string, (a: number, b: number) => number> = {
    "+": (a, b) => a + b,
    "-": (a, b) => a - b,
    "*": (a, b) => a * b,
    "/": (a, b) => a / b,
    "%": (a, b) => a % b,
  };
  for (const [operator, compute] of Object.entries(arithmetic)) {
    const mixed = (a: number | bigint, b: number | bigint) => compute(Number(a), Number(b));
    to.registerOperator(`int ${operator} double: double`, mixed);
    to.registerOperator(`double ${operator} int: double`, mixed);
  }
  to.registerOperator("double % double: double", (a: number, b: number) => a % b);
  // Loose on purpose: between a bigint and a number it compares the exact values.
  // biome-ignore lint/suspicious/noDoubleEquals: see above
  to.registerOperator("int == double: bool", (a: bigint, b: number) => a == (b as unknown));
}

function toJson(value: unknown, meter: Meter): Json {
  meter.charge(unitsPerStep + (typeof value === "string" ? value.length : 0));
  switch (typeof value) {
    case "string":
    case "boolean":
      return value;
    case "number":
      if (Number.isFinite(value)) return value;
      throw new ExpressionError(`the result ${value} is not a JSON number; was something divided by zero?`);
    case "bigint":
      return exactNumber(value);
    case "object":
      return value === null ? null : structureToJson(value, meter);
    default:
      throw new ExpressionError(`the result is a ${typeof value}, which JSON cannot hold`);
  }
}

function structureToJson(value: object, meter: Meter): Json {
  if (Array.isArray(value)) return value.map((item) => toJson(item, meter));
  if (value instanceof Date) return value.toISOString();
  if (value instanceof Uint8Array) return Buffer.from(value).toString("base64");
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype === Object.prototype || prototype === null) {
    const entries: [string, Json][] = Object.entries(value).map(([key, item]) => {
      meter.charge(key.length);
      return [key, toJson(item, meter)];
    });
    return Object.fromEntries(entries) satisfies JsonObject;
  }
  const primitive: unknown = value.valueOf();
  if (typeof primitive === "bigint") return exactNumber(primitive);
  // The other types of CEL: a duration converts itself to seconds, a type has no JSON form.
  if (typeof primitive === "number") return String(value);
  throw new ExpressionError("the result is a type, which JSON cannot hold");
}

function exactNumber(value: bigint): number {
  const number = Number(value);
  if (Number.isSafeInteger(number)) return number;
  throw new ExpressionError(`the whole number ${value} is too large for JSON to hold exactly`);
}
