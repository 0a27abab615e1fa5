import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { InvalidInputError } from "../../src/errors.ts";
import { compileCriteria, normaliseConditions } from "../../src/lang/criteria.ts";
import type { Json, JsonObject } from "../../src/lib/json.ts";

const absent = Symbol("absent");

function ask(operator: string, value: Json | undefined, actual: Json | typeof absent) {
  const criterion: JsonObject = { field: "f", operator, ...(value === undefined ? {} : { value }) };
  const { matched, criteria } = compileCriteria("all", [criterion])(actual === absent ? {} : { f: actual });
  const [only] = criteria;
  expect(criteria).toHaveLength(1);
  expect(only?.result).toBe(matched);
  return only?.error ? "error" : matched;
}

type Row = [operator: string, value: Json | undefined, actual: Json | typeof absent, result: boolean | "error"];

// Each operator: a match, a mismatch, absent, null, another type, empty.
const rows: Row[] = [
  ["equals", "a", "a", true],
  ["equals", "a", "A", false],
  ["equals", "", "", true],
  ["equals", 1, 1.0, true],
  ["equals", 1, "1", false],
  ["equals", true, "true", false],
  ["equals", 0, false, false],
  ["equals", null, null, true],
  ["equals", null, absent, false],
  ["equals", "a", null, false],
  ["equals", [], [], true],
  ["equals", { a: [1] }, { a: [1] }, true],
  ["equals", {}, [], false],
  ["nequals", "a", "b", true],
  ["nequals", "a", "a", false],
  ["nequals", "1", 1, true],
  ["nequals", null, null, false],
  ["nequals", null, absent, true],
  ["nequals", "a", absent, true],
  ["nequals", "", null, true],
  ["iequals", "Ab", "aB", true],
  ["iequals", "a", "b", false],
  ["iequals", "", "", true],
  ["iequals", "a", absent, false],
  ["iequals", "a", null, "error"],
  ["iequals", "1", 1, "error"],
  ["contains", "b", "abc", true],
  ["contains", "B", "abc", false],
  ["contains", "", "abc", true],
  ["contains", "a", "", false],
  ["contains", "a", ["a", "b"], true],
  ["contains", "a", ["abc"], false],
  ["contains", 1, [1], true],
  ["contains", 1, ["1"], false],
  ["contains", null, [null], true],
  ["contains", { a: 1 }, [{ a: 1 }], true],
  ["contains", "a", [], false],
  ["contains", "a", absent, false],
  ["contains", "a", null, "error"],
  ["contains", "a", { a: 1 }, "error"],
  ["contains", 1, "1", "error"],
  ["ncontains", "b", "abc", false],
  ["ncontains", "x", "abc", true],
  ["ncontains", "a", "", true],
  ["ncontains", "a", [], true],
  ["ncontains", "a", ["a"], false],
  ["ncontains", "a", absent, true],
  ["ncontains", "a", null, "error"],
  ["ncontains", "a", 1, "error"],
  ["icontains", "B", "abc", true],
  ["icontains", "A", ["a", 1], true],
  ["icontains", "A", [], false],
  ["icontains", "A", absent, false],
  ["icontains", "A", null, "error"],
  ["icontains", "A", 1, "error"],
  ["incontains", "B", "abc", false],
  ["incontains", "X", "abc", true],
  ["incontains", "X", absent, true],
  ["incontains", "X", "", true],
  ["incontains", "X", 1, "error"],
  ["startswith", "ab", "abc", true],
  ["startswith", "AB", "abc", false],
  ["startswith", "", "", true],
  ["startswith", "a", absent, false],
  ["startswith", "a", null, "error"],
  ["startswith", "a", ["a"], "error"],
  ["istartswith", "AB", "abc", true],
  ["istartswith", "b", "abc", false],
  ["istartswith", "a", absent, false],
  ["istartswith", "a", null, "error"],
  ["endswith", "bc", "abc", true],
  ["endswith", "BC", "abc", false],
  ["endswith", "", "", true],
  ["endswith", "a", absent, false],
  ["endswith", "a", null, "error"],
  ["endswith", "1", 1, "error"],
  ["iendswith", "BC", "abc", true],
  ["iendswith", "a", "abc", false],
  ["iendswith", "a", absent, false],
  ["iendswith", "a", null, "error"],
  ["lt", 2, 1, true],
  ["lt", 2, 2, false],
  ["lt", 10, 9, true],
  ["lt", "10", "9", false],
  ["lt", "2024-02-01", "2024-01-31", true],
  ["lt", "a", "", true],
  ["lt", 2, absent, false],
  ["lt", 2, null, "error"],
  ["lt", 2, "1", "error"],
  ["lt", "2", 1, "error"],
  ["lt", 2, true, "error"],
  ["lte", 2, 2, true],
  ["lte", 2, 3, false],
  ["lte", "", "", true],
  ["lte", 2, absent, false],
  ["lte", 2, null, "error"],
  ["lte", 2, "2", "error"],
  ["gt", 2, 3, true],
  ["gt", 2, 2, false],
  ["gt", "", "a", true],
  ["gt", 2, absent, false],
  ["gt", 2, null, "error"],
  ["gt", 2, [3], "error"],
  ["gte", 2, 2, true],
  ["gte", 2, 1, false],
  ["gte", "b", "b", true],
  ["gte", 2, absent, false],
  ["gte", 2, null, "error"],
  ["gte", 2, "3", "error"],
  ["between", [1, 3], 1, true],
  ["between", [1, 3], 3, true],
  ["between", [1, 3], 4, false],
  ["between", ["a", "c"], "b", true],
  ["between", [1, 3], absent, false],
  ["between", [1, 3], null, "error"],
  ["between", [1, 3], "2", "error"],
  ["in", ["opened", "reopened"], "opened", true],
  ["in", ["opened"], "closed", false],
  ["in", [1], "1", false],
  ["in", [null], null, true],
  ["in", [null], absent, false],
  ["in", [[1]], [1], true],
  ["in", [], "a", false],
  ["in", ["a"], absent, false],
  ["nin", ["a"], "b", true],
  ["nin", ["a"], "a", false],
  ["nin", [1], "1", true],
  ["nin", [null], null, false],
  ["nin", [], "a", true],
  ["nin", ["a"], absent, true],
  ["exists", undefined, "a", true],
  ["exists", undefined, null, true],
  ["exists", undefined, "", true],
  ["exists", undefined, [], true],
  ["exists", undefined, absent, false],
  ["nexists", undefined, absent, true],
  ["nexists", undefined, null, false],
  ["nexists", undefined, "", false],
  ["regex", "b.d", "abcd", true],
  ["regex", "^b", "abc", false],
  ["regex", "B", "abc", false],
  ["regex", "^$", "", true],
  ["regex", "a", absent, false],
  ["regex", "a", null, "error"],
  ["regex", "1", 1, "error"],
  ["iregex", "B", "abc", true],
  ["iregex", "x", "abc", false],
  ["iregex", "a", absent, false],
  ["iregex", "a", null, "error"],
  ["matchwildcard", "*.txt", "a.txt", true],
  ["matchwildcard", "*.txt", "atxt", false],
  ["matchwildcard", "a?c", "abc", true],
  ["matchwildcard", "a?c", "ac", false],
  ["matchwildcard", "[ab]*", "b\nx", true],
  ["matchwildcard", "[!ab]*", "bx", false],
  ["matchwildcard", "b", "abc", false],
  ["matchwildcard", "*", "", true],
  ["matchwildcard", "(a+)+$", "(a+)+$", true],
  ["matchwildcard", "*", absent, false],
  ["matchwildcard", "*", null, "error"],
  ["is_type", "string", "", true],
  ["is_type", "number", 1.5, true],
  ["is_type", "integer", 1.5, false],
  ["is_type", "integer", 2, true],
  ["is_type", "boolean", false, true],
  ["is_type", "list", [], true],
  ["is_type", "object", {}, true],
  ["is_type", "object", [], false],
  ["is_type", "null", null, true],
  ["is_type", "null", absent, false],
  ["is_type", "string", 1, false],
];

