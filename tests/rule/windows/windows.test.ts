import { readFileSync } from "node:fs";
import { sql } from "drizzle-orm";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { parse } from "yaml";
import type { WindowDefinition } from "../../../src/catalog/window.ts";
import { type Db, rows } from "../../../src/db/client.ts";
import { write } from "../../../src/db/tx.ts";
import { enforceEvents } from "../../../src/executor/events.ts";
import { decideWindows } from "../../../src/executor/windows.ts";
import { globalId } from "../../../src/lib/global-id.ts";
import type { JsonObject } from "../../../src/lib/json.ts";
import { enforceBatch } from "../../../src/rule/enforce.ts";
import { lintRule } from "../../../src/rule/lint.ts";
import { createRule, setRuleEnabled, updateRule } from "../../../src/rule/rule.ts";
import { createRuleSets } from "../../../src/rule/ruleset.ts";
import { openWindows } from "../../../src/rule/window-rows.ts";
import { decideRule, dropExpired, findUndecided } from "../../../src/rule/windows.ts";
import { type Api, createApi, createPerson } from "../../support/api.ts";
import { commit } from "../../support/commit.ts";
import { until } from "../../support/until.ts";
import { createWorld, type World } from "../../support/world.ts";
import { type Happening, simulate } from "./model.ts";

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

/** A second of the fake clock, an hour ago, in milliseconds; each period of a day or less begins at its first. */
const epoch = Math.floor(Date.now() / 3_600_000 - 1) * 3_600_000;

/** Stores an event that happened at a second of the fake clock; it is evaluated later. */
async function happen(trigger: string, payload: JsonObject, second: number): Promise<string> {
  const event = await world.event(trigger, payload);
  await world.all(
    sql`update attune.event set created = to_timestamp(${epoch / 1000 + second}::float8) where id = ${event}::bigint`,
  );
  return event;
}

/** Evaluates and decides until nothing is left. */
async function settle(): Promise<void> {
  const ruleSets = createRuleSets();
  while ((await enforceEvents(world.services, ruleSets, 100)) > 0);
  while ((await decideWindows(world.services, ruleSets.owners)).isLeft);
}

/** The events with which a rule started, in the order of the starts. */
async function startsOf(rule: string): Promise<string[]> {
  const found = await world.all<{ event: string }>(
    sql`select f.event::text from attune.enforcement f join attune.execution x on x.enforcement = f.id
      where f.rule_ref = ${rule} order by f.id`,
  );
  return found.map(({ event }) => event);
}

const heldOf = async (rule: string) =>
  (
    await world.all<{ held: string | null }>(
      sql`select v.held from attune.rule_evaluation v join attune.rule r on r.id = v.rule where r.ref = ${rule} order by v.event, v.matched`,
    )
  ).map(({ held }) => held);

const ofAnswer = { condition: "all" as const, conditions: [] };
const definitions: readonly WindowDefinition[] = [
  { throttle: { per: 10 } },
  { debounce: { quiet: 4, max: 12 } },
  { count: { times: 3, within: 10 } },
  { absence: { of: ofAnswer, within: 6 } },
  { once: { per: 20 } },
  { once: {} },
];

interface Staged extends Happening {
  key: string;
}

/** Creates a rule of each kind, grouped by host, and what happens to them within two minutes. */
async function stage(seed: number, count: number): Promise<{ rules: [string, WindowDefinition][]; staged: Staged[] }> {
  const [trigger, other] = [await world.trigger(), await world.trigger()];
  const rules: [string, WindowDefinition][] = [];
  for (const definition of definitions) {
    const { absence } = definition;
    const window = absence ? { absence: { ...absence, of: { ...ofAnswer, trigger: other } } } : definition;
    rules.push([await world.rule(trigger, { window: { ...window, key: "event.payload.host" } }), definition]);
  }
  const steps = fc.array(
    fc.record({ second: fc.integer({ min: 0, max: 120 }), isMatch: fc.boolean(), key: fc.constantFrom("a", "b") }),
    { minLength: count, maxLength: count },
  );
  const [generated = []] = fc.sample(steps, { seed, numRuns: 1 });
  const staged: Staged[] = [];
  for (const { second, isMatch, key } of generated.sort((a, b) => a.second - b.second)) {
    staged.push({ second, isMatch, key, event: await happen(isMatch ? trigger : other, { host: key }, second) });
  }
  return { rules, staged };
}

