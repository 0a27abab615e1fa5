import { InvalidInputError, type Issue } from "../errors.ts";
import type { Json } from "./json.ts";

/** The deepest nesting of a JSON value: recursive code must be able to walk through whatever is stored. */
export const maxJsonDepth = 200;

const mostIssues = 10;
/** Keys of a path that are shown; a value that is nested too deeply has too many. */
const longestPath = 20;
/** Whether a text can contain a number that a double does not hold; few do, and looking at each number takes three times as long. */
const mayBeInexact = /\d{16}|\d[eE][+-]?\d{3}/;

/** Stands for a number that would be changed by reading it. */
class Inexact {
  readonly source: string;
  constructor(source: string) {
    this.source = source;
  }
}

/**
 * Parses JSON text. Throws InvalidInputError, with paths below `path`, for what is not JSON, is nested deeper than `maxJsonDepth`, or
 * contains a number that would be changed: a whole number whose digits a double cannot hold, one that is too large, or so small that it
 * would become 0. Decimal fractions are rounded to doubles as usual.
 */
export function parseJson(text: string, path = ""): Json {
  let value: unknown;
  try {
    value = parseExactly(text);
  } catch (error) {
    const reason =
      error instanceof RangeError ? tooDeep : `is not JSON: ${error instanceof Error ? error.message : error}`;
    throw new InvalidInputError([{ path, message: reason }], { cause: error });
  }
  requireShape(value, path);
  return value as Json;
}

/**
 * Parses JSON text whose depth and numbers `requireShape` checks later: numbers that would be changed become values that it refuses.
 * Throws SyntaxError, or RangeError for text that is nested far too deeply.
 */
export function parseExactly(text: string): unknown {
  return mayBeInexact.test(text) ? JSON.parse(text, exactNumbers) : JSON.parse(text);
}

/** The reviver of `parseExactly`, for parsers that take one. */
export function exactNumbers(_key: string, value: unknown, context?: { source?: string }): unknown {
  const source = typeof value === "number" ? context?.source : undefined;
  return source !== undefined && inexactness(source) !== null ? new Inexact(source) : value;
}

/** Throws InvalidInputError, with paths below `path`, if the value is nested too deeply or contains numbers that JSON does not have. */
export function requireShape(value: unknown, path = ""): void {
  const issues: Issue[] = [];
  const keys: (string | number)[] = path === "" ? [] : [path];
  const enter = (item: unknown, key: string | number, depth: number) => {
    if (typeof item === "string" || issues.length >= mostIssues) return;
    keys.push(key);
    visit(item, depth);
    keys.pop();
  };
  const visit = (item: unknown, depth: number) => {
    const fault = faultOf(item, depth);
    if (fault !== null) issues.push({ path: keys.slice(0, longestPath).join("."), message: fault });
    else if (Array.isArray(item)) for (let i = 0; i < item.length; i += 1) enter(item[i], i, depth + 1);
    else if (isRecord(item)) for (const name of Object.keys(item)) enter(item[name], name, depth + 1);
  };
  visit(value, 1);
  if (issues.length > 0) throw new InvalidInputError(issues);
}

const isRecord = (value: unknown): value is Record<string, unknown> => typeof value === "object" && value !== null;

function faultOf(value: unknown, depth: number): string | null {
  if (typeof value === "number" && !Number.isFinite(value)) return `${value} is not a JSON number`;
  if (!isRecord(value)) return null;
  if (value instanceof Inexact) return inexactness(value.source);
  return depth > maxJsonDepth ? tooDeep : null;
}

/** Returns why a number's literal (of JSON, GraphQL or YAML) cannot be read as a double without changing it; null when it can. */
export function inexactness(source: string): string | null {
  const value = Number(source);
  if (Number.isNaN(value)) return `${shown(source)} is not a JSON number`;
  if (!Number.isFinite(value)) return `the number ${shown(source)} is too large`;
  if (value === 0 && /^[^eE]*[1-9]/.test(source)) return `the number ${shown(source)} is too small: it would become 0`;
  const [, digits] = /^[-+]?(\d+|0x[\da-f]+|0o[0-7]+)$/i.exec(source) ?? [];
  if (digits !== undefined && !Number.isSafeInteger(value) && BigInt(digits) !== BigInt(Math.abs(value))) {
    return `the number ${shown(source)} would lose digits: send whole numbers beyond 2^53 as text`;
  }
  return null;
}

const tooDeep = `is nested deeper than ${maxJsonDepth} levels`;
const shown = (source: string) => (source.length > 40 ? `${source.slice(0, 40)}…` : source);
