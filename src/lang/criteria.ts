import { InvalidInputError, type Issue, invalid } from "../errors.ts";
import { ABSENT, type Json, type JsonObject, jsonType, parsePath } from "../lib/json.ts";
import { didYouMean } from "../lib/nearest.ts";
import { type CelScope, compileCel } from "./cel.ts";
import { findField, readField } from "./field.ts";
import { createMeter, ExhaustedError, type Meter, unitsPerStep } from "./meter.ts";
import { criterionOperators, synonyms } from "./operators.ts";
import { quote } from "./quote.ts";

/**
 * The result of one criterion, with the expected and the actual value as `quote` returns them. `actual` is missing when the field is
 * absent; `error` is why the criterion could not be evaluated.
 */
export interface CriterionOutcome {
  path: string;
  operator: string;
  expected: Json;
  actual?: Json;
  result: boolean;
  error: string | null;
}

/** Whether the conditions hold, and the result of every criterion in the written order. */
export interface CriteriaOutcome {
  matched: boolean;
  criteria: CriterionOutcome[];
}

// Null: not evaluable. It stays null under `not`, so that an error never makes a rule match.
type Verdict = boolean | null;
type Evaluate = (payload: Json, run: Run) => Verdict;

/** One evaluation: the outcomes so far, and the budget that all its criteria share. */
interface Run {
  criteria: CriterionOutcome[];
  meter: Meter;
}

interface Compiled {
  canonical: JsonObject;
  evaluate: Evaluate;
}

interface Reading {
  issues: Issue[];
  count: number;
}

/** How deep groups of conditions may be nested. */
export const maxDepth = 10;
const maxCriteria = 200;
const eventScope: CelScope = { variables: ["event"] };
const forms = "{field, operator, value}, {any: […]}, {all: […]}, {not: …} or {expression}";

/**
 * Checks a rule's conditions: null, or one or a list of criteria, groups and expressions. Returns the canonical list: operators with
 * their canonical names, `field` relative to the payload. Throws InvalidInputError with every fault, each at its path below `path`.
 */
export function normaliseConditions(conditions: unknown, path: string): JsonObject[] {
  return read(conditions, path).map(({ canonical }) => canonical);
}

/**
 * Compiles a rule's conditions, joined by `condition`. The returned function evaluates them for one payload (null counts as `{}`) and
 * never throws; an empty list matches every payload. Throws InvalidInputError like normaliseConditions.
 */
export function compileCriteria(condition: "any" | "all", conditions: Json): (payload: Json) => CriteriaOutcome {
  return readCriteria(condition, conditions).evaluate;
}

/** The same, also with the conditions in canonical form. */
export function readCriteria(
  condition: "any" | "all",
  conditions: Json,
): { canonical: JsonObject[]; evaluate: (payload: Json, meter?: Meter) => CriteriaOutcome } {
  const compiled = read(conditions, "conditions");
  const parts = compiled.map((part) => part.evaluate);
  const decide = parts.length === 0 ? () => true : join(condition, parts);
  return {
    canonical: compiled.map(({ canonical }) => canonical),
    evaluate: (payload, meter = createMeter()) => {
      const criteria: CriterionOutcome[] = [];
      return { matched: decide(payload ?? {}, { criteria, meter }) === true, criteria };
    },
  };
}

function read(conditions: unknown, path: string): Compiled[] {
  if (conditions === undefined || conditions === null) return [];
  const position: Position = { reading: { issues: [], count: 0 }, depth: 0 };
  const compiled = Array.isArray(conditions)
    ? readList(conditions, path, position)
    : [readOne(conditions, path, position)].filter((part) => part !== null);
  if (position.reading.issues.length > 0) throw new InvalidInputError(position.reading.issues);
  return compiled;
}

interface Position {
  reading: Reading;
  depth: number;
}

function readList(list: unknown[], path: string, position: Position): Compiled[] {
  return list.slice(0, maxCriteria + 1).flatMap((item, i) => readOne(item, `${path}.${i}`, position) ?? []);
}

// Faults are collected, so that one refusal lists them all.
function readOne(item: unknown, path: string, position: Position): Compiled | null {
  const { reading, depth } = position;
  if (++reading.count > maxCriteria) {
    if (reading.count === maxCriteria + 1)
      reading.issues.push({ path, message: `at most ${maxCriteria} criteria and groups` });
    return null;
  }
  try {
    if (depth > maxDepth) throw invalid(path, `groups may be nested at most ${maxDepth} deep`);
    if (!isRecord(item)) throw invalid(path, `must be ${forms}`);
    if ("any" in item) return readGroup(item, path, { ...position, kind: "any" });
    if ("all" in item) return readGroup(item, path, { ...position, kind: "all" });
    if ("not" in item) return readNot(item, path, position);
    if ("expression" in item) return readExpression(item, path);
    return readCriterion(item, path);
  } catch (error) {
    if (!(error instanceof InvalidInputError)) throw error;
    reading.issues.push(...error.issues);
    return null;
  }
}

function readGroup(
  item: Record<string, unknown>,
  path: string,
  position: Position & { kind: "any" | "all" },
): Compiled {
  const { kind, reading, depth } = position;
  refuseOthers(item, [kind], path);
  const list = item[kind];
  if (!Array.isArray(list) || list.length === 0)
    throw invalid(`${path}.${kind}`, "must be a list of at least one criterion");
  const parts = readList(list, `${path}.${kind}`, { reading, depth: depth + 1 });
  return {
    canonical: { [kind]: parts.map(({ canonical }) => canonical) },
    evaluate: join(
      kind,
      parts.map(({ evaluate }) => evaluate),
    ),
  };
}