/** Expects that each rule started what the model starts. */
async function expectModel(rules: readonly [string, WindowDefinition][], staged: readonly Staged[]): Promise<void> {
  let total = 0;
  for (const [rule, definition] of rules) {
    const expected = ["a", "b"].flatMap((key) =>
      simulate(
        definition,
        staged.filter((each) => each.key === key),
        3600,
      ),
    );
    expect([definition, (await startsOf(rule)).sort()]).toEqual([
      definition,
      expected.map(({ event }) => event).sort(),
    ]);
    total += expected.length;
  }
  expect(total).toBeGreaterThan(20);
}

const ask = async (query: string, variables: object = {}, session = world.session) => {
  const { data, errors } = await api.ask(session, query, variables);
  expect(errors).toBeUndefined();
  return data;
};

describe("what starts", () => {
  test("is what the model starts, when processes die and start between any two steps", async () => {
    const { rules, staged } = await stage(7, 60);
    const steps = fc.sample(fc.constantFrom("evaluate", "decide", "die evaluating", "die deciding"), {
      seed: 7,
      numRuns: 250,
    });
    const { services } = world;
    for (const step of steps) {
      const { owners, ...ruleSets } = createRuleSets();
      if (step === "evaluate") await enforceEvents(services, { ...ruleSets, owners }, 1);
      if (step === "decide") await decideWindows(services, owners);
      if (step === "die evaluating") {
        const dying = write(services, async (tx) => {
          await enforceBatch(tx, { ...ruleSets, owners }, 3);
          throw new Error("killed");
        });
        await expect(dying).rejects.toThrow("killed");
      }
      if (step === "die deciding") {
        for (const rule of await findUndecided(services.db)) {
          const dying = write(services, async (tx) => {
            await decideRule(tx, owners, rule);
            throw new Error("killed");
          });
          await expect(dying).rejects.toThrow("killed");
        }
      }
    }
    await settle();
    await expectModel(rules, staged);
  }, 60_000);

  test("is what the model starts, when 16 executors race for the same keys", async () => {
    const { rules, staged } = await stage(11, 80);
    const executors = Array.from({ length: 16 }, async () => {
      const ruleSets = createRuleSets();
      for (let idle = 0; idle < 3; ) {
        const taken = await enforceEvents(world.services, ruleSets, 3);
        const { count } = await decideWindows(world.services, ruleSets.owners);
        idle = taken + count === 0 ? idle + 1 : 0;
      }
    });
    await Promise.all(executors);
    await settle();
    await expectModel(rules, staged);
    const doubles = await world.all(
      sql`select from attune.execution where enforcement is not null group by enforcement having count(*) > 1`,
    );
    expect(doubles).toEqual([]);
  }, 60_000);

  test("waits for an older event that is not evaluated yet", async () => {
    const trigger = await world.trigger();
    const rule = await world.rule(trigger, { window: { once: {} } });
    const first = await happen(trigger, {}, 1);
    const second = await happen(trigger, {}, 2);
    await world.all(
      sql`update attune.pending_event set retry_at = now() + interval '1 hour' where event = ${first}::bigint`,
    );
    await settle();
    expect([await startsOf(rule), await heldOf(rule)]).toEqual([[], ["undecided"]]);
    await world.all(sql`update attune.pending_event set retry_at = null where event = ${first}::bigint`);
    await settle();
    expect([await startsOf(rule), await heldOf(rule)]).toEqual([[first], [null, "once"]]);
    expect(second).not.toBe(first);
  });

  test("is decided by an executor, at the deadline", async () => {
    const trigger = await world.trigger();
    const rule = await world.rule(trigger, { window: { debounce: { quiet: 0.3 } } });
    const executor = world.startExecutor();
    const events = [await world.event(trigger), await world.event(trigger)];
    expect(await until(async () => (await startsOf(rule)).at(0), "the start")).toBe(events[1]);
    await executor.stop();
    expect(
      await world.all(sql`select from attune.rule_window w join attune.rule r on r.id = w.rule where r.ref = ${rule}`),
    ).toEqual([]);
  });

  test("has the parameters of its event, and the rule as it is now", async () => {
    const trigger = await world.trigger();
    const window = { debounce: { quiet: 5 } };
    const rule = await world.rule(trigger, { window, action: "core.echo", actionParams: { message: "old" } });
    await happen(trigger, { n: 1 }, 0);
    const last = await happen(trigger, { n: 2 }, 1);
    const ruleSets = createRuleSets();
    await enforceEvents(world.services, ruleSets, 100);
    const patch = { actionParams: { message: "n is {{ event.payload.n }}" } };
    await commit(world.services, updateRule, world.session, { ref: rule, patch });
    await settle();
    const found = await world.one(
      sql`select f.event::text, f.rule_revision as revision, x.config from attune.enforcement f join attune.execution x on x.enforcement = f.id
        where f.rule_ref = ${rule}`,
    );
    expect(found).toEqual({ event: last, revision: 2, config: { message: "n is 2" } });
  });
});

