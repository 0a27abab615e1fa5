import { sql } from "drizzle-orm";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { setKey } from "../../src/access/key.ts";
import { globalId } from "../../src/lib/global-id.ts";
import { type Api, createApi, createPerson } from "../support/api.ts";
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

const test_ = `query ($input: TestRuleInput!) { testRule(input: $input) {
  matches reason windowKey parameters parametersError criteria { path operator expected actual result error } } }`;
const backtest = `query ($input: RuleBacktestInput!) { ruleBacktestMessages(input: $input) {
  complete events matches starts errors liveMatches gained lost enforced differences { event kind parameters } } }`;
const ask = (document: string, input: object, session = world.session) => api.ask(session, document, { input });
const tried = async (input: object, session = world.session) => {
  const { data, errors } = await ask(test_, input, session);
  expect(errors).toBeUndefined();
  return data.testRule;
};
const counts = () =>
  world.one(
    sql`select (select count(*) from attune.rule)::int as rules, (select count(*) from attune.rule_revision)::int as revisions,
      (select count(*) from attune.enforcement)::int as enforcements, (select count(*) from attune.execution)::int as executions,
      (select count(*) from attune.rule_evaluation)::int as evaluations, (select count(*) from attune.event)::int as events`,
  );

describe("a rule that does not exist", () => {
  test("is tested with a payload and a stored event, with its window, and nothing is stored", async () => {
    const trigger = await world.trigger({ outSchema: { host: { type: "string" }, level: { type: "integer" } } });
    const event = await world.event(trigger, { host: "db1", level: 7 });
    const before = await counts();
    const draft = {
      ...{ trigger, action: "core.echo", conditions: [{ field: "level", operator: "GT", value: 5 }] },
      actionParams: { message: "{{ event.payload.host }} by {{ rule.ref }}" },
      window: { throttle: { per: 60 }, key: "event.payload.host" },
      maxStarts: { count: 5, per: 60 },
    };
    expect(await tried({ draft, event: globalId("Event", event) })).toMatchObject({
      ...{ matches: true, reason: null, windowKey: "db1", parametersError: null },
      parameters: { message: "db1 by default.draft" },
      criteria: [{ path: "level", operator: "gt", expected: 5, actual: 7, result: true }],
    });
    expect(await tried({ draft: { ...draft, ref: "default.louder" }, payload: { level: 6 } })).toMatchObject({
      ...{ matches: false, parameters: null },
      criteria: [{ result: true }, { path: "window.key", error: expect.stringContaining("host") }],
    });
    const of = await world.event(await world.trigger(), {});
    expect(await tried({ draft, event: globalId("Event", of) })).toMatchObject({
      matches: false,
      reason: expect.stringContaining(`is for the trigger "${trigger}"`),
    });
    // The three events.
    expect(await counts()).toEqual({ ...before, events: expect.any(Number) });
  });

  test("is back-tested over the events of its trigger: all its matches are gained", async () => {
    const trigger = await world.trigger();
    for (const level of [1, 2, 3, 4]) await world.event(trigger, { level });
    const before = await counts();
    const draft = {
      ...{ trigger, action: "core.echo", actionParams: { message: "{{ event.payload.level }}" } },
      conditions: [{ field: "level", operator: "GTE", value: 3 }],
    };
    const { data, errors } = await ask(backtest, { draft });
    expect(errors).toBeUndefined();
    expect(data.ruleBacktestMessages).toMatchObject([
      {
        ...{ complete: true, events: 4, matches: 2, starts: 2, errors: 0 },
        ...{ liveMatches: 0, gained: 2, lost: 0, enforced: 0 },
        differences: [
          { kind: "GAINED", parameters: { message: "3" } },
          { kind: "GAINED", parameters: { message: "4" } },
        ],
      },
    ]);
    expect(await counts()).toEqual(before);
  });

  test("is refused with the place of what is wrong, and beside a stored one", async () => {
    const trigger = await world.trigger();
    const rule = await world.rule(trigger);
    const refusal = async (input: object) => (await ask(test_, { payload: {}, ...input })).errors?.[0]?.message ?? "";
    const draft = { trigger, action: "core.noop" };
    expect(await refusal({})).toContain("rule: must be given, or else draft");
    expect(await refusal({ rule, draft })).toContain("one of the two");
    expect(await refusal({ draft: { ...draft, ref: "nowhere.rule" } })).toMatch(/nowhere/);
    expect(await refusal({ draft: { ...draft, trigger: "default.nothing" } })).toMatch(/default\.nothing/);
    expect(await refusal({ draft: { ...draft, conditions: [{ expression: "event.payload.a >" }] } })).toContain(
      "conditions.0",
    );
    expect(await refusal({ draft: { ...draft, window: { once: {}, throttle: { per: 1 } } } })).toContain(
      "exactly one of",
    );
    expect(
      await refusal({ draft: { ...draft, activeHours: { timezone: "X", spans: [{ from: "08:00", to: "09:00" }] } } }),
    ).toContain("activeHours.timezone");
    expect(
      await refusal({ draft, event: globalId("Event", 1n), payload: undefined, at: "2026-01-01T00:00:00Z" }),
    ).toContain("at: must be left out");
  });

  test("shows a key by its ref, and never reads it", async () => {
    const key = { owner: { system: true }, name: "draft_password", value: "canary-77aa-value", encrypted: true };
    await commit(world.services, setKey, world.session, { ...key, expectedUpdated: null });
    // Reading it would fail.
    await world.all(sql`update attune.key set value = '"v1:broken"' where ref = 'system.draft_password'`);
    const draft = {
      ...{ trigger: await world.trigger(), action: "core.echo" },
      actionParams: { message: 'Bearer {{ key("system.draft_password") }}' },
    };
    expect(await tried({ draft, payload: {} })).toMatchObject({
      parameters: { message: "Bearer [secret:system.draft_password]" },
    });
    const found = await ask(backtest, { draft });
    expect(found.errors).toBeUndefined();
  });
});

