import { expect, test } from "vitest";
import { InvalidInputError } from "../../src/errors.ts";
import { compileRegex } from "../../src/lang/regex.ts";

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

test("case is kept apart in the cache", () => {
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
  ["length", "a".repeat(2001), "at most 2000 characters"],
])("refused at its path for %s", (_reason, pattern, message) => {
  expect(() => compileRegex(pattern, "value")).toThrow(InvalidInputError);
  expect(() => compileRegex(pattern, "value")).toThrow(/^value: (the|a) pattern/);
  expect(() => compileRegex(pattern, "value")).toThrow(message);
});

test("a pattern that would take a backtracking engine for ever ends at once", () => {
  const started = performance.now();
  expect(compileRegex("^(a+)+$").test(`${"a".repeat(50_000)}!`)).toBe(false);
  expect(performance.now() - started).toBeLessThan(2000);
});
