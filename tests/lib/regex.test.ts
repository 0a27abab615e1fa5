import { describe, expect, test } from "vitest";
import { InvalidInputError } from "../../src/errors.ts";
import { compileCriteria } from "../../src/lang/criteria.ts";
import { compileRegex } from "../../src/lib/regex.ts";

test.each([
  ["b+", "abbc", true],
  ["^b", "abc", false],
  ["^\\d{3}$", "123", true],
  ["(?<year>\\d{4})\\/x", "2024/x", true],
  ["\\u00e9", "é", true],
  ["", "", true],
])("/%s/ on %j is %s", (pattern, text, found) => {
  expect(compileRegex(pattern).test(text)).toBe(found);
});

test("the cache distinguishes case sensitivity", () => {
  expect(compileRegex("abc").test("ABC")).toBe(false);
  expect(compileRegex("abc", "", { ignoreCase: true }).test("ABC")).toBe(true);
  expect(compileRegex("abc").test("ABC")).toBe(false);
});

test.each([
  ["an open set", "[", "missing closing ]"],
  ["look-ahead", "a(?=b)", "`(?=`"],
  ["a back-reference", "(a)\\1", "invalid escape sequence"],
  ["a large repetition", "a{2000}", "invalid repeat count"],
  ["many repetitions", "a{0,1000}".repeat(20), "too large"],
  ["a long text repeated", `(${"a".repeat(1900)}){1000}`, "too large"],
  ["length", "a".repeat(2001), "at most 2000 characters"],
])("refused at its path for %s", (_reason, pattern, message) => {
  expect(() => compileRegex(pattern, "value")).toThrow(InvalidInputError);
  expect(() => compileRegex(pattern, "value")).toThrow(/^value: (the|a) pattern/);
  expect(() => compileRegex(pattern, "value")).toThrow(message);
});

test("a pattern with exponential backtracking elsewhere ends at once", () => {
  const started = performance.now();
  expect(compileRegex("^(a+)+$").test(`${"a".repeat(50_000)}!`)).toBe(false);
  expect(performance.now() - started).toBeLessThan(2000);
});

test("a pattern that would take time to compile is refused before", () => {
  for (const pattern of ["a{1000}".repeat(250), "(?:[^\\n]\\d{900})".repeat(100), `(${"\\pL".repeat(600)}){1000}`]) {
    const started = process.cpuUsage();
    expect(() => compileRegex(pattern)).toThrow("too large");
    expect(process.cpuUsage(started).user / 1000).toBeLessThan(100);
  }
  expect(compileRegex("^\\d{4}-\\d{2}-\\d{2}(?:T\\d{2}:\\d{2})?$").test("2026-11-27")).toBe(true);
  expect(compileRegex("[{]\\{9000\\}").test("{{9000}")).toBe(true);
});

describe("a pattern with a long program", () => {
  // This is among the slowest permitted programs: it has no cached state for any text.
  const worst = compileRegex("a[ab]{990}[yz]|b[ab]{990}[xyz]", "", { ignoreCase: true });
  const noise = (length: number) => {
    let state = 1;
    return Array.from({ length }, () => {
      state = (state * 1_103_515_245 + 12_345) % 2_147_483_648;
      return state < 1_073_741_824 ? "a" : "b";
    }).join("");
  };

  /** Returns the processor time in milliseconds, which does not depend on the machine's load. */
  const cost = (work: () => void) => {
    const before = process.cpuUsage();
    work();
    const { user, system } = process.cpuUsage(before);
    return (user + system) / 1000;
  };

  test("searches a text of the maximum length quickly", () => {
    const text = noise(2000);
    expect(cost(() => expect(worst.find(text)).toBe(false))).toBeLessThan(2000);
  });

  test("refuses a longer text", () => {
    const text = noise(400_000);
    const why = /^this pattern can search at most 20\d\d characters, but the text has 400000$/;
    expect(cost(() => expect(worst.find(text)).toMatch(why))).toBeLessThan(500);
    expect(() => worst.test(text)).toThrow(InvalidInputError);
  });

  test("differs from a usual pattern, which searches a large body", () => {
    expect(compileRegex("\\w+@\\w+\\.com$").find(`${noise(200_000)} someone@example.com`)).toBe(true);
  });
});

test.each([
  ["regex", "[ab]{900}[yz]"],
  ["iregex", "[ab]{900}[yz]"],
  ["matchwildcard", "[ab]".repeat(400)],
])(
  "a criterion with %s and a text that is too long for it is an error and does not match, even negated",
  (operator, value) => {
    const criterion = { field: "text", operator, value };
    for (const conditions of [[criterion], [{ not: criterion }]]) {
      const { matched, criteria } = compileCriteria("all", conditions)({ text: "ab".repeat(100_000) });
      expect(matched).toBe(false);
      expect(criteria).toMatchObject([{ result: false, error: expect.stringContaining("the text has 200000") }]);
    }
  },
);
