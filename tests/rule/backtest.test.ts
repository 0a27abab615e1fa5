import { sql } from "drizzle-orm";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { setKey } from "../../src/access/key.ts";
import { type Api, createApi, createPerson } from "../support/api.ts";
import { commit } from "../support/commit.ts";
import { until } from "../support/until.ts";
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

const fields = `cursor complete truncated upTo events matches errors starts liveMatches gained lost enforced
  differences { event kind parameters parametersError }`;
const document = `query ($input: RuleBacktestInput!, $after: Cursor, $first: Int) {
  ruleBacktestMessages(input: $input, after: $after, first: $first) { ${fields} } }`;
const ask = (input: Record<string, unknown>, page: object = { first: 20 }, session = world.session) =>
  api.ask(session, document, { input, ...page });

/** Returns the last message, with which the back-test is complete. */
async function report(input: Record<string, unknown>) {
  const { data, errors } = await ask(input);
  expect(errors).toBeUndefined();
  const last = data.ruleBacktestMessages.at(-1);
  expect(last.complete).toBe(true);
  return last;
}

/** Stores evaluated events with the levels 0 to `count` - 1, a millisecond apart, the last of them a minute ago. */
async function store(trigger: string, count: number): Promise<void> {
  await world.all(
    sql`insert into attune.event (trigger, trigger_ref, payload, trace_tag, evaluated_at, created)
      select t.id, t.ref, jsonb_build_object('level', n, 'host', 'db' || n % 10), 'stored', now(),
        now() - interval '1 minute' - (${count}::int - n) * interval '1 millisecond'
      from attune.trigger t, generate_series(0, ${count - 1}::int) n where t.ref = ${trigger}`,
  );
}

test("the rule as it is stored differs in nothing from what the executor decided", async () => {
  const trigger = await world.trigger();
  const rule = await world.rule(trigger, {
    condition: "all",
    conditions: [
      { field: "level", operator: "gte", value: 10 },
      { field: "host", operator: "startswith", value: "db" },
      { any: [{ field: "flag", operator: "exists" }, { expression: "event.payload.level % 2 == 0" }] },
    ],
    action: "core.echo",
    actionParams: { message: "{{ event.payload.level }}" },
  });
  const executor = world.startExecutor();
  const values = [0, 9, 10, 11, 12, 13, 40, "40", null];
  for (const level of values) {
    await world.event(trigger, { level, host: "db1" });
    await world.event(trigger, { level, host: "web1", flag: true });
    await world.event(trigger, { level, host: "db2", flag: null });
  }
  const pending = sql`select 1 from attune.event where trigger_ref = ${trigger} and evaluated_at is null`;
  await until(async () => (await world.all(pending)).length === 0, "all events are evaluated");
  await executor.stop();
  const found = await report({ rule });
  expect(found).toMatchObject({ events: 27, gained: 0, lost: 0, truncated: false, differences: [] });
  expect(found.errors).toBeGreaterThan(0);
  expect(found.matches).toBeGreaterThan(5);
  expect([found.liveMatches, found.enforced, found.starts]).toEqual([found.matches, found.matches, found.matches]);
});

test("other contents show what they would start, and what they gain and lose, and nothing is stored and no key is read", async () => {
  const trigger = await world.trigger();
  await store(trigger, 40);
  const key = { owner: { system: true }, name: "backtest_password", value: "canary-3c7d-value", encrypted: true };
  await commit(world.services, setKey, world.session, { ...key, expectedUpdated: null });
  const rule = await world.rule(trigger, {
    conditions: [{ field: "level", operator: "lt", value: 4 }],
    action: "core.echo",
    actionParams: { message: "x" },
  });
  const count = () =>
    world.one(
      sql`select (select count(*) from attune.enforcement)::int as enforcements, (select count(*) from attune.execution)::int as executions,
        (select count(*) from attune.rule_evaluation)::int as evaluations, (select sum(revision) from attune.rule)::int as revisions`,
    );
  const before = await count();
  const found = await report({
    rule,
    conditions: [{ field: "level", operator: "BETWEEN", value: [2, 31] }],
    actionParams: { message: 'level {{ event.payload.level }} {{ key("system.backtest_password") }}' },
  });
  expect(found).toMatchObject({
    events: 40,
    matches: 30,
    starts: 30,
    liveMatches: 4,
    gained: 28,
    lost: 2,
    enforced: 0,
  });
  expect(found.differences).toHaveLength(20);
  expect(found.differences[0]).toMatchObject({ kind: "LOST", parameters: null, parametersError: null });
  expect(found.differences[2]).toMatchObject({
    kind: "GAINED",
    parameters: { message: "level 4 [secret:system.backtest_password]" },
  });
  const failing = await report({ rule, actionParams: { message: "{{ event.payload.missing.deeper }}" } });
  expect(failing).toMatchObject({ matches: 4, starts: 0, gained: 0, lost: 0 });
  expect(await count()).toEqual(before);
});

