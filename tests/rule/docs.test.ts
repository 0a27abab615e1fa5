import { readFileSync } from "node:fs";
import { parse as parseDocument, validate } from "graphql";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { parse } from "yaml";
import { ruleManifest } from "../../src/catalog/manifest.ts";
import { createTrigger } from "../../src/catalog/trigger.ts";
import { schema } from "../../src/graphql/schema.ts";
import { compileCriteria } from "../../src/lang/criteria.ts";
import { criterionOperators, synonyms } from "../../src/lang/operators.ts";
import { globalId } from "../../src/lib/global-id.ts";
import type { Json, JsonObject } from "../../src/lib/json.ts";
import { checkActiveHours, compileHours } from "../../src/rule/active-hours.ts";
import { createRule, updateRule } from "../../src/rule/rule.ts";
import { type Api, createApi } from "../support/api.ts";
import { commit } from "../support/commit.ts";
import { createWorld, type World } from "../support/world.ts";

/** What the file of a rule must have. */
const named = { ref: "default.example", label: "Example", trigger_ref: "default.t", action_ref: "core.noop" };
const page = readFileSync("docs/rules.md", "utf8");
const codesIn = (cell = "") => [...cell.matchAll(/`([^`]+)`/g)].map(([, code = ""]) => code);
const valuesIn = (cell = "") => codesIn(cell).map((code): Json => JSON.parse(code));

interface Operator {
  name: string;
  others: string[];
  value: Json | undefined;
  outcomes: Record<"holds" | "does not hold" | "cannot be evaluated", Json[]>;
  absent: string | undefined;
}

const operators = page
  .split("\n")
  .filter((line) => /^\| `\w+` \|.*\| (holds|does not hold) \|$/.test(line))
  .map((line): Operator => {
    const [, name, others, value, , holds, fails, errors, absent] = line.split("|");
    return {
      name: codesIn(name)[0] ?? "",
      others: codesIn(others),
      value: valuesIn(value)[0],
      outcomes: { holds: valuesIn(holds), "does not hold": valuesIn(fails), "cannot be evaluated": valuesIn(errors) },
      absent: absent?.trim(),
    };
  });

function outcomeOf({ name, value }: Pick<Operator, "name" | "value">, payload: JsonObject): string {
  const criterion = { field: "f", operator: name, ...(value === undefined ? {} : { value }) };
  const { matched, criteria } = compileCriteria("all", [criterion])(payload);
  if (criteria[0]?.error) return "cannot be evaluated";
  return matched ? "holds" : "does not hold";
}

describe("docs/rules.md", () => {
  test("lists every operator, with its other names", () => {
    const others = (name: string) => Object.keys(synonyms).filter((other) => synonyms[other] === name);
    expect(operators.map(({ name, others }) => [name, others])).toEqual(
      Object.keys(criterionOperators).map((name) => [name, others(name)]),
    );
  });

  test.each(operators.map((operator) => [operator.name, operator] as const))("is right about %s", (_name, operator) => {
    const said = Object.entries(operator.outcomes).flatMap(([outcome, values]) =>
      values.map((value) => ({ value, outcome })),
    );
    expect(said.map(({ value }) => ({ value, outcome: outcomeOf(operator, { f: value }) }))).toEqual(said);
    expect(said.length).toBeGreaterThan(2);
    expect(outcomeOf(operator, {})).toBe(operator.absent);
    expect(operator.value !== undefined).toBe(criterionOperators[operator.name]?.takesValue);
  });

  const recipes = [...page.matchAll(/```yaml\n([^`]+)```\n\n((?:- It (?:holds|does not hold) .+\n)+)/g)];
  test.each(recipes.map(([, rule = "", claims = ""]) => [rule, claims] as const))(
    "has the recipe %s",
    (rule, claims) => {
      const { condition = "all", conditions } = parse(rule) as { condition?: "any" | "all"; conditions: Json };
      const evaluate = compileCriteria(condition, conditions);
      const said = [...claims.matchAll(/^- It (holds|does not hold) for `(.+)`\.$/gm)];
      expect(said).toHaveLength(claims.trim().split("\n").length);
      expect(new Set(said.map(([, verb]) => verb)).size).toBe(2);
      for (const [, verb, payload = ""] of said) {
        expect([payload, evaluate(JSON.parse(payload)).matched]).toEqual([payload, verb === "holds"]);
      }
    },
  );

  const schedules = [...page.matchAll(/```yaml\n(active_hours[^`]+)```\n\n((?:- It is .+\n)+)/g)];
  test.each(schedules.map(([, rule = "", claims = ""]) => [rule, claims] as const))(
    "has the hours %s",
    (rule, claims) => {
      const { active_hours } = parse(rule) as { active_hours: Json };
      const hours = checkActiveHours(active_hours, "activeHours");
      expect(ruleManifest.parse({ ...named, active_hours }).active_hours).toEqual(hours);
      const said = [...claims.matchAll(/^- It is (not )?active at `(.+)`\.$/gm)];
      expect(said).toHaveLength(claims.trim().split("\n").length);
      expect(new Set(said.map(([, not]) => not)).size).toBe(2);
      for (const [, not, time = ""] of said) {
        expect([time, hours && compileHours(hours).isActive(Date.parse(time))]).toEqual([time, not === undefined]);
      }
    },
  );

  test("has at least four recipes, that files of packs may have, and queries that the schema allows", () => {
    expect(recipes.length).toBeGreaterThanOrEqual(5);
    const examples = [...page.matchAll(/```yaml\n([^`]+)```/g)];
    expect(examples).toHaveLength(recipes.length + schedules.length + 1);
    for (const [, example = ""] of examples) ruleManifest.parse({ ...named, ...parse(example) });
    const queries = [...page.matchAll(/```graphql\n([^`]+)```/g)];
    expect(queries.length).toBeGreaterThan(0);
    for (const [, query = ""] of queries) expect(validate(schema, parseDocument(query))).toEqual([]);
  });
});

describe("the explanation in docs/rules.md", () => {
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

  test("is of the recipe for a full disk", async () => {
    const trigger = await world.trigger();
    const [, recipe = ""] = /```yaml\n([^`]+operator: gte[^`]+)```/.exec(page) ?? [];
    const { conditions } = parse(recipe) as { conditions: Json };
    await commit(world.services, createRule, world.session, {
      ...{ ref: "default.disk_full", trigger, action: "core.noop", conditions },
    });
    const [, query = ""] = /```graphql\n(query Why[^`]+)```/.exec(page) ?? [];
    const explain = async (payload: JsonObject) => {
      const event = globalId("Event", await world.event(trigger, payload));
      const { data, errors } = await api.ask(world.session, query, { event });
      expect(errors).toBeUndefined();
      return data.event.explain;
    };
    expect(await explain({ percent: 95 })).toMatchObject({
      ...{ matches: true, reason: null },
      criteria: [
        { path: "percent", operator: "gte", expected: 90, actual: 95, result: true, error: null },
        { path: "flags", operator: "ncontains", expected: "ro", actual: null, result: true, error: null },
      ],
    });
    expect(await explain({ percent: "95", flags: ["ro"] })).toMatchObject({
      matches: false,
      criteria: [
        { result: false, error: "needs a number, but the field holds string" },
        { result: false, error: null },
      ],
    });
  });

  test("of conditions can be sent back as it was read", async () => {
    const conditions = [
      { field: "a", operator: "EQUALS", value: { operator: "equals", not: [{ operator: "gt" }] } },
      { any: [{ field: "b", operator: "NEXISTS" }, { all: [{ field: "c", operator: "IN", value: ["gt"] }] }] },
      { not: { field: "d", operator: "STARTSWITH", value: "contains" } },
      { expression: "event.payload.size > 10" },
    ];
    const create = `mutation ($input: CreateRuleInput!) { createRule(input: $input) {
      ... on CreateRulePayload { rule { conditions } } ... on Error { message } } }`;
    const trigger = await world.trigger();
    for (const ref of ["default.sent", "default.sent_again"]) {
      const input = { ref, trigger, action: "core.noop", conditions };
      const { data, errors } = await api.ask(world.session, create, { input });
      expect(errors).toBeUndefined();
      expect(data).toEqual({ createRule: { rule: { conditions } } });
    }
  });

  test("of what it would do is of the same rule, and of a draft", async () => {
    const [, query = ""] = /```graphql\n(query TryDraft[^`]+)```/.exec(page) ?? [];
    await commit(world.services, createTrigger, world.session, { ref: "default.disk", label: "Disk" });
    const { data, errors } = await api.ask(world.session, query);
    expect(errors).toBeUndefined();
    expect(data.testRule).toEqual({ matches: true, parameters: { message: "db1 is full" } });
  });

  test("of revisions is of the same rule", async () => {
    const documentOf = (name: string) =>
      new RegExp(`\`\`\`graphql\\n((?:query|mutation) ${name}[^\`]+)\`\`\``).exec(page)?.[1] ?? "";
    const ask = async (name: string) => {
      const { data, errors } = await api.ask(world.session, documentOf(name));
      expect(errors).toBeUndefined();
      return data;
    };
    const ref = "default.disk_full";
    const conditions = [{ field: "percent", operator: "gt", value: 80 }];
    await commit(world.services, updateRule, world.session, { ref, patch: { conditions } });
    const { nodes } = (await ask("History")).ruleByRef.revisions;
    expect(nodes).toMatchObject([
      { number: 2, owner: { login: "admin" } },
      { number: 1, changes: null },
    ]);
    const [change] = nodes[0].changes;
    expect(change).toMatchObject({ field: "conditions", after: conditions });
    expect(nodes[0].sinceTheFirst).toEqual([change]);
    const used = (await ask("Used")).ruleByRef;
    expect(used.revisions.nodes[0].definition.conditions).toEqual(change.before);
    expect(used.enforcements.nodes).toEqual([]);
    const asInput = change.before.map((each: { operator: string }) => ({
      ...each,
      operator: each.operator.toUpperCase(),
    }));
    expect(await ask("Restore")).toEqual({ restoreRule: { rule: { revision: 3, conditions: asInput } } });
  });
});
