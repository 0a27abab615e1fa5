import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Json, JsonObject } from "../../src/lib/json.ts";
import { lintRule } from "../../src/rule/lint.ts";
import type { ParameterMap } from "../../src/schema/schema.ts";
import { type Api, createApi } from "../support/api.ts";
import { createWorld, type World } from "../support/world.ts";

const payload: ParameterMap = {
  action: { type: "string", enum: ["opened", "closed"] },
  size: { type: "integer" },
  draft: { type: "boolean" },
  labels: { type: "array", items: { type: "object", properties: { name: { type: "string" } } } },
  headers: { type: "object", properties: { "x-name": { type: "string" } } },
  body: { type: "any" },
};

function lint(conditions: Json[], { condition = "all" as "any" | "all", actionParams = {} as JsonObject } = {}) {
  const parameters: ParameterMap = { message: { type: "string" } };
  const rule = { condition, conditions, actionRef: "core.echo", actionParams };
  return lintRule(rule, { payload, parameters }).map(({ kind, path, message, suggestion }) => {
    expect(suggestion).not.toBe("");
    return [kind, path, `${message}. ${suggestion}`];
  });
}
const c = (field: string, operator: string, value?: Json): JsonObject => ({
  field,
  operator,
  ...(value === undefined ? {} : { value }),
});

describe("the linter", () => {
  const cases: [what: string, conditions: Json[], kind: string, path: string, text: RegExp][] = [
    [
      "an unknown path",
      [c("actoin", "equals", "opened")],
      "unknown_path",
      "conditions.0.field",
      /no "actoin".*"action"/,
    ],
    ["an unknown path in a list", [c("labels.0.nam", "exists")], "unknown_path", "conditions.0.field", /"name"/],
    ["a list without a position", [c("labels.name", "exists")], "unknown_path", "conditions.0.field", /labels\.0/],
    ["a path in a text", [c("action.kind", "exists")], "unknown_path", "conditions.0.field", /is a string/],
    [
      "an unknown path in CEL",
      [{ expression: "event.payload.sizes > 1" }],
      "unknown_path",
      "conditions.0.expression",
      /"size"/,
    ],
    [
      "a number as text",
      [c("size", "equals", "10")],
      "type_mismatch",
      "conditions.0.value",
      /Compare with a number: 10/,
    ],
    ["a flag as text", [c("draft", "equals", "true")], "type_mismatch", "conditions.0.value", /boolean: true/],
    [
      "a text operator on a number",
      [c("size", "startswith", "1")],
      "type_mismatch",
      "conditions.0.value",
      /operator for a number/,
    ],
    ["an order of a list", [c("labels", "lt", 1)], "type_mismatch", "conditions.0.value", /is a list/],
    [
      "a value that the schema does not list",
      [c("action", "equals", "open")],
      "type_mismatch",
      "conditions.0.value",
      /"opened", "closed"/,
    ],
    ["a list of other types", [c("size", "in", ["1", "2"])], "type_mismatch", "conditions.0.value", /number/],
    ["a mismatch below not", [{ not: c("size", "equals", "1") }], "type_mismatch", "conditions.0.not.value", /number/],
    ["a value that is ignored", [c("size", "exists", true)], "ignored_value", "conditions.0.value", /ignores/],
    [
      "a pattern that does not compile",
      [c("action", "regex", "(")],
      "invalid",
      "conditions.0.value",
      /cannot be saved/,
    ],
    [
      "CEL that does not type-check",
      [{ expression: "1 + 'a'" }],
      "invalid",
      "conditions.0.expression",
      /cannot be saved/,
    ],
    [
      "two values at once",
      [c("body", "equals", 1), c("body", "equals", 2)],
      "contradiction",
      "conditions.0",
      /conditions\.1/,
    ],
    [
      "a list against a test",
      [c("body", "in", ["ab", "ac"]), c("body", "startswith", "b")],
      "contradiction",
      "conditions.0",
      /conditions\.1/,
    ],
    [
      "absence and a value",
      [c("body.x", "gt", 1), c("body.x", "nexists")],
      "contradiction",
      "conditions.1",
      /conditions\.0/,
    ],
    ["an empty range", [c("size", "gt", 5), c("size", "lt", 5)], "contradiction", "conditions.1", /conditions\.0/],
    ["a repetition", [c("size", "gt", 5), c("size", "gt", 5)], "unreachable", "conditions.1", /repeats conditions\.0/],
    [
      "a value within another",
      [{ any: [c("size", "equals", 7), c("size", "gt", 5)] }],
      "unreachable",
      "conditions.0.any.0",
      /any\.1/,
    ],
  ];
  test.each(cases)("finds %s", (_what, conditions, kind, path, text) => {
    expect(lint(conditions)).toEqual([[kind, path, expect.stringMatching(text)]]);
  });

  test("finds parameters that the action does not take, and paths in templates", () => {
    expect(lint([], { actionParams: { messag: "x" } })).toEqual([
      ["invalid", "actionParams.messag", expect.stringContaining("message")],
    ]);
    expect(lint([], { actionParams: { message: "{{ event.payload.sizes }}" } })).toEqual([
      ["unknown_path", "actionParams.message", expect.stringContaining('"size"')],
    ]);
  });

  test("finds nothing in rules without a mistake", () => {
    const fine = [
      [],
      [c("action", "equals", "opened"), c("size", "gt", 5), c("size", "lte", 6)],
      [c("headers.X-Name", "equals", "a"), c("body.anything.0", "regex", "^a")],
      [c("labels.0.name", "iequals", "bug"), c("labels", "contains", { name: "bug" })],
      [{ any: [c("size", "equals", 4), c("size", "gt", 5)] }, c("size", "nin", [3])],
      [{ expression: "event.payload.labels.exists(l, l.name == 'bug') && event.payload.labels[0].name != ''" }],
      [c("size", "is_type", "integer"), c("size", "between", [1, 1])],
    ];
    for (const conditions of fine) expect(lint(conditions)).toEqual([]);
    expect(lint([c("size", "gt", 5), c("size", "lt", 5)], { condition: "any" })).toEqual([]);
  });
});

