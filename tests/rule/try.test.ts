import { sql } from "drizzle-orm";
import { afterAll, beforeAll, expect, test } from "vitest";
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

const document = `query ($input: TestRuleInput!) { testRule(input: $input) {
  matches reason parameters parametersError criteria { path operator expected actual result error } } }`;
const ask = (input: Record<string, unknown>, session = world.session) => api.ask(session, document, { input });

test("a rule is tested as it is stored and with other contents, by a payload and by a stored event, and nothing is stored", async () => {
  const trigger = await world.trigger();
  const event = await world.event(trigger, { level: 7 });
  const conditions = [{ field: "level", operator: "gt", value: 5 }];
  const rule = await world.rule(trigger, {
    conditions,
    action: "core.echo",
    actionParams: { message: "level {{ event.payload.level }} of {{ rule.ref }}" },
  });
  const count = () =>
    world.one(
      sql`select (select count(*) from attune.event)::int as events, (select count(*) from attune.enforcement)::int as enforcements,
        (select count(*) from attune.execution)::int as executions, (select count(*) from attune.rule_evaluation)::int as evaluations,
        (select revision from attune.rule where ref = ${rule}) as revision`,
    );
  const before = await count();
  const stored = (await ask({ rule, event: globalId("Event", event) })).data.testRule;
  expect(stored).toEqual({
    matches: true,
    reason: null,
    parameters: { message: `level 7 of ${rule}` },
    parametersError: null,
    criteria: [{ path: "level", operator: "gt", expected: 5, actual: 7, result: true, error: null }],
  });
  expect((await ask({ rule, payload: { level: 1 } })).data.testRule).toMatchObject({
    matches: false,
    parameters: null,
  });
  const draft = {
    conditions: [{ field: "level", operator: "LT", value: 5 }],
    actionParams: { message: "low: {{ event.payload.level }}" },
  };
  expect((await ask({ rule, payload: { level: 1 }, ...draft })).data.testRule).toMatchObject({
    matches: true,
    parameters: { message: "low: 1" },
  });
  const failing = { actionParams: { message: "{{ event.payload.missing.deeper }}" } };
  expect((await ask({ rule, payload: { level: 9 }, ...failing })).data.testRule).toMatchObject({
    matches: true,
    parameters: null,
    parametersError: expect.stringMatching(/./),
  });
  expect(await count()).toEqual(before);
});

test("a key is shown by its ref, and never read", async () => {
  const key = { owner: { system: true }, name: "try_password", value: "canary-9b1f-value", encrypted: true };
  await commit(world.services, setKey, world.session, { ...key, expectedUpdated: null });
  // Reading it would fail.
  await world.all(sql`update attune.key set value = '"v1:broken"' where ref = 'system.try_password'`);
  const rule = await world.rule(await world.trigger(), { action: "core.echo", actionParams: { message: "x" } });
  const actionParams = { message: 'Bearer {{ key("system.try_password") }}' };
  const { data, errors } = await ask({ rule, payload: {}, actionParams });
  expect(errors).toBeUndefined();
  expect(data.testRule).toMatchObject({
    matches: true,
    parameters: { message: "Bearer [secret:system.try_password]" },
    parametersError: null,
  });
});

test("what is wrong is refused with its place", async () => {
  const trigger = await world.trigger({ outSchema: { level: { type: "integer", required: true } } });
  const rule = await world.rule(trigger);
  const refusal = async (input: Record<string, unknown>) => (await ask({ rule, ...input })).errors?.[0]?.message ?? "";
  expect(await refusal({})).toContain("event: must be given, or else payload");
  expect(await refusal({ payload: {}, event: globalId("Event", 1n) })).toContain("one of the two");
  expect(await refusal({ payload: { level: "high" } })).toContain("payload.level");
  expect(await refusal({ payload: { level: 1 }, conditions: [{ expression: "event.payload.level >" }] })).toContain(
    "conditions.0",
  );
  expect(await refusal({ event: globalId("Event", 999_999n) })).toMatch(/999999.* does not exist|no event/i);
});

test("it takes the right to change the rule, and to read the event", async () => {
  const trigger = await world.trigger();
  const [event, rule] = [await world.event(trigger, {}), await world.rule(trigger)];
  const person = (login: string, ...grants: [string, ...string[]][]) =>
    createPerson(world.services, login, { grants: grants.map(([resource, ...actions]) => ({ resource, actions })) });
  const reader = await person("rule-reader", ["rule", "read"], ["event", "read"]);
  const editor = await person("rule-editor", ["rule", "read", "update"]);
  const full = await person("rule-and-event", ["rule", "read", "update"], ["event", "read"]);
  const input = { rule, event: globalId("Event", event) };
  expect((await ask(input, reader)).data?.testRule ?? null).toBeNull();
  expect((await ask(input, editor)).data?.testRule ?? null).toBeNull();
  expect((await ask(input, full)).data.testRule).toMatchObject({ matches: true });
  // Other contents need what saving them needs: the action, for example.
  const draft = await ask({ ...input, actionParams: { message: "x" } }, full);
  expect(draft.data?.testRule ?? null).toBeNull();
});