describe("operators", () => {
  test.each(rows)("%s %j on %j is %s", (operator, value, actual, result) => {
    expect(ask(operator, value, actual)).toBe(result);
  });

  test("a regex with exponential backtracking elsewhere ends at once", () => {
    const started = performance.now();
    expect(ask("regex", "^(a+)+$", `${"a".repeat(50_000)}!`)).toBe(false);
    expect(performance.now() - started).toBeLessThan(2000);
  });

  test("an outcome shows the expected and the actual value", () => {
    const decide = compileCriteria("any", [
      { field: "a.b", operator: "gt", value: 1 },
      { field: "/x~1y", operator: "equals", value: null },
      { field: "c", operator: "in", value: [1] },
    ]);
    expect(decide({ a: { b: "2" }, "x/y": null }).criteria).toEqual([
      {
        path: "a.b",
        operator: "gt",
        expected: 1,
        actual: "2",
        result: false,
        error: "needs a number, but the field holds string",
      },
      { path: "/x~1y", operator: "equals", expected: null, actual: null, result: true, error: null },
      { path: "c", operator: "in", expected: [1], result: false, error: null },
    ]);
  });
});

const yes = { field: "yes", operator: "equals", value: 1 };
const no = { field: "yes", operator: "equals", value: 2 };
const fault = { field: "yes", operator: "startswith", value: "1" };

