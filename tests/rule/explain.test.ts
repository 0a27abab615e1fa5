import { sql } from "drizzle-orm";
import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { globalId } from "../../src/lib/global-id.ts";
import type { Json, JsonObject } from "../../src/lib/json.ts";
import { explainRule } from "../../src/rule/explain.ts";
import { updateRule } from "../../src/rule/rule.ts";
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

const document = `query ($event: ID!, $rule: String!) { event(id: $event) {
  explain(rule: $rule) { matches reason ruleRevision criteria { path operator expected actual result error } } } }`;
const ask = (event: string, rule: string, session = world.session) =>
  api.ask(session, document, { event: globalId("Event", event), rule });

test("an explanation shows what each criterion found, also for a rule that is disabled and was made later", async () => {
  const trigger = await world.trigger();
  const event = await world.event(trigger, { level: 3, host: "db1", tags: ["a"] });
  const conditions: Json[] = [
    { field: "level", operator: "gte", value: 5 },
    { field: "host", operator: "startswith", value: "db" },
    { field: "missing", operator: "exists" },
    { expression: "event.payload.level + event.payload.host > 1" },
  ];
  const rule = await world.rule(trigger, { conditions, enabled: false });
  const { data, errors } = await ask(event, rule);
  expect(errors).toBeUndefined();
  const { criteria, ...found } = data.event.explain;
  expect(found).toEqual({ matches: false, reason: null, ruleRevision: 1 });
  expect(criteria.slice(0, 3)).toMatchObject([
    { path: "level", operator: "gte", expected: 5, actual: 3, result: false, error: null },
    { path: "host", operator: "startswith", actual: "db1", result: true },
    { path: "missing", operator: "exists", actual: null, result: false },
  ]);
  expect(criteria[3]).toMatchObject({ result: false, error: expect.stringMatching(/./) });

  await commit(world.services, updateRule, world.session, {
    ref: rule,
    expectedUpdated: null,
    patch: { conditions: [] },
  });
  expect((await ask(event, rule)).data.event.explain).toEqual({
    matches: true,
    reason: null,
    ruleRevision: 2,
    criteria: [],
  });
});

test("an event of another trigger, and a tick of another rule's timer, do not concern the rule", async () => {
  const [mine, other] = [await world.trigger(), await world.trigger()];
  const rule = await world.rule(mine);
  const { explain } = (await ask(await world.event(other), rule)).data.event;
  expect(explain).toMatchObject({
    matches: false,
    reason: `The rule is for the trigger "${mine}"; the event is one of "${other}".`,
  });
  const [ticking, idle] = await Promise.all(
    [1, 2].map(() => world.rule("core.intervaltimer", { triggerParams: { unit: "seconds", interval: 1 } })),
  );
  const timers = world.startTimers();
  const tick = await until(
    async () =>
      (
        await world.all<{ id: string }>(
          sql`select e.id::text from attune.event e join attune.rule r on r.id = e.rule where r.ref = ${ticking}`,
        )
      )[0],
    "a tick",
  );
  await timers.stop();
  const id = tick ? tick.id : "";
  expect((await ask(id, ticking ?? "")).data.event.explain).toMatchObject({ matches: true, reason: null });
  expect((await ask(id, idle ?? "")).data.event.explain).toMatchObject({
    matches: false,
    reason: expect.stringContaining("another rule's timer"),
  });
});