describe("a change", () => {
  test.each([
    ["of the window", { window: { debounce: { quiet: 9 } } }],
    ["to no window", { window: null }],
  ])("%s forgets what it waits for", async (_name, patch) => {
    const trigger = await world.trigger();
    const rule = await world.rule(trigger, { window: { debounce: { quiet: 3600 * 24 } } });
    await happen(trigger, {}, 0);
    await settle();
    const waiting = sql`select w.kind from attune.rule_window w join attune.rule r on r.id = w.rule where r.ref = ${rule}`;
    expect(await world.all(waiting)).toEqual([{ kind: "debounce" }]);
    await commit(world.services, updateRule, world.session, { ref: rule, patch });
    expect(await world.all(waiting)).toEqual([]);
  });

  test("to disabled holds back what is undecided, and enabling starts nothing stale", async () => {
    const trigger = await world.trigger();
    const rule = await world.rule(trigger, { window: { debounce: { quiet: 60 } } });
    await happen(trigger, {}, 0);
    await enforceEvents(world.services, createRuleSets(), 100);
    await commit(world.services, setRuleEnabled, world.session, { ref: rule, enabled: false });
    await settle();
    await commit(world.services, setRuleEnabled, world.session, { ref: rule, enabled: true });
    await settle();
    expect([await startsOf(rule), await heldOf(rule)]).toEqual([[], ["disabled"]]);
  });
});

test("opposite changes of two rules that wait for events of each other's triggers do not get in each other's way", async () => {
  const [one, two] = [await world.trigger(), await world.trigger()];
  const rules = [await world.rule(one), await world.rule(two)];
  const change = (index: number, within: number) => {
    const of = { trigger: index === 0 ? two : one, conditions: [] };
    const input = { ref: rules[index] ?? "", patch: { window: { absence: { of, within } } } };
    return commit(world.services, updateRule, world.session, input);
  };
  for (let round = 1; round <= 30; round += 1) await Promise.all([change(0, round), change(1, round)]);
});

