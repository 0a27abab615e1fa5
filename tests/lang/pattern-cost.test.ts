import { describe, expect, test } from "vitest";
import { compileCriteria } from "../../src/lang/criteria.ts";

/** Patterns for which a backtracking search of the text takes time exponential, or of a high power, in its length. */
const catastrophic: [operator: string, pattern: string, text: (length: number) => string][] = [
  ["regex", "^(a+)+$", (length) => `${"a".repeat(length)}!`],
  ["regex", "^(a|aa)+$", (length) => `${"a".repeat(length)}!`],
  ["regex", "^(a|a)*$", (length) => `${"a".repeat(length)}!`],
  ["regex", "(a*)*b$", (length) => `b${"a".repeat(length)}`],
  ["regex", "(x+x+)+y$", (length) => `y${"x".repeat(length)}`],
  ["regex", "^(\\d+)*$", (length) => `${"1".repeat(length)}x`],
  ["regex", "^([a-zA-Z]+)*$", (length) => `${"q".repeat(length)}0`],
  ["regex", "^(([a-z])+.)+[A-Z]([a-z])+$", (length) => "a".repeat(length)],
  ["regex", "^(.*?,){11}P$", (length) => `P${"1,".repeat(length / 2)}`],
  ["regex", "(.*a){12}$", (length) => `${"a".repeat(length)}b`],
  ["regex", "\\s+$", (length) => `${" ".repeat(length)}x`],
  ["regex", "^(\\w+\\s?)*$", (length) => `${"word ".repeat(length / 5)}!`],
  ["iregex", "^([a-z0-9]+[._-]?)+@", (length) => "Abc.".repeat(length / 4)],
  ["matchwildcard", "*a*a*a*a*a*a*a*a*b", (length) => `b${"a".repeat(length)}`],
];

/** Returns the function that evaluates the pattern once for the text, and returns how long that took, in milliseconds. */
function timer(operator: string, value: string, text: string): () => number {
  const evaluate = compileCriteria("all", [{ field: "f", operator, value }]);
  const payload = { f: text };
  return () => {
    const from = performance.now();
    const [outcome] = evaluate(payload).criteria;
    const took = performance.now() - from;
    expect([value, outcome?.error, outcome?.result]).toEqual([value, null, false]);
    return took;
  };
}

describe("a pattern that is catastrophic elsewhere", () => {
  const length = 32_000;

  test.each(catastrophic)("%s %s takes time linear in the length of the text", (operator, pattern, text) => {
    const timers = {
      short: timer(operator, pattern, text(length / 4)),
      long: timer(operator, pattern, text(length)),
      plain: timer("regex", "[0-9]z$", text(length)),
    };
    // By turns, and the least of each: in some round the machine did nothing else.
    const least = { short: Infinity, long: Infinity, plain: Infinity };
    for (let round = 0; round < 25; round++) {
      for (const name of ["short", "long", "plain"] as const) least[name] = Math.min(least[name], timers[name]());
    }
    // What takes less than a tenth of a millisecond is noise. In the square of the length it would be 16 times as long.
    expect(least.long).toBeLessThan(9 * Math.max(0.1, least.short));
    // Each character is compared with each part of the pattern, and these have up to a hundred.
    expect(least.long).toBeLessThan(300 * Math.max(0.1, least.plain));
  });
});
