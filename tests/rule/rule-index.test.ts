import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type CriteriaOutcome, readCriteria } from "../../src/lang/criteria.ts";
import type { Json, JsonObject } from "../../src/lib/json.ts";
import { createRuleIndex, evaluatedAnyway, type IndexedRule } from "../../src/rule/rule-index.ts";

interface Rule extends IndexedRule {
  evaluate: (payload: Json) => CriteriaOutcome;
}

function compile(id: string, condition: "any" | "all", conditions: Json): Rule | null {
  try {
    const { canonical, evaluate } = readCriteria(condition, conditions);
    return { id, condition, criteria: canonical, recordEvaluations: "near", evaluate };
  } catch {
    return null; // some operators refuse some values
  }
}

const scalars: Json[] = [
  0,
  1,
  2,
  -0,
  1.5,
  1e300,
  "",
  "a",
  "A",
  "ab",
  "AB",
  "abc",
  "1",
  "İ",
  "Σς",
  "ΣΣ",
  "ß",
  "ss",
  "null",
  true,
  false,
  null,
];
const long = "ab".repeat(40);
const texts = [
  "",
  "a",
  "A",
  "ab",
  "aB",
  "abc",
  "1",
  "İ",
  "i̇",
  "Σ",
  "σ",
  "ς",
  long,
  `${long}c`,
  long.slice(0, 64),
  long.toUpperCase(),
];
const value = fc.oneof(
  { weight: 8, arbitrary: fc.constantFrom<Json>(...scalars, ...texts) },
  fc.constantFrom<Json>([], ["a"], [1, null], {}, { a: 1 }),
);
const field = fc.constantFrom(
  "a",
  "b",
  "b.c",
  "b.0",
  "l.1",
  "/x~1y",
  "headers.X-Kind",
  "headers.x-kind",
  "headers",
  "event.payload.a",
);
const criterion = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({ field, operator: fc.constantFrom("equals", "nequals", "eq", "EQUALS", "is_type"), value }),
  },
  {
    weight: 5,
    arbitrary: fc.record({
      field,
      operator: fc.constantFrom("in", "nin", "inside"),
      value: fc.array(value, { maxLength: 4 }),
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      field,
      operator: fc.constantFrom("iequals", "startswith", "istartswith", "endswith", "contains", "gte", "matchregex"),
      value: fc.constantFrom(...texts),
    }),
  },
  fc.record({ field, operator: fc.constantFrom("exists", "nexists") }),
  fc.constantFrom({ expression: 'event.payload.a == "a"' }, { expression: "event.payload.nothing > 1" }),
);
const { group } = fc.letrec<{ group: Json }>((tie) => ({
  group: fc.oneof(
    { depthSize: "small", maxDepth: 3 },
    { weight: 6, arbitrary: criterion as fc.Arbitrary<Json> },
    fc.array(tie("group"), { minLength: 1, maxLength: 3 }).map((any) => ({ any })),
    fc.array(tie("group"), { minLength: 1, maxLength: 3 }).map((all) => ({ all })),
    tie("group").map((not) => ({ not })),
  ),
}));
const payload = fc.oneof(
  {
    weight: 20,
    arbitrary: fc.record(
      {
        a: value,
        b: fc.oneof(value, fc.record({ c: value }), fc.array(value, { maxLength: 2 })),
        l: fc.array(value, { maxLength: 3 }),
        "x/y": value,
        headers: fc.oneof(fc.record({ "x-kind": value }), fc.record({ "X-Kind": value }), value),
      },
      { requiredKeys: [] },
    ) as fc.Arbitrary<Json>,
  },
  fc.constantFrom<Json>(null, [], "a", ["a"]),
);
const sample = <T>(of: fc.Arbitrary<T>, numRuns: number, seed: number) => fc.sample(of, { numRuns, seed });

