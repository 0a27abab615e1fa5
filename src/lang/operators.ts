import { invalid } from "../errors.ts";
import { type Json, jsonType, sameJson } from "../lib/json.ts";
import { compileRegex } from "../lib/regex.ts";
import type { Meter } from "./meter.ts";

/**
 * Returns whether a present value passes, or why the operator does not apply to a value of its type. It charges the work that looking
 * at the value once and at each of its items does not cover.
 */
type Test = (actual: Json, meter: Meter) => boolean | string;

/** An operator of criteria. */
interface Operator {
  /** The result for a field that is absent: true for the negated ones. */
  readonly onAbsent: boolean;
  /** Whether the criterion has a `value`. */
  readonly takesValue: boolean;
  /** Returns the test for an expected value. Throws InvalidInputError at `path` when the operator cannot use it. */
  compile(expected: Json, path: string): Test;
}

const maxListLength = 1000;

function typeError(wanted: string, actual: Json): string {
  return `needs ${wanted}, but the field holds ${jsonType(actual)}`;
}

function expectText(expected: Json, path: string): string {
  if (typeof expected === "string") return expected;
  throw invalid(path, `must be a string, not ${jsonType(expected)}`);
}

function negated(operator: Operator): Operator {
  return {
    ...operator,
    onAbsent: !operator.onAbsent,
    compile: (expected, path) => {
      const test = operator.compile(expected, path);
      return (actual, meter) => {
        const passed = test(actual, meter);
        return typeof passed === "string" ? passed : !passed;
      };
    },
  };
}

function comparing(compile: Operator["compile"]): Operator {
  return { onAbsent: false, takesValue: true, compile };
}

type TextTest = (actual: string, expected: string) => boolean;

function onText(test: TextTest): Operator {
  return comparing((value, path) => {
    const expected = expectText(value, path);
    return (actual) => (typeof actual === "string" ? test(actual, expected) : typeError("a string", actual));
  });
}

function onTextIgnoringCase(test: TextTest): Operator {
  return comparing((value, path) => {
    const expected = expectText(value, path).toLowerCase();
    return (actual) =>
      typeof actual === "string" ? test(actual.toLowerCase(), expected) : typeError("a string", actual);
  });
}

function ordering(test: (order: number) => boolean): Operator {
  return comparing((expected, path) => {
    if (typeof expected !== "number" && typeof expected !== "string") {
      throw invalid(path, `must be a number or a string, not ${jsonType(expected)}`);
    }
    return (actual) => {
      const order = compare(actual, expected);
      return order === null ? typeError(`a ${jsonType(expected)}`, actual) : test(order);
    };
  });
}

// Compares strings by code unit, which orders ISO dates; null when the types differ.
function compare(actual: Json, expected: number | string): number | null {
  if (typeof actual === "number" && typeof expected === "number") return actual - expected;
  if (typeof actual !== "string" || typeof expected !== "string") return null;
  if (actual === expected) return 0;
  return actual < expected ? -1 : 1;
}

const between = comparing((expected, path) => {
  const [low, high, ...more] = Array.isArray(expected) ? expected : [];
  const numbers = typeof low === "number" && typeof high === "number";
  const strings = typeof low === "string" && typeof high === "string";
  if (more.length > 0 || !(numbers || strings))
    throw invalid(path, "must be a list of two numbers or two strings, low and high");
  return (actual) => {
    const fromLow = compare(actual, low);
    const fromHigh = compare(actual, high);
    if (fromLow === null || fromHigh === null) return typeError(`a ${jsonType(low)}`, actual);
    return fromLow >= 0 && fromHigh <= 0;
  };
});

const contains = comparing((expected) => (actual, meter) => {
  if (Array.isArray(actual)) return actual.some((item) => sameJson(item, expected));
  if (typeof actual !== "string") return typeError("a string or a list", actual);
  if (typeof expected !== "string") return `looks for ${jsonType(expected)}, but the field holds string`;
  chargeSearch(meter, actual, expected);
  return actual.includes(expected);
});

