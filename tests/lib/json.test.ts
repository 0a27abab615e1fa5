import { describe, expect, test } from "vitest";
import { ABSENT, type Json, lookup, sameJson } from "../../src/lib/json.ts";

const payload: Json = JSON.parse(
  '{"body":{"action":"opened","labels":[{"name":"bug"},null],"none":null},"headers":{"x-name":"a","a.b":1,"c/d":2,"e~f":3},"__proto__":{"own":true},"":4}',
);

describe("lookup", () => {
  test.each([
    ["body.action", "opened"],
    ["/body/action", "opened"],
    ["body.labels.0.name", "bug"],
    ["/body/labels/0/name", "bug"],
    ["body.labels.1", null],
    ["body.none", null],
    ["/headers/x-name", "a"],
    ["/headers/a.b", 1],
    ["/headers/c~1d", 2],
    ["/headers/e~0f", 3],
    ["__proto__.own", true],
    ["/", 4],
    ["", payload],
  ])("%s is found", (path, value) => {
    expect(lookup(payload, path)).toEqual(value);
  });

  test.each([
    "body.missing",
    "body.none.deeper",
    "body.action.length",
    "body.action.0",
    "body.labels.2",
    "body.labels.-1",
    "body.labels.00",
    "body.labels.length",
    "body.labels.map",
    "body.constructor",
    "body.toString",
    "body.__proto__",
    "/body/__proto__/toString",
  ])("%s is absent", (path) => {
    expect(lookup(payload, path)).toBe(ABSENT);
  });
});

test.each<[Json, Json, boolean]>([
  [1, 1, true],
  [1, "1", false],
  [0, false, false],
  [null, null, true],
  [null, {}, false],
  [[], {}, false],
  [[1, 2], [2, 1], false],
  [[1], [1, 2], false],
  [{ a: 1, b: [null] }, { b: [null], a: 1 }, true],
  [{ a: 1 }, { b: 1 }, false],
  [{ toString: 1 }, { a: 1 }, false],
])("sameJson(%j, %j) is %s", (a, b, same) => {
  expect(sameJson(a, b)).toBe(same);
  expect(sameJson(b, a)).toBe(same);
});