test("indexed and unindexed matching agree on 100,000 generated pairs of rules and events, also after changes of rules", () => {
  const rules = new Map<string, Rule>();
  const index = createRuleIndex<Rule>();
  let pairs = 0;
  let found = 0;
  let matches = 0;
  for (const round of [1, 2, 3, 4]) {
    const conditions = sample(fc.array(group, { maxLength: 3 }), 500, round);
    for (const [n, each] of conditions.entries()) {
      const id = String((n * 7 + round * 100) % 700); // some replace others
      const rule = compile(id, n % 3 === 0 ? "any" : "all", each);
      if (rule !== null) {
        rules.set(id, rule);
        index.set(rule);
      } else if (n % 2 === 0) {
        rules.delete(id);
        index.delete(id);
      }
    }
    expect(index.size).toBe(rules.size);
    for (const event of sample(payload, 160, round + 10)) {
      const matching = (among: Iterable<Rule>) =>
        [...among]
          .filter((rule) => rule.evaluate(event).matched)
          .map(({ id }) => id)
          .sort();
      const candidates = index.find(event);
      const expected = matching(rules.values());
      expect([event, matching(candidates)]).toEqual([event, expected]);
      pairs += rules.size;
      found += candidates.length;
      matches += expected.length;
    }
  }
  expect(pairs).toBeGreaterThan(100_000);
  expect(matches / pairs).toBeGreaterThan(0.05); // the values meet
  expect(found / pairs).toBeLessThan(0.8); // and the index finds fewer than all
}, 60_000);

describe("ten thousand rules", () => {
  const count = 10_000;
  const filled = (conditionsOf: (n: number) => Json, more: Partial<Rule> = {}) => {
    const index = createRuleIndex<Rule>();
    for (let n = 0; n < count; n += 1) {
      const rule = compile(String(n), "all", conditionsOf(n));
      if (rule) index.set({ ...rule, ...more });
    }
    expect(index.size).toBe(count);
    return index;
  };
  const event: JsonObject = { kind: "push", repo: "Repo-7", path: "/repo-7/main", size: 7, headers: { "x-repo": "7" } };
  const kind = { field: "kind", operator: "equals", value: "push" };

  test.each<[string, (n: number) => JsonObject]>([
    ["equals", (n) => ({ field: "repo", operator: "equals", value: `Repo-${n}` })],
    ["in", (n) => ({ field: "repo", operator: "in", value: [`Repo-${n}`, `other-${n}`] })],
    ["iequals", (n) => ({ field: "repo", operator: "iequals", value: `rEPO-${n}` })],
    ["startswith", (n) => ({ field: "path", operator: "startswith", value: `/repo-${n}/` })],
    ["istartswith", (n) => ({ field: "path", operator: "istartswith", value: `/REPO-${n}/` })],
    ["a header", (n) => ({ field: "headers.X-Repo", operator: "equals", value: String(n) })],
    [
      "any",
      (n) => ({
        any: [
          { field: "repo", operator: "equals", value: `Repo-${n}` },
          { field: "size", operator: "equals", value: -n - 1 },
        ],
      }),
    ],
  ])("by %s: few are found, whichever criterion is written first", (_name, of) => {
    for (const conditions of [(n: number) => [kind, of(n)], (n: number) => [of(n), kind]]) {
      const found = filled(conditions).find(event);
      expect(found.length).toBeLessThan(5);
      expect(found.map(({ id }) => id)).toContain("7");
    }
  });

  test.each<[string, (n: number) => Json, Partial<Rule>]>([
    ["no criterion that it serves", () => [{ field: "size", operator: "gte", value: 100 }], {}],
    [
      "one alternative that it does not serve",
      (n) => [
        {
          any: [
            { ...kind, value: String(n) },
            { field: "size", operator: "gte", value: 100 },
          ],
        },
      ],
      {},
    ],
    [
      "more than 100 values",
      (n) => [{ field: "size", operator: "in", value: Array.from({ length: 101 }, (_, i) => i + n + 10) }],
      {},
    ],
    ["a list to be equal to", (n) => [{ field: "size", operator: "equals", value: [n] }], {}],
    ["every evaluation recorded", (n) => [{ ...kind, value: String(n) }], { recordEvaluations: "all" }],
    ["conditions that do not compile", (n) => [{ ...kind, value: String(n) }], { criteria: null }],
    ["no conditions", () => [], {}],
  ])("with %s are all found", (_name, of, more) => {
    expect(filled(of, more).find(event)).toHaveLength(count);
  });
});

test("up to a hundred rules are all found, whatever the event contains", () => {
  const index = createRuleIndex<Rule>();
  for (let n = 0; n <= evaluatedAnyway; n += 1) {
    const rule = compile(String(n), "all", [{ field: "n", operator: "equals", value: n }]);
    if (rule) index.set(rule);
    expect(index.find({}).length).toBe(n < evaluatedAnyway ? n + 1 : 0);
  }
  index.delete("5");
  expect(index.find({})).toHaveLength(evaluatedAnyway);
});
