import { expect, test } from "vitest";
import { isPassing } from "../../src/db/passing.ts";

const withCode = (code: string) => Object.assign(new Error("x"), { code });

test.each([
  "CONNECTION_CLOSED",
  "RESPONSE_TIMEOUT",
  "ECONNREFUSED",
  "08006",
  "53100",
  "53300",
  "57P01",
  "40001",
  "40P01",
  "25P03",
])("%s passes", (code) => {
  expect(isPassing(withCode(code))).toBe(true);
  expect(isPassing(new Error("outer", { cause: withCode(code) }))).toBe(true);
});

test.each(["23505", "22P02", "40002", "57014", "TRANSACTION_ENDED", "", "0800", "XX000"])("%s does not", (code) => {
  expect(isPassing(withCode(code))).toBe(false);
});

test("nothing but errors passes", () => {
  expect([null, "CONNECTION_CLOSED", { code: "08006" }].map(isPassing)).toEqual([false, false, false]);
});
