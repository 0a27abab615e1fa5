import { readFileSync } from "node:fs";
import { afterAll, beforeAll, expect, test } from "vitest";
import { setRuleEnabled } from "../../src/rule/rule.ts";
import { type Api, createApi } from "../support/api.ts";
import { commit } from "../support/commit.ts";
import { createWorld, type World } from "../support/world.ts";

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

const read = async (ref: string, first: number) =>
  await api.ask(world.session, `{ ruleByRef(ref: "${ref}") { nextTicks(first: ${first}) } }`);

test("the next ticks are shown when a rule is saved, as docs/timers.md says, and with the rule", async () => {
  const [, example = ""] = /```graphql\n([^`]*)```/.exec(readFileSync("docs/timers.md", "utf8")) ?? [];
  const { data } = await api.ask(world.session, example);
  const ticks: string[] = data.createRule.rule.nextTicks;
  expect(ticks).toHaveLength(3);
  const local = new Intl.DateTimeFormat("en-GB", {
    timeZone: "Europe/Berlin",
    weekday: "short",
    timeStyle: undefined,
    hour: "2-digit",
    minute: "2-digit",
  });
  for (const [index, tick] of ticks.entries()) {
    expect(local.format(new Date(tick))).toMatch(/^(Mon|Tue|Wed|Thu|Fri),? 06:30$/);
    expect(Date.parse(tick)).toBeGreaterThan(index === 0 ? Date.now() : Date.parse(ticks[index - 1] ?? ""));
  }
  expect((await read("default.weekdays", 2)).data.ruleByRef.nextTicks).toEqual(ticks.slice(0, 2));
  await commit(world.services, setRuleEnabled, world.session, { ref: "default.weekdays", enabled: false });
  expect((await read("default.weekdays", 2)).data.ruleByRef.nextTicks).toEqual([]);
});

test("a rule without a timer has none, a single date has one, and their number is limited", async () => {
  const plain = await world.rule("core.webhook");
  expect((await read(plain, 5)).data.ruleByRef.nextTicks).toEqual([]);
  const date = new Date(Date.now() + 3_600_000).toISOString();
  const once = await world.rule("core.datetimetimer", { triggerParams: { date } });
  expect((await read(once, 5)).data.ruleByRef.nextTicks).toEqual([date]);
  for (const first of [-1, 101])
    expect((await read(once, first)).errors?.[0]?.message).toContain("must be from 0 to 100");
});

test("they cost what they take to compute: many rare ticks of many rules are refused before any is computed", async () => {
  const params = { expression: "0 0 31 2,4,6,9,11,12 +SUN" }; // each tick is years after the one before it
  const rare = await world.rule("core.crontimer", { triggerParams: params });
  const one = await read(rare, 100);
  expect(one.data.ruleByRef.nextTicks).toHaveLength(100);
  expect(one.extensions).toMatchObject({ cost: { cost: 1 + 10 + 100 * 10 } });
  const fields = Array.from({ length: 25 }, (_, index) => `a${index}: nextTicks(first: 100)`);
  const many = await api.ask(world.session, `{ rules(first: 100) { nodes { ${fields.join(" ")} } } }`);
  expect(many.errors?.[0]?.message).toContain("The operation is too large: 2525101 fields of objects");
  const page = await api.ask(world.session, "{ rules(first: 100) { nodes { ref nextTicks } } }");
  expect(page.errors).toBeUndefined();
});

test("a rule by a recurrence rule shows its next five ticks, as docs/timers.md says", async () => {
  const [, example] = [...readFileSync("docs/timers.md", "utf8").matchAll(/```graphql\n([^`]*)```/g)];
  const { data } = await api.ask(world.session, example?.[1] ?? "");
  const ticks: string[] = data.createRule.rule.nextTicks;
  expect(ticks).toHaveLength(5);
  const local = new Intl.DateTimeFormat("en-GB", {
    timeZone: "Europe/Berlin",
    weekday: "short",
    timeStyle: undefined,
    hour: "2-digit",
    minute: "2-digit",
  });
  for (const tick of ticks) expect(local.format(new Date(tick))).toMatch(/^(Mon|Tue|Wed|Thu|Fri),? 09:00$/);
  expect(new Set(ticks.map((tick) => tick.slice(0, 7))).size).toBe(5);
  expect((await read("default.payday", 5)).data.ruleByRef.nextTicks).toEqual(ticks);
});