describe("a key", () => {
  test("that has no value is no match, and the evaluation says why", async () => {
    const trigger = await world.trigger();
    const rule = await world.rule(trigger, { window: { once: {}, key: "event.payload.host" } });
    const event = await happen(trigger, {}, 0);
    await settle();
    expect(await startsOf(rule)).toEqual([]);
    const { detail } = await world.one<{ detail: JsonObject[] }>(
      sql`select detail from attune.rule_evaluation where event = ${event}::bigint and not matched`,
    );
    expect(detail).toMatchObject([{ path: "window.key", error: expect.stringContaining("host") }]);
  });

  test("beyond the ten thousandth starts nothing, until others expire", async () => {
    const trigger = await world.trigger();
    const rule = await world.rule(trigger, { window: { throttle: { per: 10 }, key: "event.payload.host" } });
    const expires = sql`to_timestamp(${epoch / 1000 + 3000}::float8)`;
    await world.all(
      sql`insert into attune.rule_window (rule, key, key_hash, kind, count, state, expires_at)
        select r.id, 'k' || n, n::text, 'throttle', 0, '{"at": 0, "from": 0, "times": []}', ${expires}
        from attune.rule r, generate_series(1, 10000) n where r.ref = ${rule}`,
    );
    await happen(trigger, { host: "new" }, 2999);
    await enforceEvents(world.services, createRuleSets(), 100);
    await world.all(sql`update attune.rule_window set expires_at = now() + interval '1 hour' where kind = 'throttle'`);
    await settle();
    expect([await startsOf(rule), await heldOf(rule)]).toEqual([[], ["keys"]]);
    await world.all(sql`update attune.rule_window set expires_at = ${expires} where kind = 'throttle'`);
    while (await write(world.services, dropExpired));
    const event = await happen(trigger, { host: "new" }, 3001);
    await settle();
    expect(await startsOf(rule)).toEqual([event]);
  });

  test("that has expired goes although its rule has younger matches to decide about, and stays while it has older ones", async () => {
    const trigger = await world.trigger();
    const rule = await world.rule(trigger, { window: { throttle: { per: 10 }, key: "event.payload.host" } });
    const left = async () => {
      while (await write(world.services, dropExpired));
      const found = await world.all<{ key: string }>(
        sql`select w.key from attune.rule_window w join attune.rule r on r.id = w.rule where r.ref = ${rule}`,
      );
      return found.map(({ key }) => key);
    };
    await happen(trigger, { host: "a" }, 0);
    await settle();
    await happen(trigger, { host: "b" }, 9);
    await enforceEvents(world.services, createRuleSets(), 100);
    expect(await left()).toEqual(["a"]);
    await settle();
    await happen(trigger, { host: "c" }, 15);
    await enforceEvents(world.services, createRuleSets(), 100);
    expect(await left()).toEqual(["b"]);
  });

  test("is found by an index among 10,000 of its rule and 20,000 of another, though the statements were first planned over few", async () => {
    const [trigger, { services }] = [await world.trigger(), world];
    const refs = [
      await world.rule(trigger, { window: { throttle: { per: 10 }, key: "event.payload.host" } }),
      await world.rule(trigger, { window: { throttle: { per: 10 }, key: "event.payload.host" } }),
    ] as const;
    const add = (db: Db, ref: string, count: number) =>
      rows(
        db,
        sql`insert into attune.rule_window (rule, key, key_hash, kind, count, state, due_at, expires_at)
          select r.id, 'k' || n, 'h' || n, 'throttle', 1, '{"at": 0, "from": 0, "times": []}', now() + interval '1 hour', now() + interval '1 hour'
          from attune.rule r, generate_series(1, ${count}::int) n where r.ref = ${ref} on conflict do nothing`,
      );
    const { id: rule } = await world.one<{ id: string }>(sql`select id::text from attune.rule where ref = ${refs[0]}`);
    await expect(
      write(services, async (tx) => {
        const input = { evaluation: "0", event: "0", isMatch: true, key: null, at: Date.now() };
        const open = (hash: string) =>
          openWindows(tx.db, { rule, inputs: [{ ...input, hash }], now: Date.now(), limit: 500 });
        const readBy = async (work: () => Promise<unknown>) => {
          const counts = async () =>
            (
              await rows<{ sequentially: number; byIndex: number }>(
                tx.db,
                sql`select seq_tup_read::float8 as "sequentially", idx_tup_fetch::float8 as "byIndex" from pg_stat_xact_user_tables
                  where relid = 'attune.rule_window'::regclass`,
              )
            )[0] ?? { sequentially: Number.NaN, byIndex: Number.NaN };
          const before = await counts();
          await work();
          const after = await counts();
          return { sequentially: after.sequentially - before.sequentially, byIndex: after.byIndex - before.byIndex };
        };
        await add(tx.db, refs[0], 3);
        // Often enough for the database to choose a generic plan.
        for (let round = 0; round < 10; round += 1) for (const hash of ["h1", "new"]) await open(hash);
        await add(tx.db, refs[0], 10_000);
        await add(tx.db, refs[1], 20_000);
        expect((await readBy(() => open("h77"))).sequentially).toBe(0);
        await tx.db.execute(sql`analyze attune.rule_window`);
        const known = await readBy(() => open("h77"));
        expect(known.sequentially).toBe(0);
        expect(known.byIndex).toBeLessThan(10);
        const unknown = await readBy(() => open("new"));
        expect(unknown.sequentially).toBe(0);
        expect(unknown.byIndex).toBeLessThanOrEqual(10_010); // its rule's windows are counted
        expect((await readBy(() => dropExpired(tx))).sequentially).toBe(0);
        throw new Error("rolled back");
      }),
    ).rejects.toThrow("rolled back");
  });

  test("must not read secrets, and must be an expression over the event", async () => {
    const trigger = await world.trigger();
    const make = (key: string) => world.rule(trigger, { window: { once: {}, key } });
    await expect(make('key("db.password")')).rejects.toThrow(/window\.key: .*key/);
    await expect(make("pack.config.token")).rejects.toThrow(/window\.key: .*known names: event/);
    await expect(make("event.payload.")).rejects.toThrow(/window\.key/);
  });
});