function matches(condition: "any" | "all", conditions: Json, payload: Json = { yes: 1 }): boolean {
  return compileCriteria(condition, conditions)(payload).matched;
}

describe("groups", () => {
  test.each<["any" | "all", Json, boolean]>([
    ["all", [], true],
    ["any", [], true],
    ["all", [yes, yes], true],
    ["all", [yes, no], false],
    ["any", [no, yes], true],
    ["any", [no, no], false],
    ["all", [yes, { any: [no, yes] }], true],
    ["all", [{ all: [yes, { not: no }] }], true],
    ["any", [{ not: { any: [no, yes] } }], false],
    ["all", [{ not: { all: [yes, no] } }], true],
    ["all", { any: [no, yes] }, true],
    // An error is neither true nor false.
    ["all", [fault], false],
    ["all", [{ not: fault }], false],
    ["all", [{ not: { not: fault } }], false],
    ["any", [fault, yes], true],
    ["any", [yes, fault], true],
    ["all", [{ not: { all: [fault, no] } }], true],
    ["all", [{ not: { all: [no, fault] } }], true],
    ["all", [{ not: { any: [fault, no] } }], false],
    ["all", [{ not: { any: [fault, yes] } }], false],
  ])("%s of %j is %s", (condition, conditions, result) => {
    expect(matches(condition, conditions)).toBe(result);
  });

  test("every criterion is evaluated, even after the decision", () => {
    expect(
      compileCriteria("all", [no, { any: [yes, fault] }])({ yes: 1 }).criteria.map(({ result }) => result),
    ).toEqual([false, true, false]);
  });

  test("a payload of null is evaluated as {}", () => {
    expect(matches("all", [{ field: "a", operator: "nexists" }], null)).toBe(true);
    expect(matches("all", { expression: "has(event.payload.a)" }, null)).toBe(false);
    expect(matches("all", [], null)).toBe(true);
  });

  test("a payload may be a list; nothing is inherited", () => {
    expect(matches("all", [{ field: "0.a", operator: "equals", value: 1 }], [{ a: 1 }])).toBe(true);
    for (const field of ["constructor", "__proto__", "toString", "a.constructor", "l.length"]) {
      expect(matches("all", [{ field, operator: "exists" }], { a: {}, l: [] })).toBe(false);
    }
  });
});

