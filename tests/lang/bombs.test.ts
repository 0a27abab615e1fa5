import { describe, expect, test } from "vitest";
import { compileCel } from "../../src/lang/cel.ts";
import { compileCriteria } from "../../src/lang/criteria.ts";
import { cpuTime, createMeter } from "../../src/lang/meter.ts";
import { compileTemplates } from "../../src/lang/template.ts";
import type { Json } from "../../src/lib/json.ts";

/** Values of about a megabyte, as one event may contain. */
const nested = (depth: number): Json => (depth === 0 ? 1 : [nested(depth - 1)]);
const payload = {
  text: "a".repeat(1_000_000),
  half: `${"a".repeat(500_000)}b`,
  numbers: Array.from({ length: 200_000 }, (_, index) => index),
  texts: Array.from({ length: 50_000 }, (_, index) => `text ${index}`),
  alike: Array.from({ length: 1000 }, () => "y".repeat(1000)),
  lists: Array.from({ length: 2000 }, () => Array.from({ length: 100 }, () => 1)),
  map: Object.fromEntries(Array.from({ length: 50_000 }, (_, index) => [`key${index}`, index])),
  deep: nested(190),
  digits: "1".repeat(1_000_000),
  period: "1".repeat(3000),
  patterns: Array.from({ length: 20_000 }, (_, index) => `a{99}[${index}]{90}`),
  heavy: Array.from({ length: 2000 }, (_, index) => `${"a{1000}".repeat(index % 19)}b${index}`),
  lines: Array.from({ length: 10 }, () => "Line ".repeat(20_000)),
};
const event = { payload };

/** Returns the milliseconds of processor time that it takes, and the error's message. */
function measure(run: () => unknown): { ms: number; message: string } {
  const from = cpuTime();
  try {
    run();
    return { ms: cpuTime() - from, message: "" };
  } catch (error) {
    return { ms: cpuTime() - from, message: String(error) };
  }
}
// The budget is 100 ms; the rest is for the compiler, the garbage collector and one step that is under way.
const longestMs = 600;

const lists = ["numbers", "texts", "alike", "lists", "map"].map((name) => `event.payload.${name}`);
/** Expressions for one item, each of which may read or make a large value. */
const bodies = [
  "event.payload.text + string(size(event.payload.half))",
  "event.payload.text + event.payload.half",
  "event.payload.text.contains(event.payload.half)",
  "event.payload.text.indexOf(event.payload.half) > 0",
  "event.payload.text.lastIndexOf(event.payload.half) > 0",
  "event.payload.text.endsWith(event.payload.half)",
  'event.payload.text.split("")',
  'event.payload.text.split("a").size()',
  'event.payload.text.split("a").join("bb")',
  "event.payload.text.size()",
  "event.payload.text.lowerAscii()",
  "event.payload.text.upperAscii() == event.payload.half",
  "event.payload.text.trim()",
  'event.payload.texts.join(",")',
  'event.payload.half.regex("a*b")',
  "bytes(event.payload.text)",
  "bytes(event.payload.text).hex()",
  "bytes(event.payload.text).base64()",
  "event.payload.numbers + event.payload.numbers",
  "event.payload.numbers == event.payload.numbers + []",
  "event.payload.map == event.payload.map",
  "event.payload.lists == event.payload.lists + []",
  "event.payload.deep == event.payload.deep + []",
  "event.payload.deep in event.payload.lists",
  "x in event.payload.numbers",
  "x in event.payload.alike",
  "x in event.payload.lists",
  "[event.payload.text] in event.payload.lists",
  "size(event.payload.map)",
  "double(event.payload.digits)",
  "event.payload.text < event.payload.half",
  'now.getHours("Europe/Paris")',
  'now.getDayOfYear("Asia/Tokyo")',
  "[[x, x, x, x], [x, x, x, x], [x, x, x, x]]",
  "{'a': x, 'b': [x, x]}",
];
const loops = bodies.map(
  (body, index) =>
    [
      `event.payload.numbers.map(x, ${body})`,
      `event.payload.numbers.exists(x, (${body}) == null)`,
      `event.payload.numbers.filter(x, (${body}) == x)`,
      `event.payload.numbers.all(x, (${body}) != null || true)`,
    ][index % 4] as string,
);
const chains = lists.flatMap((list) => [
  `${list}.map(x, x).map(x, [x]).map(x, [x, x]).map(x, [x, x, x])`,
  `${list}.exists(x, x in ${list})`,
  `${list}.exists_one(x, ${list} == [x])`,
]);
const others = [
  "duration(event.payload.period)",
  "event.payload.alike.map(x, {event.payload.text: 1})",
  'event.payload.patterns.exists(x, "text".regex(x))',
  'event.payload.heavy.exists(x, "text".regex(x))',
  'event.payload.heavy.map(x, event.payload.heavy.join("").regex(x))',
  'event.payload.lines.map(x, x.regex("(a?){900}"))',
  'event.payload.heavy.map(x, "a".regex("(L?){900}"))',
];