describe("the API", () => {
  const fields = `window { key throttle { per } debounce { quiet max } count { times within } absence { of { trigger condition conditions key } within } once { per } }
    maxStarts { count per pause } trippedAt resetsAt windows { totalCount { count } nodes { key kind count dueAt expiresAt event { id } } }`;

  test("creates, shows and restores a window, and refuses one that is none", async () => {
    const trigger = await world.trigger();
    const create = `mutation ($input: CreateRuleInput!) { createRule(input: $input) {
      ... on CreateRulePayload { rule { ref ${fields} warnings { kind path } } } ... on InvalidInputError { issues { path message } } } }`;
    const input = { ref: "default.silent", trigger, action: "core.noop" };
    const absence = { within: 60, of: { conditions: [{ field: "state", operator: "EQUALS", value: "up" }] } };
    const refused = await ask(create, { input: { ...input, window: { once: {}, throttle: { per: 1 } } } });
    expect(refused.createRule.issues).toEqual([
      { path: "window", message: "expected exactly one of throttle, debounce, count, absence, once" },
    ]);
    const { createRule: created } = await ask(create, {
      input: { ...input, window: { key: "event.payload.host", absence }, maxStarts: { count: 5, per: 60 } },
    });
    expect(created.rule).toMatchObject({
      window: {
        key: "event.payload.host",
        absence: { within: 60, of: { trigger: null, condition: "ALL", conditions: [{ field: "state" }] } },
        once: null,
      },
      maxStarts: { count: 5, per: 60, pause: 300 },
      trippedAt: null,
      windows: { totalCount: { count: 0 } },
    });
    await commit(world.services, updateRule, world.session, {
      ref: "default.silent",
      patch: { window: null, maxStarts: null },
    });
    const restored = await ask(`mutation { restoreRule(input: {ref: "default.silent", revision: 1}) {
      ... on RestoreRulePayload { rule { ${fields} } } ... on Error { message } } }`);
    expect(restored.restoreRule.rule.window).toEqual(created.rule.window);
  });

  test("shows what waits, and what held an event back, to those who may read events", async () => {
    const trigger = await world.trigger();
    const rule = await world.rule(trigger, {
      window: { count: { times: 3, within: 3600 }, key: "event.payload.host" },
    });
    const event = await world.event(trigger, { host: "hidden-host" });
    await settle();
    const document = `query ($rule: String!, $event: ID!) {
      ruleByRef(ref: $rule) { ${fields} }
      event(id: $event) { explain(rule: $rule) { matches held windowKey } evaluations { nodes { matched held windowKey } } } }`;
    const variables = { rule, event: globalId("Event", event) };
    const seen = await ask(document, variables);
    expect(seen.ruleByRef.windows).toMatchObject({
      totalCount: { count: 1 },
      nodes: [{ key: "hidden-host", kind: "COUNT", count: 1, dueAt: null, event: { id: variables.event } }],
    });
    expect(seen.event.explain).toEqual({ matches: true, held: "COUNT", windowKey: "hidden-host" });
    expect(seen.event.evaluations.nodes).toEqual([{ matched: true, held: "COUNT", windowKey: "hidden-host" }]);
    const blind = await createPerson(world.services, "blind", { grants: [{ resource: "rule", actions: ["read"] }] });
    const unseen = await ask(`query ($rule: String!) { ruleByRef(ref: $rule) { ${fields} } }`, { rule }, blind);
    expect(unseen.ruleByRef.windows).toEqual({ totalCount: { count: 0 }, nodes: [] });
  });

  test("needs the right to read the events whose answers a rule waits for", async () => {
    const [trigger, other] = [await world.trigger(), await world.trigger()];
    const person = await createPerson(world.services, "half", {
      grants: [
        { resource: "rule", actions: ["read", "create", "update"] },
        { resource: "pack", actions: ["read"] },
        { resource: "trigger", actions: ["read"] },
        { resource: "action", actions: ["read", "execute"] },
        { resource: "event", actions: ["read"], constraints: { refs: [trigger] } },
      ],
    });
    const create = `mutation ($input: CreateRuleInput!) { createRule(input: $input) { __typename ... on Error { message } } }`;
    const input = (of: object, ref: string) => ({
      input: { ref, trigger, action: "core.noop", window: { absence: { of, within: 5 } } },
    });
    const refused = await ask(create, input({ trigger: other }, "default.half_other"), person);
    expect(refused.createRule.message).toContain(`events of the trigger "${other}"`);
    const allowed = await ask(create, input({}, "default.half_own"), person);
    expect(allowed.createRule.__typename).toBe("CreateRulePayload");
  });
});

