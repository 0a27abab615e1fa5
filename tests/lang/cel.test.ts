import { describe, expect, test } from "vitest";
import { InvalidInputError } from "../../src/errors.ts";
import { celVariables, compileCel, ExpressionError, ruleScope } from "../../src/lang/cel.ts";
import { createMeter } from "../../src/lang/meter.ts";

const event = {
  payload: JSON.parse(
    '{"n":5,"f":2.5,"s":"abc","z":null,"yes":true,"list":[1,2,3],"mixed":[1,"a"],"o":{"a":1},"items":[{"x":1},{"x":2}]}',
  ),
};

function run(source: string, more: Record<string, unknown> = {}) {
  return compileCel(source)({ event, now: new Date("2024-05-01T12:00:00Z"), ...more }, createMeter());
}

describe("numbers: doubles in JSON, integers in expressions", () => {
  test.each([
    ["event.payload.n + 1", 6],
    ["1 + event.payload.n", 6],
    ["event.payload.n - 1", 4],
    ["2 * event.payload.f", 5],
    ["event.payload.n / 2", 2.5],
    ["event.payload.n % 2", 1],
    ["7 / 2", 3],
    ["event.payload.n == 5", true],
    ["5 != event.payload.n", false],
    ["event.payload.n > 4 && event.payload.f < 3", true],
    ["size(event.payload.list) == 3.0", true],
    ["1 == 1.5", false],
    ["event.payload.n in [1, 5]", true],
    ["1 in event.payload.list", true],
    ["event.payload.list == [1, 2, 3]", true],
    ["event.payload.list[0]", 1],
  ])("%s is %j", (source, value) => {
    expect(run(source)).toBe(value);
  });

  test("integers are returned as numbers, at any depth", () => {
    expect(run("{'a': [1, 2.5, {'b': size('xy')}]}")).toEqual({ a: [1, 2.5, { b: 2 }] });
    expect(run("[event.payload.n, 'x', null]")).toEqual([5, "x", null]);
    expect(run("uint(3)")).toBe(3);
  });

  test("a number that JSON cannot represent is an error", () => {
    expect(() => run("9007199254740993")).toThrow(/9007199254740993 would lose digits/);
    expect(() => run("9007199254740992 + 1")).toThrow(/9007199254740993 is too large/);
    expect(() => run("event.payload.n / 0")).toThrow(/Infinity is not a JSON number/);
    expect(() => run("[type(1)]")).toThrow(/is a type/);
  });
});

describe("values", () => {
  test.each([
    ["event.payload.z == null", true],
    ["event.payload.s == null", false],
    ["event.payload.s == event.payload.n", false],
    ["has(event.payload.missing)", false],
    ["has(event.payload.z)", true],
    ["event.payload.list.map(x, x * 2)", [2, 4, 6]],
    ["event.payload.items.filter(i, i.x > 1).map(i, i.x)", [2]],
    ["event.payload.mixed.exists(x, x == 'a')", true],
    ["event.payload.s.regex('^a.c$')", true],
    ["event.payload.s.startsWith('ab') ? 'yes' : 'no'", "yes"],
    ["now - duration('1h')", "2024-05-01T11:00:00.000Z"],
    ["now > timestamp('2024-01-01T00:00:00Z')", true],
    ["now - timestamp('2024-05-01T11:00:00Z')", "3600s"],
    ["b'hi'", "aGk="],
    ["event.payload.o", { a: 1 }],
  ])("%s is %j", (source, value) => {
    expect(run(source)).toEqual(value);
  });

  test.each([
    ["event.payload.missing", "No such key: missing (at character 15)"],
    ["has(event.payload.no.deeper)", "No such key: no"],
    ["event.payload.list[3]", "index out of bounds"],
    ["event.payload.s + 1", "no such overload: string + int"],
    ["event.payload.s < 1", "no such overload: string < int"],
    ["event.payload.n.size()", "no matching overload"],
    ["event.payload.s.regex('[')", "the pattern cannot be compiled"],
    ["rule.ref", "Unknown variable: rule"],
  ])("%s throws: %s", (source, message) => {
    expect(() => run(source)).toThrow(ExpressionError);
    expect(() => run(source)).toThrow(message);
  });
});

