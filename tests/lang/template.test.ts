import { describe, expect, test } from "vitest";
import { InvalidInputError } from "../../src/errors.ts";
import { compileTemplates, settingPointer, TemplateError, usesVariable } from "../../src/lang/template.ts";
import type { Json } from "../../src/lib/json.ts";
import type { ParameterMap } from "../../src/schema/schema.ts";

const context = {
  event: { payload: { n: 2, s: "abc", list: [1, "x"], o: { a: null }, yes: true, none: null } },
  rule: { ref: "default.r" },
  now: new Date("2024-05-01T12:00:00Z"),
};

function render(value: Json): Json {
  return compileTemplates(value, "action_params").render(context, (ref) => `<${ref}>`).value;
}

describe("rendering", () => {
  test.each<[string, Json]>([
    ["{{ event.payload.n }}", 2],
    ["{{event.payload.n + 1}}", 3],
    ["{{ event.payload.yes }}", true],
    ["{{ event.payload.none }}", null],
    ["{{ event.payload.list }}", [1, "x"]],
    ["{{ event.payload.o }}", { a: null }],
    ["{{ now }}", "2024-05-01T12:00:00.000Z"],
    ['{{ key("a.b") }}', "<a.b>"],
    ["{{key( 'a.b' )}}", "<a.b>"],
    ['{{ event.payload.s }} {{ key("a.b") }}{{ key("a.c") }}', "abc <a.b><a.c>"],
    ["no {{ event.payload.n }} {{ event.payload.s }}!", "no 2 abc!"],
    [" {{ event.payload.n }}", " 2"],
    ["{{ event.payload.n }}{{ event.payload.n }}", "22"],
    ["o={{ event.payload.o }} l={{ event.payload.list }} z={{ event.payload.none }}", 'o={"a":null} l=[1,"x"] z=null'],
    ["{{ '}}' }}", "}}"],
    ['{{ "a}}\\"}}" }}', 'a}}"}}'],
    ["{{ r'\\d}}' }}", "\\d}}"],
    ["{{ '''it's }}''' }}", "it's }}"],
    ["{{ '{{' }}", "{{"],
    ["{{ {'a': {'b': 1}} }}", { a: { b: 1 } }],
    ["{{{'a': {'b': 1}}}}", { a: { b: 1 } }],
    ["x }} y", "x }} y"],
    ["{ {x} }", "{ {x} }"],
    ["", ""],
    ["{{ 9007199254740991 }} {{ string(9007199254740993) }}", "9007199254740991 9007199254740993"],
    ["{{ 9007199254740993 > event.payload.n }}", true],
  ])("%s", (template, result) => {
    expect(render(template)).toEqual(result);
  });

  test("renders inside lists and objects, and leaves keys and other values unchanged", () => {
    const value = { "{{ k }}": 1, a: ["{{ event.payload.n }}", 2, null], b: { c: "{{ rule.ref }}" }, d: true };
    expect(render(value)).toEqual({ "{{ k }}": 1, a: [2, 2, null], b: { c: "default.r" }, d: true });
  });

  test("a value without templates is returned unchanged", () => {
    const value = { a: [1, { b: "text" }] };
    expect(render(value)).toBe(value);
  });

  test("a key named __proto__ stays a key", () => {
    const rendered = render(JSON.parse('{"__proto__": "{{ event.payload.n }}"}'));
    expect(JSON.stringify(rendered)).toBe('{"__proto__":2}');
  });
});

test("a secret setting is inserted like a key, and no expression reaches it", () => {
  const settings: ParameterMap = {
    token: { type: "string", secret: true },
    region: { type: "string" },
    auth: { type: "object", properties: { "pin-codes": { type: "array", items: { type: "string", secret: true } } } },
  };
  const compile = (template: string) => compileTemplates({ m: template }, "p", settings);
  const { names, places } = compile(
    '{{ pack.config.token }} {{ pack.config.auth["pin-codes"][0] }} {{ pack.config.region }}',
  );
  expect(names).toEqual(["config.token", "config.auth.pin-codes.0"]);
  expect(names.map(settingPointer)).toEqual(["/token", "/auth/pin-codes/0"]);
  expect(places).toMatchObject([{ path: "p.m", pointer: "/m", uses: 2 }]);
  expect(settingPointer("pack.config.token")).toBeNull();
  for (const expression of [
    'pack.config.token + ""',
    'pack["config"]["token"] == "x"',
    "has(pack.config.token)",
    "size(pack.config.auth['pin-codes'][1])",
    "[1].map(x, pack.config.token)",
  ]) {
    expect(() => compile(`{{ ${expression} }}`)).toThrow("is secret and cannot be part of an expression");
  }
  expect(compile("{{ pack.config.region + pack.ref }}").names).toEqual([]);
});

describe("faults", () => {
  test.each([
    ["{{ event", 'action_params.m: the "{{" at character 1 is not closed'],
    ["a {{ 'x }}", 'the "{{" at character 3 is not closed'],
    ["{{ }}", "Unexpected token"],
    ["{{ event. }}", "action_params.m: "],
    ["{{ evnt.payload }}", 'did you mean "event"'],
    ['{{ key("a") + "" }}', "key() cannot be part of an expression"],
    ["{{ key(event.payload.s) }}", "key() cannot be part of an expression"],
    ["{{ 9007199254740993 }}", "action_params.m: the number 9007199254740993 would lose digits"],
    ["id {{ -9007199254740993 }}", "action_params.m: the number 9007199254740993 would lose digits"],
    ["{{ 18446744073709551615u }}", "action_params.m: the number 18446744073709551615 would lose digits"],
    ["{{ {'a': [1, now == now ? 9007199254740993 : 2]} }}", "the number 9007199254740993 would lose digits"],
    ["{{ 1e400 }}", "action_params.m: Invalid number: Infinity"],
    ['x {{ int(key("a")) }}', "key() cannot be part of an expression"],
  ])("%s is refused", (template, message) => {
    expect(() => render({ m: template })).toThrow(InvalidInputError);
    expect(() => render({ m: template })).toThrow(message);
  });

  test("are all listed, each at its path", () => {
    const value = { a: "{{ x }}", b: [1, { c: "{{ 1 + }}" }], d: "{{ rule.ref }}" };
    try {
      render(value);
      expect.unreachable();
    } catch (error) {
      expect(error).toBeInstanceOf(InvalidInputError);
      expect(error instanceof InvalidInputError && error.issues.map(({ path }) => path)).toEqual([
        "action_params.a",
        "action_params.b.1.c",
      ]);
    }
  });

  test("of an evaluation name the path and the reason", () => {
    const value = { message: ["x {{ event.payload.missing }}"] };
    expect(() => render(value)).toThrow(TemplateError);
    expect(() => render(value)).toThrow(/^action_params\.message\.0: No such key: missing/);
  });
});

test.each<[Json, boolean]>([
  ["echo {{ event.payload.x }}", true],
  ["echo {{ rule.ref + event.payload.x }}", true],
  [{ a: ["{{ [1].map(x, event.payload) }}"] }, true],
  ["echo event", false],
  ["echo {{ 'event' }}", false],
  ["echo {{ rule.event }}", false],
  [{ event: 1 }, false],
  [null, false],
])("usesVariable(%j, event) is %s", (value, uses) => {
  expect(usesVariable(value, "event")).toBe(uses);
});
