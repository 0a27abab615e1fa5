import { describe, expect, test } from "vitest";
import { z } from "zod";
import { InvalidInputError } from "../../src/errors.ts";
import type { Json, JsonObject } from "../../src/lib/json.ts";
import { checkInput } from "../../src/schema/input.ts";
import { compileParameters, compilePayloadSchema, type ParameterMap, parameterMap } from "../../src/schema/schema.ts";

function issues(attempt: () => unknown): Record<string, string> {
  try {
    attempt();
  } catch (error) {
    if (error instanceof InvalidInputError) return Object.fromEntries(error.issues.map((i) => [i.path, i.message]));
    throw error;
  }
  return {};
}

const parameters = parameterMap.parse({
  message: { type: "string", required: true, min_length: 1 },
  count: { type: "integer", default: 3, minimum: 1, maximum: 10 },
  level: { type: "string", enum: ["low", "high"] },
  tags: { type: "array", items: { type: "string", pattern: "^[a-z]+$" }, max_length: 2 },
  options: {
    type: "object",
    properties: { retries: { type: "integer", default: 1 }, name: { type: "string", required: true } },
  },
  anything: { type: "any" },
});

describe("parameters", () => {
  const check = compileParameters(parameters);

  test("defaults are filled in, also inside a given object; the input is not modified", () => {
    const values = { message: "hi", options: { name: "x" } };
    expect(check(values, "parameters")).toEqual({ message: "hi", count: 3, options: { name: "x", retries: 1 } });
    expect(values).toEqual({ message: "hi", options: { name: "x" } });
    expect(check({ message: "hi" }, "parameters")).toEqual({ message: "hi", count: 3 });
  });

  test.each<[JsonObject, string, string]>([
    [{}, "parameters.message", "is required"],
    [{ message: null }, "parameters.message", "expected a string, not nothing"],
    [{ message: 1.5 }, "parameters.message", "expected a string, not a number"],
    [{ message: "" }, "parameters.message", "expected at least 1 character"],
    [{ message: "a", count: "3" }, "parameters.count", "expected a whole number, not a string"],
    [{ message: "a", count: 1.5 }, "parameters.count", "expected a whole number, not 1.5"],
    [{ message: "a", count: 0 }, "parameters.count", "expected a number of at least 1"],
    [{ message: "a", level: "mid" }, "parameters.level", 'must be one of "low","high"'],
    [{ message: "a", tags: ["ok", "No"] }, "parameters.tags.1", "expected text that matches ^[a-z]+$"],
    [{ message: "a", tags: ["a", "b", "c"] }, "parameters.tags", "expected at most 2 items"],
    [{ message: "a", options: {} }, "parameters.options.name", "is required"],
    [
      { message: "a", options: { name: "a", retrys: 1 } },
      "parameters.options.retrys",
      'there is no parameter of this name; did you mean "retries"?',
    ],
    [{ message: "a", mesage: "b" }, "parameters.mesage", 'there is no parameter of this name; did you mean "message"?'],
    [{ message: "a", zzzzzz: 1 }, "parameters.zzzzzz", "there is no parameter of this name"],
    [JSON.parse('{"message": "a", "__proto__": {}}'), "parameters.__proto__", "there is no parameter of this name"],
  ])("%j: %s %s", (values, path, message) => {
    expect(issues(() => check(values, "parameters"))).toEqual({ [path]: message });
  });

  test("all faults are listed; without a path each has only its name", () => {
    expect(Object.keys(issues(() => check({ count: 11, level: 1, x: 1 }, ""))).sort()).toEqual([
      "count",
      "level",
      "message",
      "x",
    ]);
  });

  test("the type any accepts any JSON, null included", () => {
    for (const anything of [null, 1, "a", [1], { a: 1 }] satisfies Json[]) {
      expect(check({ message: "a", anything }, "p")).toMatchObject({ anything });
    }
  });

  test("an empty map accepts no parameters", () => {
    expect(compileParameters({})({}, "p")).toEqual({});
    expect(issues(() => compileParameters({})({ a: 1 }, "p"))).toHaveProperty(["p.a"]);
  });

  test("names of Object.prototype are allowed as names", () => {
    const odd = compileParameters(
      parameterMap.parse({ constructor: { type: "string", required: true }, toString: { type: "string" } }),
    );
    expect(issues(() => odd(JSON.parse("{}"), "p"))).toEqual({ "p.constructor": "is required" });
    expect(odd(JSON.parse('{"constructor":"x"}'), "p")).toEqual(JSON.parse('{"constructor":"x"}'));
  });

  test("formats are checked; a hostile pattern ends at once; two patterns are distinguished", () => {
    const check = compileParameters({
      at: { type: "string", format: "date-time" },
      a: { type: "string", pattern: "^(a+)+$" },
      b: { type: "string", pattern: "^b$" },
    });
    const started = performance.now();
    const found = issues(() => check({ at: "yesterday", a: `${"a".repeat(50_000)}!`, b: "a" }, "p"));
    expect(Object.keys(found)).toEqual(["p.at", "p.a", "p.b"]);
    expect(performance.now() - started).toBeLessThan(2000);
  });

  test("a secret has at least six characters, and no message shows it", () => {
    const check = compileParameters({ token: { type: "string", secret: true } });
    expect(issues(() => check({ token: "abcde" }, "p"))).toEqual({
      "p.token": "expected at least 6 characters",
    });
    expect(check({ token: "abcdef" }, "p")).toEqual({ token: "abcdef" });
  });
});