describe("an expression that takes too much work", () => {
  test("has a table that many of its rows fill", () => {
    expect(loops.length + chains.length).toBeGreaterThan(45);
  });

  test.each([...loops, ...chains, ...others])("%s ends in time", (source) => {
    let run: ReturnType<typeof compileCel>;
    try {
      run = compileCel(source);
    } catch (error) {
      expect(String(error)).toMatch(/overload|type|inside/); // refused when it is saved
      return;
    }
    const before = process.memoryUsage().rss;
    const { ms } = measure(() => JSON.stringify(run({ event, now: new Date() }, createMeter())));
    expect(ms).toBeLessThan(longestMs);
    expect(process.memoryUsage().rss - before).toBeLessThan(400 * 1024 * 1024);
  });

  test("says so, whatever would have caught the error", () => {
    for (const source of [
      'event.payload.numbers.map(x, event.payload.text + "b")',
      'event.payload.numbers.exists(x, event.payload.text + "b" == "c") || true',
      'true || event.payload.numbers.exists(x, event.payload.text + "b" == "c")',
      'event.payload.numbers.exists(x, event.payload.text + "b" == "c") ? 1 : 2',
    ]) {
      const { message } = measure(() => compileCel(source)({ event, now: new Date() }, createMeter()));
      if (source.startsWith("true")) expect(message).toBe("");
      else expect(message).toMatch(/too much work for one event/);
    }
  });
});

test.each(["exists", "all"])("%s() reads no further item once the budget is used up", (macro) => {
  const read = new Set<string | symbol>();
  const watched = new Proxy(payload.numbers, {
    get: (list, key, receiver) => {
      read.add(key);
      return Reflect.get(list, key, receiver);
    },
  });
  const source = `event.payload.watched.${macro}(x, event.payload.text + "b" == "c")`;
  const given = { event: { payload: { ...payload, watched } }, now: new Date() };
  expect(() => compileCel(macro === "all" ? source.replace("==", "!=") : source)(given, createMeter())).toThrow(
    /too much work for one event/,
  );
  expect(read.size).toBeLessThan(100);
});

test("ordinary expressions over a large event are within the budget", () => {
  const run = (source: string) => compileCel(source)({ event, now: new Date() }, createMeter());
  expect(run("event.payload.text.contains('b')")).toBe(false);
  expect(run("event.payload.texts.exists(x, x == 'text 49999')")).toBe(true);
  expect(run("event.payload.numbers.filter(x, x > 10.0).size()")).toBe(199_989);
  expect(run("event.payload.texts.map(x, x.upperAscii()).size()")).toBe(50_000);
  expect(run("'text 7' in event.payload.texts")).toBe(true);
  expect(run("size(event.payload.text)")).toBe(1_000_000);
  expect(run("event.payload.numbers")).toHaveLength(200_000);
});

test("all criteria of a rule share a budget: what is too much has an error, and the rule does not match", () => {
  const search = { field: "text", operator: "contains", value: `${"a".repeat(400_000)}b` };
  const conditions = [
    { field: "text", operator: "startswith", value: "a" },
    ...Array.from({ length: 150 }, () => search),
    { expression: "true" },
  ];
  const evaluate = compileCriteria("any", conditions);
  const { ms } = measure(() => evaluate(payload));
  expect(ms).toBeLessThan(longestMs);
  const { criteria } = evaluate(payload);
  expect(criteria[0]).toMatchObject({ result: true, error: null });
  expect(criteria.at(-1)).toMatchObject({ result: false, error: expect.stringMatching(/too much work for one event/) });
  const strict = compileCriteria("all", conditions)(payload);
  expect(strict.matched).toBe(false);
});

test.each([
  ["icontains over long items of a list", { field: "lines", operator: "icontains", value: "no such line" }],
  ["regex with a long program", { field: "word", operator: "regex", value: "[ab]{900}[yz]|[ab]{900}[xyz]" }],
  ["matchwildcard", { field: "word", operator: "matchwildcard", value: "*[ab]".repeat(100) }],
])("200 criteria with %s end in time", (_what, criterion) => {
  const evaluate = compileCriteria(
    "any",
    Array.from({ length: 200 }, () => criterion),
  );
  const { ms } = measure(() => evaluate({ ...payload, word: "abba".repeat(500) }));
  expect(ms).toBeLessThan(longestMs);
});

test("the outcome of a rule's criteria quotes little of large values", () => {
  const fields = ["text", "numbers", "map", "deep", "lines", "alike"];
  const conditions = Array.from({ length: 200 }, (_, index) => ({
    field: fields[index % fields.length] as string,
    operator: "nequals",
    value: "y".repeat(5000),
  }));
  const { criteria } = compileCriteria("all", conditions)(payload);
  expect(JSON.stringify(criteria).length).toBeLessThan(300_000);
  expect(criteria.slice(0, 3)).toMatchObject([
    { actual: `${"a".repeat(500)}… (999500 more characters)`, expected: `${"y".repeat(500)}… (4500 more characters)` },
    { actual: "a list of 200000 items" },
    { actual: "an object with 50000 fields" },
  ]);
  const [small] = compileCriteria("all", [{ field: "a", operator: "exists" }])({ a: { b: [1, "c"] } }).criteria;
  expect(small).toMatchObject({ actual: { b: [1, "c"] } });
});

test("all templates of a rule share a budget", () => {
  const values = Object.fromEntries(
    Array.from({ length: 100 }, (_, index) => [`p${index}`, "{{ event.payload.text.split('') }}"]),
  );
  const { render } = compileTemplates(values, "action_params");
  const { ms, message } = measure(() => render({ event, now: new Date() }, () => ""));
  expect(message).toMatch(/action_params\.p\d+: .*too much work for one event/);
  expect(ms).toBeLessThan(longestMs);
});