describe("refused on compilation, with path and position", () => {
  test.each([
    ["Unexpected token: EOF (at character 1)", ""],
    ["(at character 7)", "event."],
    ["Unexpected token: EOF (at character 4)", "1 +"],
    ['did you mean "event"', "evnt.payload"],
    ["known names: event, rule, trigger, pack, now", "payload.x"],
    ["no matching overload", "nothing(1)"],
    ["no such overload: int + string (at character 1)", "1 + 'a'"],
    ["matches() is not available", "event.payload.s.matches('(a+)+$')"],
    ["(at character 9)", "true || event.payload.s.matches('a')"],
    ["filter() must not be inside", "event.payload.list.map(x, event.payload.list.filter(y, y > x))"],
    ["exists() must not be inside", "event.payload.list.all(x, [1].exists(y, y == x))"],
    ["map() must not be inside", "event.payload.list.map(x, {'a': [-(size([1].map(y, y)))]})"],
    ["cel.bind() is not available", "cel.bind(x, [1, 1], x + x)"],
    ["maxDepth (30)", `${"(".repeat(40)}1${")".repeat(40)}`],
    ["maxAstNodes (500)", Array.from({ length: 300 }, () => "1").join("+")],
    ["at character", "!".repeat(5000)],
    ["at most 10000 characters", "1".repeat(10_001)],
  ])("%s", (message, source) => {
    expect(() => compileCel(source, "conditions.0.expression")).toThrow(InvalidInputError);
    expect(() => compileCel(source, "conditions.0.expression")).toThrow(/^conditions\.0\.expression: /);
    expect(() => compileCel(source, "conditions.0.expression")).toThrow(message);
  });
});

describe("prototypes cannot be reached", () => {
  test.each([
    "event.payload.constructor",
    "event.payload['constructor']",
    "event.payload['__pro' + 'to__']",
    "event.payload.toString",
    "event.payload.list.length",
    "event.payload.list['constructor']",
    "event.payload.s.constructor",
    "event.payload.n['constructor']",
    "now.constructor",
    "now.getTime",
    "duration('1s').constructor",
  ])("%s throws", (source) => {
    expect(() => run(source)).toThrow();
  });

  test.each([
    "constructor",
    "toString",
    "__proto__",
    "event.payload.__proto__",
    "now.__proto__",
    "now['__proto__']",
    "event.payload.s.call()",
  ])("%s does not compile", (source) => {
    expect(() => compileCel(source)).toThrow(InvalidInputError);
  });

  test("a computed name on a timestamp finds nothing", () => {
    const name = "'__pro' + 'to__'";
    expect(run(`now[${name}]`)).toEqual({});
    expect(() => run(`now[${name}].getTime`)).toThrow();
    expect(() => run(`now[${name}][${name}].constructor`)).toThrow();
  });

  test("a map's own __proto__ from JSON is a plain key", () => {
    const odd = { payload: JSON.parse('{"__proto__":{"a":1}}') };
    expect(compileCel("event.payload['__pro' + 'to__']")({ event: odd }, createMeter())).toEqual({ a: 1 });
    const whole = compileCel("event.payload")({ event: odd }, createMeter());
    expect(JSON.stringify(whole)).toBe('{"__proto__":{"a":1}}');
    expect(Object.getPrototypeOf(whole)).toBe(Object.prototype);
  });
});

test.each([
  "key('a.b')",
  "key('a.b') + '!'",
  "size(key('a'))",
  "[1].map(x, key('a'))",
  "{'a': [key(event.x)]}",
  "true ? key('a') : ''",
])("%s is refused: no expression reaches a key", (source) => {
  for (const scope of [ruleScope, { variables: ["event"] }]) {
    expect(() => compileCel(source, "", scope)).toThrow("key() cannot be part of an expression");
  }
});

test("a result of more than a million values is an error and does not exhaust memory", () => {
  const list = Array.from({ length: 2000 }, (_, i) => i);
  expect(() => compileCel("event.map(x, event)")({ event: list }, createMeter())).toThrow("too much work");
});

test("celVariables returns the variables of an expression", () => {
  expect(celVariables("has(event.payload.x) ? [rule.ref].map(x, x + pack.config.k) : []", "", ruleScope)).toEqual(
    new Set(["event", "rule", "pack", "x"]),
  );
});

test("a header's name in a template is refused or fails with the right spelling", () => {
  expect(() => compileCel("event.payload.headers.X-GitHub-Event")).toThrow(
    /Unknown variable: GitHub.*; write a name with "-" in brackets: event\.payload\.headers\["x-name"\]/,
  );
  expect(() => compileCel("size(nothing)")).toThrow("known names");
  const event = { payload: { headers: { "x-github-event": "push" } } };
  expect(() => compileCel('event.payload.headers["X-GitHub-Event"]')({ event }, createMeter())).toThrow(
    'the names of headers are in lower case: "x-github-event"',
  );
});