describe("expressions", () => {
  test("see the event's payload", () => {
    expect(matches("all", { expression: "event.payload.yes == 1 && size(event.payload) == 1" })).toBe(true);
    expect(matches("all", [no, { expression: "false" }])).toBe(false);
    expect(matches("any", [no, { expression: "true" }])).toBe(true);
  });

  test("an error, or a result that is not a boolean, does not match and is recorded", () => {
    expect(compileCriteria("all", { expression: "event.payload.missing > 1" })({ yes: 1 })).toEqual({
      matched: false,
      criteria: [
        {
          path: "",
          operator: "expression",
          expected: "event.payload.missing > 1",
          result: false,
          error: "No such key: missing (at character 15)",
        },
      ],
    });
    const { matched, criteria } = compileCriteria("all", { not: { expression: "event.payload.yes" } })({ yes: 1 });
    expect(matched).toBe(false);
    expect(criteria[0]).toMatchObject({ actual: 1, error: "must give true or false, but gave number" });
  });
});

describe("normaliseConditions", () => {
  test("returns canonical names and fields", () => {
    const written = [
      { field: "event.payload.body.action", operator: "IN", value: ["opened"] },
      {
        any: [
          { field: "a", operator: "eq", value: null },
          { field: "a", operator: "exists", value: "" },
        ],
      },
      { not: { field: "/a.b", operator: "matchregex", value: "b" } },
      { expression: "true" },
    ];
    const canonical = [
      { field: "body.action", operator: "in", value: ["opened"] },
      {
        any: [
          { field: "a", operator: "equals", value: null },
          { field: "a", operator: "exists", value: "" },
        ],
      },
      { not: { field: "/a.b", operator: "regex", value: "(?s)^(?:b)" } },
      { expression: "true" },
    ];
    expect(normaliseConditions(written, "conditions")).toEqual(canonical);
    expect(normaliseConditions(canonical, "conditions")).toEqual(canonical);
  });

  test.each([
    ["eq", "equals", 1],
    ["neq", "nequals", 1],
    ["ieq", "iequals", "a"],
    ["lessthan", "lt", 1],
    ["greaterthan", "gt", 1],
    ["inside", "in", [1]],
    ["ninside", "nin", [1]],
  ])("%s means %s", (synonym, operator, value) => {
    expect(normaliseConditions([{ field: "f", operator: synonym, value }], "c")).toEqual([
      { field: "f", operator, value },
    ]);
  });

  test.each([null, undefined, []])("%j means no conditions", (written) => {
    expect(normaliseConditions(written, "conditions")).toEqual([]);
  });

  const ok = { field: "f", operator: "exists" };
  test.each<[unknown, string, string]>([
    ["x", "conditions", "must be {field, operator, value}"],
    [[ok, 1], "conditions.1", "must be {field, operator, value}"],
    [[{}], "conditions.0.field", "must be a path below event.payload"],
    [[{ field: "a..b", operator: "exists" }], "conditions.0.field", "names and positions between dots"],
    [[{ field: "a[b]", operator: "exists" }], "conditions.0.field", "names and positions between dots"],
    [[{ field: "a[0", operator: "exists" }], "conditions.0.field", "names and positions between dots"],
    [[{ field: "$.a.b", operator: "exists" }], "conditions.0.field", 'without "$" and braces'],
    [[{ field: "{{ event.payload.a }}", operator: "exists" }], "conditions.0.field", 'without "$" and braces'],
    [
      [{ field: "alerts[*].name", operator: "exists" }],
      "conditions.0.field",
      'use {expression: "event.payload.alerts.exists(x, x.name == …)"}',
    ],
    [
      [{ field: "alerts.*", operator: "exists" }],
      "conditions.0.field",
      'use {expression: "event.payload.alerts.exists(x, x == …)"}',
    ],
    [[{ field: "f" }], "conditions.0.operator", "must name an operator"],
    [[{ field: "f", operator: "equal", value: 1 }], "conditions.0.operator", 'did you mean "equals"?'],
    [
      [{ field: "f", operator: "constructor", value: 1 }],
      "conditions.0.operator",
      'no operator "constructor"; known operators:',
    ],
    [[{ field: "f", operator: "equals" }], "conditions.0.value", "is missing"],
    [[{ ...ok, valeu: 1 }], "conditions.0.valeu", 'did you mean "value"?'],
    [[{ field: "f", operator: "in", value: "a" }], "conditions.0.value", "must be a list, not string"],
    [[{ field: "f", operator: "lt", value: null }], "conditions.0.value", "must be a number or a string, not null"],
    [[{ field: "f", operator: "startswith", value: 1 }], "conditions.0.value", "must be a string, not number"],
    [[{ field: "f", operator: "between", value: [1, "2"] }], "conditions.0.value", "two numbers or two strings"],
    [[{ field: "f", operator: "between", value: [1, 2, 3] }], "conditions.0.value", "two numbers or two strings"],
    [[{ field: "f", operator: "is_type", value: "int" }], "conditions.0.value", "must be one of string, number"],
    [[{ field: "f", operator: "regex", value: "(?=a)" }], "conditions.0.value", "the pattern cannot be compiled"],
    [[{ field: "f", operator: "matchwildcard", value: "[a" }], "conditions.0.value", "the pattern cannot be compiled"],
    [
      [ok, ok, { any: [{ field: "f", operator: "strtswith", value: "" }] }],
      "conditions.2.any.0.operator",
      "startswith",
    ],
    [[{ any: [] }], "conditions.0.any", "at least one"],
    [[{ all: ok }], "conditions.0.all", "must be a list"],
    [[{ any: [ok], all: [ok] }], "conditions.0.all", "is not known beside any"],
    [[{ not: [ok] }], "conditions.0.not", "must be {field"],
    [{ expression: 1 }, "conditions.expression", "must be a CEL expression"],
    [{ expression: "event.payload.x ==" }, "conditions.expression", "Unexpected token"],
    [{ expression: "key('a') == rule.ref" }, "conditions.expression", "key() cannot be part of an expression"],
  ])("%j is refused at %s: %s", (written, path, message) => {
    try {
      normaliseConditions(written, "conditions");
      expect.unreachable();
    } catch (error) {
      if (!(error instanceof InvalidInputError)) throw error;
      expect(error.issues).toHaveLength(1);
      expect(error.issues[0]).toEqual({ path, message: expect.stringContaining(message) });
    }
  });

  test("reports every fault at once", () => {
    const written = [
      { field: "f", operator: "x1", value: 1 },
      { all: [ok, { field: "", operator: "lt", value: 1 }, 3] },
    ];
    expect(() => normaliseConditions(written, "c")).toThrow(
      /^c\.0\.operator: .*; c\.1\.all\.1\.field: .*; c\.1\.all\.2: /s,
    );
  });

  test("bounds depth and number", () => {
    let nested: JsonObject = ok;
    for (let i = 0; i < 10; i++) nested = { not: nested };
    expect(normaliseConditions([nested], "c")).toEqual([nested]);
    expect(() => normaliseConditions([{ not: nested }], "c")).toThrow("at most 10 deep");
    expect(normaliseConditions(Array(200).fill(ok), "c")).toHaveLength(200);
    expect(() => normaliseConditions(Array(100_000).fill(ok), "c")).toThrow(
      /^c\.200: at most 200 criteria and groups$/,
    );
  });
});