describe("findings in the API", () => {
  let world: World;
  let api: Api;
  beforeAll(async () => {
    world = await createWorld();
    api = await createApi(world.services);
  });
  afterAll(async () => {
    await api[Symbol.asyncDispose]();
    await world[Symbol.asyncDispose]();
  });

  test("are in the result of the mutation that saves a rule, and in lintRule for rules and drafts", async () => {
    const trigger = await world.trigger({ outSchema: payload as unknown as JsonObject });
    const conditions = [
      { field: "sizes", operator: "GT", value: 1 },
      { field: "size", operator: "EXISTS", value: true },
    ];
    const fields = { trigger, action: "core.noop", conditions };
    const findings = [
      {
        ...{ kind: "IGNORED_VALUE", path: "conditions.1.value", message: '"exists" ignores its value' },
        suggestion: expect.any(String),
      },
      {
        ...{ kind: "UNKNOWN_PATH", path: "conditions.0.field" },
        message: 'the trigger\'s schema has no "sizes" in the payload',
        suggestion: expect.stringContaining('"size"'),
      },
    ];
    const wanted = "warnings { kind path message suggestion }";
    const saved = await api.ask(
      world.session,
      `mutation ($input: CreateRuleInput!) { createRule(input: $input) { ... on CreateRulePayload { rule { ${wanted} } } } }`,
      { input: { ref: "default.linted", ...fields } },
    );
    expect(saved.errors).toBeUndefined();
    expect(saved.data.createRule.rule.warnings).toEqual(findings);
    const { data, errors } = await api.ask(
      world.session,
      `query ($draft: RuleDraftInput) { saved: lintRule(rule: "default.linted") { kind path message suggestion }
        draft: lintRule(draft: $draft) { kind path message suggestion } }`,
      { draft: fields },
    );
    expect(errors).toBeUndefined();
    expect(data).toEqual({ saved: findings, draft: findings });
  });
});