/** A search takes text × searched text in the worst case. */
function chargeSearch(meter: Meter, text: string, searched: string): void {
  meter.charge(text.length * Math.floor(searched.length / 8));
}

const containsIgnoringCase = comparing((value, path) => {
  const expected = expectText(value, path).toLowerCase();
  return (actual, meter) => {
    if (typeof actual === "string") {
      chargeSearch(meter, actual, expected);
      return actual.toLowerCase().includes(expected);
    }
    if (!Array.isArray(actual)) return typeError("a string or a list", actual);
    return actual.some((item) => {
      if (typeof item !== "string") return false;
      meter.charge(2 * item.length);
      return item.toLowerCase() === expected;
    });
  };
});

const within = comparing((expected, path) => {
  if (!Array.isArray(expected)) throw invalid(path, `must be a list, not ${jsonType(expected)}`);
  if (expected.length > maxListLength) throw invalid(path, `may hold at most ${maxListLength} values`);
  return (actual) => expected.some((item) => sameJson(item, actual));
});

function matching(options: { ignoreCase: boolean }): Operator {
  return comparing((value, path) => {
    return finding(compileRegex(expectText(value, path), path, options));
  });
}

function finding(pattern: ReturnType<typeof compileRegex>): Test {
  return (actual, meter) => {
    if (typeof actual !== "string") return typeError("a string", actual);
    meter.charge(pattern.steps(actual));
    return pattern.find(actual);
  };
}

// Shell wildcards: * for any text, ? for one character, [abc] and [!abc] for one of a set.
const matchesWildcard = comparing((value, path) => {
  const body = expectText(value, path)
    .replaceAll(/[\\^$.|+(){}]/g, "\\$&")
    .replaceAll("*", ".*")
    .replaceAll("?", ".")
    .replaceAll("[!", "[^");
  return finding(compileRegex(`(?s)\\A(?:${body})\\z`, path));
});

const typeTests: Readonly<Record<string, (actual: Json) => boolean>> = {
  string: (actual) => typeof actual === "string",
  number: (actual) => typeof actual === "number",
  integer: (actual) => Number.isInteger(actual),
  boolean: (actual) => typeof actual === "boolean",
  list: (actual) => Array.isArray(actual),
  object: (actual) => jsonType(actual) === "object",
  null: (actual) => actual === null,
};

const isType = comparing((value, path) => {
  const test = typeof value === "string" && Object.hasOwn(typeTests, value) ? typeTests[value] : undefined;
  if (!test) throw invalid(path, `must be one of ${Object.keys(typeTests).join(", ")}`);
  return test;
});

const exists: Operator = { onAbsent: false, takesValue: false, compile: () => () => true };
const equals = comparing((expected) => (actual) => sameJson(actual, expected));

/** Every operator of criteria by its canonical name. */
export const criterionOperators: Readonly<Record<string, Operator>> = {
  equals,
  nequals: negated(equals),
  iequals: onTextIgnoringCase((actual, expected) => actual === expected),
  contains,
  ncontains: negated(contains),
  icontains: containsIgnoringCase,
  incontains: negated(containsIgnoringCase),
  startswith: onText((actual, expected) => actual.startsWith(expected)),
  istartswith: onTextIgnoringCase((actual, expected) => actual.startsWith(expected)),
  endswith: onText((actual, expected) => actual.endsWith(expected)),
  iendswith: onTextIgnoringCase((actual, expected) => actual.endsWith(expected)),
  lt: ordering((order) => order < 0),
  lte: ordering((order) => order <= 0),
  gt: ordering((order) => order > 0),
  gte: ordering((order) => order >= 0),
  between,
  in: within,
  nin: negated(within),
  exists,
  nexists: negated(exists),
  regex: matching({ ignoreCase: false }),
  iregex: matching({ ignoreCase: true }),
  matchwildcard: matchesWildcard,
  is_type: isType,
};

/** StackStorm's names for the same operators. */
export const synonyms: Readonly<Record<string, string>> = {
  eq: "equals",
  neq: "nequals",
  ieq: "iequals",
  lessthan: "lt",
  greaterthan: "gt",
  matchregex: "regex",
  inside: "in",
  ninside: "nin",
};
