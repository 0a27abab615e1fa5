import { compileCriteria } from "../lang/criteria.ts";
import { type Json, type JsonObject, sameJson } from "../lib/json.ts";
import type { Finding } from "./lint.ts";

/** A list of conditions in the canonical form, and how they are joined. */
interface Group {
  list: readonly JsonObject[];
  path: string;
  kind: "any" | "all";
}

interface Criterion {
  path: string;
  field: string;
  operator: string;
  value: Json;
}

/** What a field may hold; without `value` it is absent. */
type Candidate = { value?: Json };

/**
 * Returns what the conditions of one list say about one another: those of which all must hold but never do together, and those that never
 * make a difference. It tries them, with the operators of the executor, on the values that one of them limits a field to.
 */
export function contradictionsIn({ list, path, kind }: Group): Finding[] {
  const repeated = list.flatMap((item, index): Finding[] => {
    const first = list.findIndex((other) => sameJson(other, item));
    if (first === index) return [];
    return [unreachable(`${path}.${index}`, `it repeats ${path}.${first}`)];
  });
  const criteria = list.flatMap(({ field, operator, value = null }, index): Criterion[] =>
    typeof field === "string" && list.findIndex((other) => sameJson(other, list[index] as JsonObject)) === index
      ? [{ path: `${path}.${index}`, field, operator: String(operator), value }]
      : [],
  );
  const byField = Map.groupBy(criteria, ({ field }) => field);
  const among = [...byField.values()].flatMap((those) => {
    if (those.length < 2) return [];
    return kind === "all" ? (findContradiction(those) ?? []) : findCovered(those);
  });
  return [...repeated, ...among];
}

/** Returns the only values for which the criterion can hold; null if it does not limit them to a list. */
function candidatesOf({ operator, value }: Criterion): Candidate[] | null {
  if (operator === "equals") return [{ value }];
  if (operator === "in" && Array.isArray(value)) return value.map((each) => ({ value: each }));
  return operator === "nexists" ? [{}] : null;
}

function holds({ operator, value }: Criterion, candidate: Candidate): boolean {
  const { matched } = compileCriteria("all", [{ field: "value", operator, value }])(candidate as JsonObject);
  return matched;
}

function findContradiction(criteria: readonly Criterion[]): Finding | null {
  for (const limiting of criteria) {
    const candidates = candidatesOf(limiting);
    if (candidates?.some((each) => criteria.every((criterion) => holds(criterion, each))) === false) {
      const without = criteria.filter((other) => candidates.every((each) => !holds(other, each)));
      return contradiction(limiting, without[0] ?? criteria.find((other) => other !== limiting) ?? limiting);
    }
  }
  return findEmptyRange(criteria);
}

interface Bound {
  criterion: Criterion;
  value: number | string;
  isOpen: boolean;
}

/** Returns the contradiction of a lower bound above an upper one; null if there is none. */
function findEmptyRange(criteria: readonly Criterion[]): Finding | null {
  for (const low of criteria.flatMap((criterion) => boundOf(criterion, "low"))) {
    for (const high of criteria.flatMap((criterion) => boundOf(criterion, "high"))) {
      if (typeof low.value !== typeof high.value) return contradiction(high.criterion, low.criterion);
      const touches = low.value === high.value && (low.isOpen || high.isOpen);
      if (low.value > high.value || touches) return contradiction(high.criterion, low.criterion);
    }
  }
  return null;
}

function boundOf(criterion: Criterion, end: "low" | "high"): Bound[] {
  const { operator, value } = criterion;
  const [open, closed] = end === "low" ? ["gt", "gte"] : ["lt", "lte"];
  const bound = operator === "between" && Array.isArray(value) ? value[end === "low" ? 0 : 1] : value;
  if (typeof bound !== "number" && typeof bound !== "string") return [];
  return [open, closed, "between"].includes(operator) ? [{ criterion, value: bound, isOpen: operator === open }] : [];
}

function contradiction(criterion: Criterion, other: Criterion): Finding {
  const others = criterion === other ? "the others of its field" : other.path;
  return {
    kind: "contradiction",
    path: criterion.path,
    message: `it never holds together with ${others}`,
    suggestion: "Remove one of them, or put them into {any: […]}, of which one is enough.",
  };
}

/** Of a list of which one is enough: returns those that hold only where another does. */
function findCovered(criteria: readonly Criterion[]): Finding[] {
  return criteria.flatMap((criterion) => {
    const candidates = candidatesOf(criterion);
    if (candidates === null) return [];
    const wider = criteria.find((other) => other !== criterion && candidates.every((each) => holds(other, each)));
    return wider ? [unreachable(criterion.path, `it holds only where ${wider.path} does`)] : [];
  });
}

const unreachable = (path: string, reason: string): Finding => ({
  kind: "unreachable",
  path,
  message: `it never makes a difference: ${reason}`,
  suggestion: "Remove it.",
});