test("the examples in docs/windows.md are accepted, and its queries are answered", async () => {
  const page = readFileSync("docs/windows.md", "utf8");
  const trigger = await world.trigger();
  await world.build("trigger", { ref: "backups.state", pack_ref: "backups", label: "State" });
  const examples = [...page.matchAll(/```yaml\n([^`]+)```/g)].map(([, text = ""]) => parse(text) as JsonObject);
  expect(examples.length).toBeGreaterThanOrEqual(7);
  for (const { window, max_starts: maxStarts } of examples) {
    const rule = await world.rule(trigger, { window, maxStarts });
    const [stored] = await world.all<JsonObject>(sql`select "window", max_starts from attune.rule where ref = ${rule}`);
    expect(stored).toMatchObject(window === undefined ? { max_starts: maxStarts } : { max_starts: null });
    expect(Object.keys((stored?.["window"] ?? {}) as object).sort()).toEqual(
      Object.keys((window ?? {}) as object).sort(),
    );
  }
  const input = { ref: "default.disk_full", trigger, action: "core.noop", window: { throttle: { per: 60 } } };
  await commit(world.services, createRule, world.session, input);
  const event = globalId("Event", await world.event(trigger));
  await world.event(trigger);
  await settle();
  const documents = [...page.matchAll(/```graphql\n([^`]+)```/g)].map(([, text = ""]) => text);
  expect(documents).toHaveLength(3);
  const [held, windows, reset] = [
    await ask(documents[0] ?? "", { event }),
    await ask(documents[1] ?? ""),
    await ask(documents[2] ?? ""),
  ];
  expect(held.event.explain).toEqual({ matches: true, held: null, windowKey: null });
  expect(windows.ruleByRef.windows.nodes).toMatchObject([{ key: null, kind: "THROTTLE", count: 1 }]);
  expect(reset.resetRule.rule).toEqual({ trippedAt: null });
});

test("the linter compares the key and the answers with the trigger's schema", () => {
  const rule = { condition: "all" as const, conditions: [], actionRef: "core.noop", actionParams: {} };
  const of = { conditions: [{ field: "stat", operator: "equals", value: "up" }] };
  const window = { key: "event.payload.hots", absence: { of, within: 5 } };
  const schemas = { payload: { host: { type: "string" }, state: { type: "string" } } as const, parameters: null };
  expect(lintRule({ ...rule, window }, schemas).map(({ kind, path }) => [kind, path])).toEqual([
    ["unknown_path", "window.key"],
    ["unknown_path", "window.absence.of.conditions.0.field"],
  ]);
  expect(lintRule({ ...rule, window: { once: {}, key: "event." } }, schemas)[0]).toMatchObject({
    ...{ kind: "invalid", path: "window.key" },
  });
});

test("a rule that starts more often than its limit trips, says so, and starts again after the pause or a reset", async () => {
  const alerts = await world.rule("core.alert", {});
  const trigger = await world.trigger();
  const rule = await world.rule(trigger, { maxStarts: { count: 3, per: 60, pause: 600 } });
  const events: string[] = [];
  for (const second of [0, 1, 2, 3, 4]) events.push(await world.event(trigger, { second }));
  await settle();
  expect([await startsOf(rule), await heldOf(rule)]).toEqual([
    events.slice(0, 3),
    [null, null, null, "max_starts", "max_starts"],
  ]);
  const tripped = await ask(`query ($rule: String!) { ruleByRef(ref: $rule) { trippedAt resetsAt } }`, { rule });
  expect(Date.parse(tripped.ruleByRef.resetsAt) - Date.parse(tripped.ruleByRef.trippedAt)).toBe(600_000);
  const noted = sql`select count(*)::int as count from attune.notification n join attune.rule r on r.id = n.entity
    where n.channel = 'rule' and n.activity = 'updated' and r.ref = ${rule}`;
  expect(await world.one(noted)).toEqual({ count: 1 });
  expect(
    await world.one(
      sql`select payload -> 'details' ->> 'rule' as rule from attune.platform_event where trigger_ref = 'core.alert'`,
    ),
  ).toEqual({ rule });
  const reset = await ask(
    `mutation ($rule: String!) { resetRule(input: {ref: $rule}) { ... on ResetRulePayload { rule { trippedAt resetsAt } } } }`,
    { rule },
  );
  expect(reset.resetRule.rule).toEqual({ trippedAt: null, resetsAt: null });
  expect(await world.one(noted)).toEqual({ count: 2 });
  events.push(await world.event(trigger, { second: 5 }));
  await settle();
  expect((await startsOf(rule)).at(-1)).toBe(events.at(-1));
  await commit(world.services, setRuleEnabled, world.session, { ref: alerts, enabled: false });
});
