import { describe, expect, test } from "vitest";
import { type Line, readLines } from "../../src/sensor/lines.ts";

async function* chunks(...texts: (string | Buffer)[]): AsyncGenerator<Buffer, void> {
  for (const text of texts) yield Buffer.from(text);
}

async function linesOf(...texts: (string | Buffer)[]): Promise<Line[]> {
  const all: Line[] = [];
  for await (const lines of readLines(chunks(...texts))) all.push(...lines);
  return all;
}

const euro = Buffer.from("€");

describe("the lines of a sensor", () => {
  test.each<[string, (string | Buffer)[], (string | null)[]]>([
    ["in one piece", ["a\nb\n"], ["a", "b"]],
    ["split anywhere", ["a", "\n", "b", "c\n\nd\n"], ["a", "bc", "", "d"]],
    ["without an end of the last", ["a\nb"], ["a", "b"]],
    ["split within a character", [euro.subarray(0, 1), euro.subarray(1), "\n"], ["€"]],
    ["none", [], []],
    ["one that is too long, between others", ["a\n", "x".repeat(2_000_000), "y\nb\n"], ["a", null, "b"]],
    ["one that is too long, at the end", ["a\n", "x".repeat(2_000_000)], ["a", null]],
  ])("%s", async (_what, given, expected) => {
    const lines = await linesOf(...given);
    expect(lines.map(({ text }) => text)).toEqual(expected);
    expect(lines.map(({ number }) => number)).toEqual(expected.map((_, index) => index + 1));
  });
});