describe("payloads", () => {
  const check = compilePayloadSchema({
    body: { type: "object", required: true, properties: { action: { type: "string", required: true } } },
    n: { type: "number", default: 0 },
  });

  test("undeclared fields are accepted, at any depth", () => {
    expect(check({ body: { action: "x", more: 1 }, extra: [] }, "payload")).toEqual({
      body: { action: "x", more: 1 },
      extra: [],
      n: 0,
    });
  });

  test("a violation names the path", () => {
    expect(issues(() => check({ body: { action: 1 } }, "payload"))).toEqual({
      "payload.body.action": "expected a string, not a number",
    });
    expect(issues(() => check({}, "payload"))).toEqual({ "payload.body": "is required" });
  });

  test("the same map is closed for parameters and open for payloads", () => {
    const map: ParameterMap = { a: { type: "string" } };
    expect(compilePayloadSchema(map)({ b: 1 }, "p")).toEqual({ b: 1 });
    expect(issues(() => compileParameters(map)({ b: 1 }, "p"))).toHaveProperty(["p.b"]);
    expect(compilePayloadSchema(map)({ b: 1 }, "p")).toEqual({ b: 1 });
  });
});

describe("a parameter map", () => {
  test.each<[Json, string]>([
    [{ a: {} }, "a.type"],
    [{ a: { type: "text" } }, "a.type"],
    [{ a: { type: "string", requird: true } }, "a"],
    [{ "1a": { type: "string" } }, "1a"],
    [{ "a.b": { type: "string" } }, "a.b"],
    [{ a: { type: "string", minimum: 1 } }, "a.minimum"],
    [{ a: { type: "integer", pattern: "x" } }, "a.pattern"],
    [{ a: { type: "integer", secret: true } }, "a.secret"],
    [{ a: { type: "integer", takes_secrets: true } }, "a.takes_secrets"],
    [{ a: { type: "integer", minimum: 2, maximum: 1 } }, "a.maximum"],
    [{ a: { type: "string", min_length: 2, max_length: 1 } }, "a.max_length"],
    [{ a: { type: "string", min_length: -1 } }, "a.min_length"],
    [{ a: { type: "string", pattern: "(?=a)" } }, "a.pattern"],
    [{ a: { type: "string", format: "regex" } }, "a.format"],
    [{ a: { type: "string", enum: [] } }, "a.enum"],
    [{ a: { type: "integer", default: "1" } }, "a.default"],
    [{ a: { type: "array", items: { type: "integer" }, default: [1, "x"] } }, "a.default.1"],
    [{ a: { type: "array", items: { type: "string", minimum: 1 } } }, "a.items.minimum"],
    [{ a: { type: "object", properties: { b: { type: "string", pattern: "[" } } } }, "a.properties.b.pattern"],
  ])("%j is refused at %s", (map, path) => {
    const result = parameterMap.safeParse(map);
    expect(result.error?.issues.map((issue) => issue.path.join("."))).toEqual([path]);
  });

  test("the name __proto__ is dropped", () => {
    const map = parameterMap.parse(JSON.parse('{"__proto__": {"type": "string"}}'));
    expect(Object.keys(map)).toEqual([]);
    expect(Object.getPrototypeOf(map)).toBe(Object.prototype);
  });

  test("that is nested too deep is refused", () => {
    let map: Json = { a: { type: "string" } };
    for (let i = 0; i < 12; i++) map = { a: { type: "object", properties: map } };
    expect(parameterMap.safeParse(map).error?.issues[0]?.message).toContain("at most 10 deep");
  });
});