describe("laws", () => {
  const json = fc.jsonValue({ maxDepth: 1 }).map((value): Json => JSON.parse(JSON.stringify(value)));
  const text = fc.string({ maxLength: 3 });
  const criterion: fc.Arbitrary<JsonObject> = fc.oneof(
    fc.record({
      field: fc.constantFrom("a", "b", "b.c"),
      operator: fc.constantFrom("equals", "nequals", "contains", "ncontains"),
      value: json,
    }),
    fc.record({
      field: fc.constantFrom("a", "b"),
      operator: fc.constantFrom("lt", "gte"),
      value: fc.oneof(fc.integer(), text),
    }),
    fc.record({
      field: fc.constantFrom("a", "b"),
      operator: fc.constantFrom("startswith", "iequals", "incontains"),
      value: text,
    }),
    fc.record({ field: fc.constantFrom("a", "c"), operator: fc.constantFrom("exists", "nexists") }),
  );
  const payload = fc.dictionary(fc.constantFrom("a", "b", "c"), json);

  test("not is the complement, unless the criterion had an error", () => {
    fc.assert(
      fc.property(criterion, payload, (one, event) => {
        const plain = compileCriteria("all", [one])(event);
        const inverse = compileCriteria("all", [{ not: one }])(event);
        expect(inverse.criteria).toEqual(plain.criteria);
        expect(inverse.matched).toBe(plain.criteria[0]?.error === null && !plain.matched);
      }),
    );
  });

  test("all matches when each criterion does, any when one does, and De Morgan's laws hold", () => {
    fc.assert(
      fc.property(fc.array(criterion, { minLength: 1, maxLength: 4 }), payload, (list, event) => {
        const singly = list.map((one) => matches("all", [one], event));
        expect(matches("all", list, event)).toBe(singly.every(Boolean));
        expect(matches("any", list, event)).toBe(singly.some(Boolean));
        expect(matches("all", [{ not: { any: list } }], event)).toBe(
          matches(
            "all",
            list.map((one) => ({ not: one })),
            event,
          ),
        );
        expect(matches("all", [{ not: { all: list } }], event)).toBe(
          matches(
            "any",
            list.map((one) => ({ not: one })),
            event,
          ),
        );
      }),
    );
  });
});