test("it takes the right to read the event and the rule", async () => {
  const trigger = await world.trigger();
  const [event, rule] = [await world.event(trigger, { secret: "canary" }), await world.rule(trigger)];
  const person = (login: string, ...resources: string[]) =>
    createPerson(world.services, login, { grants: resources.map((resource) => ({ resource, actions: ["read"] })) });
  const [both, onlyRule, onlyEvent] = [
    await person("both", "event", "rule"),
    await person("only-rule", "rule"),
    await person("only-event", "event"),
  ];
  expect((await ask(event, rule, both)).data.event.explain.matches).toBe(true);
  expect((await ask(event, rule, onlyRule)).data?.event ?? null).toBeNull();
  const hidden = await ask(event, rule, onlyEvent);
  expect(hidden.data.event.explain).toBeNull();
  const absent = await ask(event, "default.nothing", onlyEvent);
  // A rule that may not be read is like one that does not exist.
  expect(hidden.errors?.[0]?.message.replace(rule, "?")).toBe(
    absent.errors?.[0]?.message.replace("default.nothing", "?"),
  );
});

test("explanations agree with what the executor did, for 10,000 generated pairs of rules and events", {
  timeout: 120_000,
}, async () => {
  const trigger = await world.trigger();
  const value = fc.oneof(
    fc.integer({ min: 0, max: 3 }),
    fc.constantFrom("a", "ab", "", null, true),
    fc.constant(["a"]),
  );
  const criterion = fc.record({
    field: fc.constantFrom("a", "b", "b.c"),
    operator: fc.constantFrom("equals", "nequals", "contains", "ncontains", "lt", "gte", "exists", "startswith", "in"),
    value,
  });
  const condition = fc.oneof(
    criterion,
    criterion.map((not) => ({ not })),
    fc.array(criterion, { minLength: 1, maxLength: 2 }).map((any) => ({ any })),
  );
  const payload = fc.record({ a: value, b: fc.oneof(value, fc.record({ c: value })) }, { requiredKeys: [] });
  const sample = <T>(of: fc.Arbitrary<T>, count: number) => fc.sample(of, { numRuns: count, seed: 7 });
  const rules: string[] = [];
  for (const conditions of sample(fc.array(condition, { maxLength: 3 }), 350)) {
    if (rules.length === 125) break; // more than are evaluated anyway
    const condition = rules.length % 2 === 0 ? "all" : "any";
    // Some operators refuse some values.
    await world.rule(trigger, { condition, conditions: conditions as Json[] }).then(
      (ref) => rules.push(ref),
      () => {},
    );
  }
  expect(rules).toHaveLength(125);
  const events: string[] = [];
  for (const each of sample(payload, 80)) events.push(await world.event(trigger, each as JsonObject));
  const executor = world.startExecutor();
  await until(
    async () =>
      (await world.all(sql`select from attune.event where trigger_ref = ${trigger} and evaluated_at is null`))
        .length === 0,
    "the evaluations",
    60_000,
  );
  await executor.stop();
  const enforced = new Set(
    (
      await world.all<{ pair: string }>(
        sql`select event || '/' || rule as pair from attune.enforcement where trigger_ref = ${trigger}`,
      )
    ).map(({ pair }) => pair),
  );
  const stored = await world.all<{ id: string; condition: "all" | "any"; conditions: Json[] }>(
    sql`select id::text, condition, conditions from attune.rule where trigger_ref = ${trigger}`,
  );
  const found = await world.all<{ id: string; payload: Json }>(
    sql`select id::text, payload from attune.event where trigger_ref = ${trigger}`,
  );
  let matches = 0;
  for (const event of found) {
    for (const rule of stored) {
      const of = { triggerRef: trigger, ruleId: null };
      const explained = await explainRule(
        { ...rule, id: BigInt(rule.id), triggerRef: trigger, window: null, activeHours: null, backstop: false },
        { ...of, id: event.id, traceTag: "t", created: "2026-01-01T00:00:00Z", payload: event.payload },
        async () => false,
      );
      expect([event.payload, rule.conditions, explained.matches]).toEqual([
        event.payload,
        rule.conditions,
        enforced.has(`${event.id}/${rule.id}`),
      ]);
      if (explained.matches) matches += 1;
    }
  }
  expect(found.length * stored.length).toBe(10_000);
  expect(matches).toBeGreaterThan(1000);
  expect(matches).toBeLessThan(9000);
});