describe("a field of an input", () => {
  const fields = z.strictObject({
    count: z.int().optional(),
    whole: z.int().min(1).max(5).optional(),
    part: z.number().gt(0).lt(1).optional(),
    step: z.number().multipleOf(5).optional(),
    name: z.string().min(2).max(3).optional(),
    exact: z.string().length(2).optional(),
    code: z.string().regex(/^a+$/).optional(),
    list: z.array(z.string()).min(1).max(2).optional(),
    flag: z.boolean().optional(),
    kind: z.enum(["one", "two"]).optional(),
    only: z.literal("x").optional(),
    at: z.iso.datetime().optional(),
    link: z.url().optional(),
    either: z.union([z.string(), z.array(z.string())]).optional(),
    sort: z
      .discriminatedUnion("type", [z.strictObject({ type: z.literal("a") }), z.strictObject({ type: z.literal("b") })])
      .optional(),
    map: z.record(z.string().regex(/^[a-z]+$/), z.int()).optional(),
    odd: z
      .string()
      .refine(() => false)
      .optional(),
  });

  test.each<[string, unknown, string, string]>([
    ["whole", 1.5, "whole", "expected a whole number, not 1.5"],
    ["whole", "1", "whole", "expected a number, not a string"],
    ["whole", 0, "whole", "expected a number of at least 1"],
    ["whole", 6, "whole", "expected a number of at most 5"],
    ["count", 1e20, "count", "expected a whole number of at most 9007199254740991"],
    ["part", null, "part", "expected a number, not nothing"],
    ["part", Number.NaN, "part", "expected a number, not NaN"],
    ["part", 0, "part", "expected a number of more than 0"],
    ["part", 1, "part", "expected a number of less than 1"],
    ["step", 3, "step", "expected a multiple of 5"],
    ["name", "a", "name", "expected at least 2 characters"],
    ["name", "abcd", "name", "expected at most 3 characters"],
    ["exact", "a", "exact", "expected exactly 2 characters"],
    ["code", "b", "code", "expected text that matches /^a+$/"],
    ["list", [], "list", "expected at least 1 item"],
    ["list", ["a", 1], "list.1", "expected a string, not a number"],
    ["flag", "yes", "flag", "expected true or false, not a string"],
    ["kind", "tw", "kind", 'expected one of one, two; did you mean "two"?'],
    ["only", "y", "only", "expected x"],
    ["at", "noon", "at", "expected a time such as 2026-01-31T12:00:00Z"],
    ["link", "here", "link", "expected a URL such as https://example.org/a"],
    ["either", 1, "either", "expected a string or a list, not a number"],
    ["either", [1], "either", "0: expected a string, not a number"],
    ["sort", { type: "c" }, "sort.type", "expected one of a, b"],
    ["sort", {}, "sort.type", "expected one of a, b"],
    ["map", { A: 1 }, "map.A", "expected text that matches /^[a-z]+$/"],
    ["map", { a: "1" }, "map.a", "expected a number, not a string"],
    ["odd", "x", "odd", "does not fit here"],
    ["flags", 1, "flags", 'unknown field "flags"; did you mean "flag"?'],
  ])("%s: %j is refused with what was expected", (name, value, path, message) => {
    expect(issues(() => checkInput(fields, { [name]: value }))).toEqual({ [path]: message });
  });
});