test.each<[string, string]>([
  ["alerts[0].name", "alerts.0.name"],
  ["event.payload.alerts[0][1]", "alerts.0.1"],
  ["[0].name", "0.name"],
  ['headers["x-name"]', "headers.x-name"],
  ["labels['a.b/c~d'].e", "/labels/a.b~1c~0d/e"],
  ["$ref", "$ref"],
  ["/a[0]/b", "/a[0]/b"],
  ["trigger.body", "trigger.body"],
])("the field %s is stored as %s", (field, stored) => {
  expect(normaliseConditions([{ field, operator: "exists" }], "conditions")).toEqual([
    { field: stored, operator: "exists" },
  ]);
  const payload = {
    alerts: [{ name: 1 }],
    headers: { "x-name": 1 },
    labels: { "a.b/c~d": { e: 1 } },
    "a[0]": { b: 1 },
  };
  const [criterion] = compileCriteria("all", [{ field, operator: "exists" }])(payload).criteria;
  expect(criterion?.path).toBe(stored);
});

test("a header is found by its name in any case, and nothing else is", () => {
  const holds = (field: string, payload: Json) =>
    compileCriteria("all", [{ field, operator: "equals", value: "push" }])(payload).matched;
  expect(holds("headers.X-GitHub-Event", { headers: { "x-github-event": "push" } })).toBe(true);
  expect(holds("headers['X-GitHub-Event']", { headers: { "x-github-event": "push" } })).toBe(true);
  expect(holds("headers.X-GitHub-Event", { headers: { "X-GitHub-Event": "push", "x-github-event": "other" } })).toBe(
    true,
  );
  expect(holds("body.Kind", { body: { kind: "push" } })).toBe(false);
  expect(holds("headers.a.B", { headers: { a: { b: "push" } } })).toBe(false);
});
