import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { schema } from "../../src/graphql/schema.ts";
import { lintRule } from "../../src/rule/lint.ts";
import { type Api, createApi } from "../support/api.ts";
import { createWorld, type World } from "../support/world.ts";

const text = readFileSync("docs/lint.md", "utf8");

/** The rows of the table with these first cells of its head. */
function table(head: string): string[][] {
  const lines = text.split("\n");
  const from = lines.findIndex((line) => line.startsWith(`| ${head} |`));
  expect(from, head).toBeGreaterThan(0);
  const rest = lines.slice(from + 2);
  const end = rest.findIndex((line) => !line.startsWith("|"));
  return rest.slice(0, end).map((line) =>
    line
      .slice(1, -1)
      .split("|")
      .map((cell) => cell.trim()),
  );
}
const codes = (cell = "") => [...cell.matchAll(/`([^`]+)`/g)].map(([, code = ""]) => code);
const only = (cell?: string) => codes(cell)[0] ?? "";

describe("the findings in docs/lint.md", () => {
  test("has examples of findings that the linter finds", () => {
    const payload = { size: { type: "integer" }, action: { type: "string" } } as const;
    const rows = table("finding | conditions");
    for (const [kind, conditions] of rows) {
      const rule = {
        condition: "all",
        conditions: JSON.parse(only(conditions)),
        actionRef: "core.noop",
        actionParams: {},
      } as const;
      const found = lintRule(rule, { payload, parameters: null });
      expect(
        found.map((finding) => finding.kind.toUpperCase()),
        String(conditions),
      ).toEqual([only(kind)]);
    }
    const kinds = schema.getType("RuleFindingKind")?.toConfig() as unknown as { values: object };
    expect([...new Set(rows.map(([kind]) => only(kind)))].sort()).toEqual(Object.keys(kinds.values).sort());
  });
});

describe("the query in docs/lint.md", () => {
  let world: World;
  let api: Api;
  beforeAll(async () => {
    world = await createWorld();
    api = await createApi(world.services);
  });
  afterAll(async () => {
    await api[Symbol.asyncDispose]();
    await world[Symbol.asyncDispose]();
  });

  test("finds what the second table says", async () => {
    const trigger = await world.trigger({ outSchema: { size: { type: "integer" } } });
    const [, document = ""] = /```graphql\n([^`]+)```/.exec(text) ?? [];
    const rows = table("finding | rule");
    expect(rows.length).toBeGreaterThan(4);
    for (const [kind, rule] of rows) {
      const draft = { trigger, action: "core.noop", ...JSON.parse(only(rule)) };
      const { data, errors } = await api.ask(world.session, document, { draft });
      expect(errors).toBeUndefined();
      expect([rule, data.lintRule.map((each: { kind: string }) => each.kind)]).toEqual([rule, [only(kind)]]);
    }
  });

  test("runs", async () => {
    const [, document = ""] = /```graphql\n([^`]+)```/.exec(text) ?? [];
    const trigger = await world.trigger({ outSchema: { size: { type: "integer" } } });
    const draft = { trigger, action: "core.noop", conditions: [{ field: "sizes", operator: "GT", value: 10 }] };
    const { data, errors } = await api.ask(world.session, document, { draft });
    expect(errors).toBeUndefined();
    expect(data.lintRule).toMatchObject([{ kind: "UNKNOWN_PATH", path: "conditions.0.field" }]);
  });
});