describe("of 4,500 events", () => {
  let rule: string;
  beforeAll(async () => {
    const trigger = await world.trigger();
    await store(trigger, 4500);
    rule = await world.rule(trigger, { conditions: [{ field: "level", operator: "lt", value: 3000 }] });
  });
  const draft = () => ({ rule, conditions: [{ field: "level", operator: "GTE", value: 1000 }] });
  const totals = { events: 4500, matches: 3500, liveMatches: 3000, gained: 1500, lost: 1000 };

  test("each message has the totals, and a back-test continues after any of them", async () => {
    const { data } = await ask(draft());
    const messages = data.ruleBacktestMessages;
    expect(messages.map(({ events }: { events: number }) => events)).toEqual([2000, 4000, 4500]);
    expect(messages.at(-1)).toMatchObject({ ...totals, complete: true });
    expect(messages.flatMap(({ differences }: { differences: object[] }) => differences)).toHaveLength(20);
    for (const { cursor } of messages.slice(0, 2)) {
      const rest = (await ask(draft(), { first: 20, after: cursor })).data.ruleBacktestMessages;
      expect(rest.at(-1)).toMatchObject({ ...totals, complete: true, differences: [] });
    }
    const single = (await ask(draft(), {})).data.ruleBacktestMessages;
    expect(single).toMatchObject([{ events: 2000, complete: false }]);
  });

  test("a subscription streams the same messages, and completes", async () => {
    const query = `subscription ($input: RuleBacktestInput!) { ruleBacktest(input: $input) { events complete matches } }`;
    const body = JSON.stringify({ query, variables: { input: draft() } });
    const text = await (await api.send(world.session, body, { accept: "text/event-stream" })).text();
    const sent = [...text.matchAll(/^data: (\{.*\})$/gm)].map(([, json = ""]) => JSON.parse(json).data.ruleBacktest);
    expect(sent).toEqual([
      { events: 2000, complete: false, matches: 1000 },
      { events: 4000, complete: false, matches: 3000 },
      { events: 4500, complete: true, matches: 3500 },
    ]);
  });

  test("a sample takes the same events each time, about as many as its share, and a smaller one is a part of them", async () => {
    const [tenth, again, half] = await Promise.all([0.1, 0.1, 0.5].map((sample) => report({ ...draft(), sample })));
    expect(again).toMatchObject({ ...tenth, cursor: expect.any(String) });
    expect(tenth.events).toBeGreaterThan(300);
    expect(tenth.events).toBeLessThan(650);
    expect(half.events).toBeGreaterThan(2000);
    expect(half.events).toBeLessThan(2500);
  });

  test("a time takes the events within it", async () => {
    const times = await world.one<{ from: string; to: string }>(
      sql`select to_jsonb(min(created)) #>> '{}' as "from", to_jsonb(min(created) + interval '1 second') #>> '{}' as "to"
        from attune.event where payload->>'level' = '500' and trace_tag = 'stored'
          and trigger_ref = (select trigger_ref from attune.rule where ref = ${rule})`,
    );
    const found = await report({ ...draft(), from: times.from, to: times.to });
    expect(found.events).toBeGreaterThanOrEqual(999);
    expect(found.events).toBeLessThanOrEqual(1001);
    expect(await report({ rule, from: "2020-01-01T00:00:00Z", to: "2020-01-02T00:00:00Z" })).toMatchObject({
      events: 0,
      upTo: null,
    });
  });
});

test("what is wrong is refused with its place", async () => {
  const rule = await world.rule(await world.trigger());
  const refusal = async (input: object, page?: object) =>
    (await ask({ rule, ...input }, page)).errors?.[0]?.message ?? "";
  for (const sample of [0, -1, 1.01]) expect(await refusal({ sample })).toContain("sample: must be above 0");
  expect(await refusal({ from: "2026-02-02T00:00:00Z", to: "2026-02-01T00:00:00Z" })).toContain("from: must be before");
  expect(await refusal({ conditions: [{ expression: "event.payload.level >" }] })).toContain("conditions.0");
  for (const after of ["", "1", "x", "1.2.3", "-1.0.0.0.0.0.0.0.0.0.0", "9".repeat(30)])
    expect(await refusal({}, { after }), after).toContain("is not a cursor of a back-test");
  expect(await refusal({ rule: "default.no_such" })).toMatch(/no_such/);
});

test("it takes the right to change the rule so, and to read the events of its trigger", async () => {
  const trigger = await world.trigger();
  await store(trigger, 3);
  const rule = await world.rule(trigger, { action: "core.echo", actionParams: { message: "x" } });
  const person = (login: string, ...grants: { resource: string; actions: string[]; constraints?: object }[]) =>
    createPerson(world.services, login, { grants });
  const editing = { resource: "rule", actions: ["read", "update"] };
  const reading = { resource: "event", actions: ["read"] };
  const page = { first: 1 };
  const counted = async (session: typeof world.session, input: object = {}) =>
    (await ask({ rule, ...input }, page, session)).data?.ruleBacktestMessages?.[0]?.events ?? null;
  expect(await counted(await person("backtest-reader", { resource: "rule", actions: ["read"] }, reading))).toBeNull();
  expect(await counted(await person("backtest-editor", editing))).toBeNull();
  const others = { ...reading, constraints: { refs: ["default.another"] } };
  expect(await counted(await person("backtest-others", editing, others))).toBeNull();
  const full = await person("backtest-full", editing, reading);
  expect(await counted(full)).toBe(3);
  // Other contents need what saving them needs: the action, for example.
  expect(await counted(full, { actionParams: { message: "y" } })).toBeNull();
});