describe("to try a rule that does not exist", () => {
  type Grant = [resource: string, ...actions: string[]];
  const needed: Grant[] = [
    ["rule", "create"],
    ["pack", "read"],
    ["trigger", "read"],
    ["action", "read", "execute"],
    ["event", "read"],
    ["key", "read", "use"],
  ];

  test.each<[lacking: string, action: string]>([
    ["rule", "create"],
    ["trigger", "read"],
    ["action", "execute"],
    ["event", "read"],
    ["key", "use"],
  ])("takes the grant of %s:%s, as creating it does", async (resource, action) => {
    const key = { owner: { system: true }, name: `draft_${resource}`, value: "canary-31cd-value", encrypted: true };
    await commit(world.services, setKey, world.session, { ...key, expectedUpdated: null });
    const trigger = await world.trigger();
    const event = await world.event(trigger, { canary: "canary-4fe1" });
    const draft = {
      ...{ trigger, action: "core.echo", conditions: [{ field: "canary", operator: "STARTSWITH", value: "canary" }] },
      actionParams: { message: `{{ event.payload.canary }} {{ key("system.draft_${resource}") }}` },
    };
    const inputs: [string, object][] = [
      [test_, { draft, event: globalId("Event", event) }],
      [test_, { draft, payload: { canary: "canary" } }],
      [backtest, { draft }],
    ];
    const grants = (without: boolean) =>
      needed.map(([name, ...actions]) => ({
        resource: name,
        actions: actions.filter((each) => !(without && name === resource && each === action)),
      }));
    const person = async (without: boolean) =>
      await createPerson(world.services, `${without ? "lacks" : "has"}-${resource}-${action}`, {
        grants: grants(without).filter(({ actions }) => actions.length > 0),
      });
    const [may, lacks] = [await person(false), await person(true)];
    for (const [document, input] of inputs) {
      const refused = await ask(document, input, lacks);
      expect(refused.errors?.length).toBeGreaterThan(0);
      expect(JSON.stringify(refused)).not.toMatch(/canary-/);
      expect((await ask(document, input, may)).errors).toBeUndefined();
    }
  });
});
