import { describe, expect, test } from "vitest";
import { InvalidInputError } from "../../src/errors.ts";
import { inexactness, maxJsonDepth, parseJson } from "../../src/lib/json-text.ts";

const nested = (depth: number) => "[".repeat(depth) + "]".repeat(depth);
const faultOf = (text: string) => {
  try {
    parseJson(text, "payload");
    return null;
  } catch (error) {
    if (!(error instanceof InvalidInputError)) throw error;
    return error.issues[0];
  }
};

describe("JSON text", () => {
  test.each([
    "9007199254740991",
    "-9007199254740992",
    "9007199254740994",
    "1180591620717411303424",
    "1e22",
    "0.1234567890123456789",
    "0e999",
    "-0",
    '"12345678901234567890"',
    `{"a": "1e999", "b": [1.5e3, null, true]}`,
    nested(maxJsonDepth),
  ])("%# is read as JavaScript reads it", (text) => {
    expect(parseJson(text)).toEqual(JSON.parse(text));
  });

  test.each([
    ["9007199254740993", "payload", /would lose digits/],
    ["-12345678901234567890", "payload", /would lose digits/],
    [`{"a": [1, {"b.c": 98765432109876543210}]}`, "payload.a.1.b.c", /98765432109876543210 would lose digits/],
    ["1e9999", "payload", /1e9999 is too large/],
    [`[-1E+400]`, "payload.0", /too large/],
    ["1e-400", "payload", /would become 0/],
    ["1".repeat(400), "payload", /too large/],
    ["{'a': 1}", "payload", /is not JSON/],
    ["NaN", "payload", /is not JSON/],
    [nested(maxJsonDepth + 1), /^payload(\.0)+$/, /deeper than 200 levels/],
    [nested(100_000), /^payload(\.0)+$/, /deeper than 200 levels/],
    [`[12345678901234567,${nested(100_000)}]`, "payload", /deeper than 200 levels|would lose digits/],
  ])("%# is refused with its place", (text, path, message) => {
    expect(faultOf(text)).toEqual({ path: expect.stringMatching(path), message: expect.stringMatching(message) });
  });

  test("the literals of YAML are checked as well", () => {
    expect(["0x1F", "0o17", "+12", "1_0", ".inf"].map(inexactness)).toEqual([
      null,
      null,
      null,
      "1_0 is not a JSON number",
      ".inf is not a JSON number",
    ]);
    expect(inexactness("0x20000000000001")).toMatch(/lose digits/);
    expect(inexactness("+9007199254740993")).toMatch(/lose digits/);
  });
});