function readNot(item: Record<string, unknown>, path: string, { reading, depth }: Position): Compiled | null {
  refuseOthers(item, ["not"], path);
  const part = readOne(item["not"], `${path}.not`, { reading, depth: depth + 1 });
  if (part === null) return null;
  return {
    canonical: { not: part.canonical },
    evaluate: (payload, run) => {
      const verdict = part.evaluate(payload, run);
      return verdict === null ? null : !verdict;
    },
  };
}

function readExpression(item: Record<string, unknown>, path: string): Compiled {
  refuseOthers(item, ["expression"], path);
  const { expression } = item;
  if (typeof expression !== "string") throw invalid(`${path}.expression`, "must be a CEL expression as text");
  const compute = compileCel(expression, `${path}.expression`, eventScope);
  const quoted = quote(expression);
  return {
    canonical: { expression },
    evaluate: (payload, { criteria, meter }) => {
      const outcome: CriterionOutcome = {
        path: "",
        operator: "expression",
        expected: quoted,
        result: false,
        error: null,
      };
      criteria.push(outcome);
      try {
        const value = compute({ event: { payload } }, meter);
        outcome.actual = quote(value);
        if (typeof value !== "boolean") outcome.error = `must give true or false, but gave ${jsonType(value)}`;
        else outcome.result = value;
      } catch (error) {
        outcome.error = error instanceof Error ? error.message : String(error);
      }
      return outcome.error === null ? outcome.result : null;
    },
  };
}

function readCriterion(item: Record<string, unknown>, path: string): Compiled {
  refuseOthers(item, ["field", "operator", "value"], path);
  const field = readField(item["field"], `${path}.field`);
  const written = readOperatorName(item["operator"], `${path}.operator`);
  const name = synonyms[written] ?? written;
  const operator = criterionOperators[name];
  if (!operator) throw unknownOperator(name, `${path}.operator`);
  if (operator.takesValue && item["value"] === undefined) {
    throw invalid(`${path}.value`, `is missing; "${name}" compares with it`);
  }
  // The value was parsed from JSON or YAML.
  const given = (operator.takesValue ? item["value"] : null) as Json;
  // StackStorm's matchregex is anchored at the beginning, and its dot matches line breaks.
  const expected = written === "matchregex" && typeof given === "string" ? `(?s)^(?:${given})` : given;
  const kept = operator.takesValue ? expected : (item["value"] as Json);
  const test = operator.compile(expected, `${path}.value`);
  const keys = parsePath(field);
  const weight = JSON.stringify(expected).length;
  const cost = (actual: Json) => unitsPerStep + weight + (Array.isArray(actual) ? unitsPerStep : 1) * lengthOf(actual);
  const quoted = quote(expected);
  return {
    // A value that is ignored stays, so that it can be found by who reads the rule, and by the linter.
    canonical: { field, operator: name, ...(item["value"] === undefined ? {} : { value: kept }) },
    evaluate: (payload, { criteria, meter }) => {
      const actual = findField(payload, keys);
      const verdict =
        actual === ABSENT ? operator.onAbsent : withinBudget(meter, cost(actual), () => test(actual, meter));
      const result = verdict === true;
      const error = typeof verdict === "string" ? verdict : null;
      const common = { path: field, operator: name, expected: quoted, result, error };
      criteria.push(actual === ABSENT ? common : { ...common, actual: quote(actual) });
      return error === null ? result : null;
    },
  };
}

const lengthOf = (value: Json) => (typeof value === "string" || Array.isArray(value) ? value.length : 0);

/** Returns the test's verdict, or why there is no budget left for it. */
function withinBudget(meter: Meter, units: number, test: () => boolean | string): boolean | string {
  try {
    meter.charge(units);
    return test();
  } catch (error) {
    if (error instanceof ExhaustedError) return error.message;
    throw error;
  }
}

function readOperatorName(operator: unknown, path: string): string {
  if (typeof operator !== "string" || operator === "") throw invalid(path, 'must name an operator, like "equals"');
  const name = operator.toLowerCase();
  if (Object.hasOwn(criterionOperators, name) || Object.hasOwn(synonyms, name)) return name;
  throw unknownOperator(operator, path);
}

function unknownOperator(name: string, path: string): InvalidInputError {
  const known = Object.keys(criterionOperators);
  const among = didYouMean(name, known) || `; known operators: ${known.join(", ")}`;
  return invalid(path, `there is no operator "${name}"${among}`);
}

function refuseOthers(item: Record<string, unknown>, known: string[], path: string): void {
  const issues = Object.keys(item)
    .filter((key) => !known.includes(key))
    .map((key) => ({
      path: `${path}.${key}`,
      message: `is not known beside ${known.join(", ")}${didYouMean(key, known)}`,
    }));
  if (issues.length > 0) throw new InvalidInputError(issues);
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

// One true (any) or false (all) decides; otherwise an error makes the result null.
function join(kind: "any" | "all", parts: Evaluate[]): Evaluate {
  const deciding = kind === "any";
  return (payload, run) => {
    let verdict: Verdict = !deciding;
    for (const part of parts) {
      const one = part(payload, run);
      if (one === deciding) verdict = deciding;
      else if (one === null && verdict !== deciding) verdict = null;
    }
    return verdict;
  };
}
