import { sql } from "drizzle-orm";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { write } from "../../src/db/tx.ts";
import { enforceSuspects } from "../../src/executor/suspects.ts";
import { globalId } from "../../src/lib/global-id.ts";
import type { Json, JsonObject } from "../../src/lib/json.ts";
import { enforceRule } from "../../src/rule/enforce.ts";
import { restoreRule } from "../../src/rule/revision.ts";
import { createRule, updateRule } from "../../src/rule/rule.ts";
import { type Api, createApi, createPerson } from "../support/api.ts";
import { commit } from "../support/commit.ts";
import { createEvaluator, type Evaluator, is } from "../support/evaluator.ts";
import { loadDirectory, packDirectories } from "../support/pack.ts";
import { createWorld, type World } from "../support/world.ts";

let world: World;
let api: Api;
let evaluator: Evaluator;
beforeAll(async () => {
  world = await createWorld();
  api = await createApi(world.services);
  evaluator = createEvaluator(world);
});
afterAll(async () => {
  await api[Symbol.asyncDispose]();
  await world[Symbol.asyncDispose]();
});

const ask = async (document: string, variables: object = {}, session = world.session) => {
  const { data, errors } = await api.ask(session, document, variables);
  expect(errors).toBeUndefined();
  return data;
};
const explain = async (event: string, rule: string, session = world.session) =>
  (
    await ask(
      `query ($event: ID!, $rule: String!) { event(id: $event) { explain(rule: $rule) { matches criteria { path operator actual result error } } } }`,
      { event: globalId("Event", event), rule },
      session,
    )
  ).event.explain;
const enforcedRules = async (event: string) => (await evaluator.enforced(event)).map(({ rule }) => rule);
const recorded = async (event: string, rule: string) =>
  await world.all<{ matched: boolean; detail: { path: string; result: boolean }[] }>(
    sql`select v.matched, v.detail from attune.rule_evaluation v join attune.rule r on r.id = v.rule
      where v.event = ${event}::bigint and r.ref = ${rule}`,
  );
const emit = async (trigger: string, payload: JsonObject) => {
  const event = await world.event(trigger, payload);
  await evaluator.evaluate();
  return event;
};
const directoryOf = packDirectories();
const always = [{ from: "00:00", to: "24:00" }];
/** A day that is neither today nor close to it, in no zone. */
const farDay = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"][(new Date().getUTCDay() + 3) % 7] ?? "mon";
const never = { timezone: "UTC", spans: [{ days: [farDay], from: "00:00", to: "24:00" }] };

describe("a backstop", () => {
  test("matches what no other rule matches, and so does each of several", async () => {
    const trigger = await world.trigger();
    const known = await world.rule(trigger, { conditions: is("kind", "known") });
    const [one, two] = [
      await world.rule(trigger, { backstop: true }),
      await world.rule(trigger, { backstop: true, conditions: [{ field: "kind", operator: "exists" }] }),
    ];
    const matched = await emit(trigger, { kind: "known" });
    const other = await emit(trigger, { kind: "other" });
    const without = await emit(trigger, {});
    expect(await enforcedRules(matched)).toEqual([known]);
    expect(await enforcedRules(other)).toEqual([one, two].sort());
    expect(await enforcedRules(without)).toEqual([one]);
    expect(await recorded(matched, two)).toMatchObject([
      {
        matched: false,
        detail: [
          { path: "kind", result: true },
          { path: "backstop", result: false },
        ],
      },
    ]);
    expect(await explain(matched, two)).toMatchObject({
      matches: false,
      criteria: [{}, { path: "backstop", result: false }],
    });
    expect(await explain(other, two)).toMatchObject({
      matches: true,
      criteria: [{}, { path: "backstop", result: true }],
    });
    // A condition of its own that does not hold is what decides.
    expect((await explain(without, two)).criteria).toHaveLength(1);
  });

  test.each<[what: string, other: object, isBackstop: boolean]>([
    ["is held back by its window", { window: { once: {} } }, false],
    ["is held back by its limit", { maxStarts: { count: 1, per: 3600 } }, false],
    ["cannot be evaluated", { conditions: [{ field: "kind", operator: "gt", value: 5 }] }, true],
    ["has a window whose key fails", { window: { once: {}, key: "event.payload.missing.deeper" } }, true],
    ["is disabled", { enabled: false }, true],
    ["is outside its active hours", { activeHours: never }, true],
    ["is a backstop itself", { backstop: true }, true],
    [
      "starts nothing, because its parameters are wrong",
      { action: "core.echo", actionParams: { message: "{{ event.payload.missing }}" } },
      false,
    ],
  ])("matches or does not when the other rule %s", async (_what, other, isBackstop) => {
    const trigger = await world.trigger();
    await world.rule(trigger, other);
    const backstop = await world.rule(trigger, { backstop: true });
    // The second one is what windows and limits hold back.
    for (const kind of ["first", "second"]) {
      const event = await emit(trigger, { kind });
      expect([kind, (await enforcedRules(event)).includes(backstop)]).toEqual([kind, isBackstop]);
      expect((await explain(event, backstop)).matches).toBe(isBackstop);
    }
  });

  test("with a window is held back like any other rule", async () => {
    const trigger = await world.trigger();
    await world.rule(trigger, { conditions: is("kind", "known") });
    const backstop = await world.rule(trigger, { backstop: true, window: { once: {} } });
    await emit(trigger, { kind: "known" });
    await emit(trigger, { kind: "other" });
    const held = await world.all<{ matched: boolean }>(
      sql`select matched from attune.rule_evaluation v join attune.rule r on r.id = v.rule where r.ref = ${backstop} and v.pending`,
    );
    expect(held).toEqual([{ matched: true }]);
  });

  test("is as right among rules that are found by an index", async () => {
    const trigger = await world.trigger();
    const backstop = await world.rule(trigger, { backstop: true, conditions: is("level", "high") });
    await world.all(
      sql`insert into attune.rule (ref, pack, pack_ref, label, action, action_ref, trigger, trigger_ref, conditions, owner)
        select ref || '_' || n, pack, pack_ref, label, action, action_ref, trigger, trigger_ref,
          jsonb_build_array(jsonb_build_object('field', 'n', 'operator', 'equals', 'value', n)), owner
        from attune.rule, generate_series(1, 150) n where ref = ${backstop}`,
    );
    const found = async (payload: JsonObject) => {
      const event = await emit(trigger, payload);
      expect((await explain(event, backstop)).matches).toBe((await enforcedRules(event)).includes(backstop));
      return await enforcedRules(event);
    };
    expect(await found({ n: 7, level: "high" })).toEqual([`${backstop}_7`]);
    expect(await found({ n: 151, level: "high" })).toEqual([backstop]);
    expect(await found({ n: 151, level: "low" })).toEqual([]);
  });

  test("is decided about last when an event is evaluated rule by rule, also by a process that continues", async () => {
    const trigger = await world.trigger();
    // By its ref the backstop is the first.
    const backstop = await world.rule(trigger, { backstop: true });
    const held = await world.rule(trigger, { conditions: is("kind", "held"), window: { once: {} } });
    const known = await world.rule(trigger, { conditions: is("kind", "known") });
    const events = [];
    for (const kind of ["known", "held", "other"]) events.push(await world.event(trigger, { kind }));
    const [first = ""] = events;
    // The rule that matches was evaluated by a process that has ended since.
    const { id } = await world.one<{ id: string }>(sql`select id::text from attune.rule where ref = ${known}`);
    await write(world.services, (tx) => enforceRule(tx, evaluator.ruleSets, first, id));
    await world.all(sql`update attune.event set tries = 5 where trigger_ref = ${trigger}`);
    await enforceSuspects(world.services, evaluator.ruleSets, 10);
    expect(await Promise.all(events.map(enforcedRules))).toEqual([[known], [], [backstop]]);
    expect(await recorded(events[1] ?? "", held)).toMatchObject([{ matched: true }]);
  });

  test("agrees with a model, for generated rules and events", async () => {
    const trigger = await world.trigger();
    const condition = fc.oneof(
      fc.constantFrom(..."abc").map((value) => ({ field: "x", operator: "equals", value })),
      fc.constant({ field: "x", operator: "gt", value: 1 }), // an error for a text
      fc.constant({ field: "y", operator: "exists" }),
    );
    const kinds = fc.record({
      conditions: fc.array(condition, { minLength: 1, maxLength: 2 }),
      backstop: fc.boolean(),
      isActive: fc.boolean(),
    });
    const rules = [];
    for (const kind of fc.sample(kinds, { numRuns: 14, seed: 5 })) {
      const { conditions, backstop, isActive } = kind;
      const ref = await world.rule(trigger, { conditions, backstop, activeHours: isActive ? null : never });
      rules.push({ ref, ...kind });
    }
    const holds = ({ operator, value }: { operator: string; value?: Json }, { x, y }: { x: Json; y?: Json }) => {
      if (operator === "exists") return y !== undefined;
      return operator === "equals" ? x === value : typeof x === "number" && x > 1;
    };
    let backstops = 0;
    const payload = fc.record(
      { x: fc.constantFrom<Json>("a", "b", "d", 1, 2), y: fc.constant(1) },
      { requiredKeys: ["x"] },
    );
    for (const each of fc.sample(payload, { numRuns: 30, seed: 5 })) {
      const own = rules.filter(({ isActive, conditions }) => isActive && conditions.every((one) => holds(one, each)));
      const usual = own.filter(({ backstop }) => !backstop);
      const expected = usual.length > 0 ? usual : own;
      if (usual.length === 0) backstops += own.length;
      const event = await emit(trigger, each as JsonObject);
      expect([each, await enforcedRules(event)]).toEqual([each, expected.map(({ ref }) => ref).sort()]);
    }
    expect(backstops).toBeGreaterThan(3);
  });

  test("needs an owner who may read the events", async () => {
    const trigger = await world.trigger();
    const may = (...events: string[]) =>
      createPerson(world.services, `backstop-${events.length}`, {
        grants: [
          { resource: "rule", actions: ["read", "create"] },
          { resource: "pack", actions: ["read"] },
          { resource: "trigger", actions: ["read"] },
          { resource: "action", actions: ["execute"] },
          ...(events.length > 0 ? [{ resource: "event", actions: events }] : []),
        ],
      });
    const rule = { ref: "default.curious", trigger, action: "core.noop", backstop: true };
    await expect(commit(world.services, createRule, await may(), rule)).rejects.toThrow(/event:read/);
    await commit(world.services, createRule, await may("read"), rule);
  });
});

describe("active hours", () => {
  const inBerlin = { timezone: "Europe/Berlin", spans: [{ days: ["mon"], from: "08:00", to: "10:00" }] };
  const at = async (event: string, time: string) =>
    await world.all(sql`update attune.event set created = ${time}::timestamptz where id = ${event}::bigint`);

  test("decide by the time of the event, and evaluations and explanations say so", async () => {
    const trigger = await world.trigger();
    const rule = await world.rule(trigger, { activeHours: inBerlin });
    const events = [];
    for (const time of [
      "2026-03-30T06:00:00Z",
      "2026-03-30T07:59:59Z",
      "2026-03-30T08:00:00Z",
      "2026-03-23T06:30:00Z",
    ]) {
      const event = await world.event(trigger, {});
      await at(event, time);
      events.push(event);
    }
    await evaluator.evaluate();
    expect(await Promise.all(events.map(enforcedRules))).toEqual([[rule], [rule], [], []]);
    const outside = events[2] ?? "";
    expect(await recorded(outside, rule)).toMatchObject([
      { matched: false, detail: [{ path: "activeHours", actual: "mon 10:00", result: false }] },
    ]);
    expect(await explain(outside, rule)).toEqual({
      matches: false,
      criteria: [{ path: "activeHours", operator: "within", actual: "mon 10:00", result: false, error: null }],
    });
    const { ruleByRef } = await ask(
      "query ($ref: String!) { ruleByRef(ref: $ref) { backstop executionPriority activeHours { timezone spans { days from to } } } }",
      { ref: rule },
    );
    expect(ruleByRef).toEqual({
      ...{ backstop: false, executionPriority: 0 },
      activeHours: { timezone: "Europe/Berlin", spans: [{ days: ["MON"], from: "08:00", to: "10:00" }] },
    });
  });

  test("a condition that does not hold is not recorded for the hours' sake", async () => {
    const trigger = await world.trigger();
    const rule = await world.rule(trigger, { conditions: is("a", 1), activeHours: never });
    expect(await recorded(await emit(trigger, { a: 2 }), rule)).toEqual([]);
    expect(await recorded(await emit(trigger, { a: 1 }), rule)).toHaveLength(1);
  });

  test("are refused when they cannot be meant, and null is none", async () => {
    const rule = await world.rule(await world.trigger(), { activeHours: inBerlin });
    const patch = (activeHours: unknown) =>
      commit(world.services, updateRule, world.session, { ref: rule, patch: { activeHours } });
    await expect(patch({ ...inBerlin, timezone: "Mars/Olympus" })).rejects.toThrow(/activeHours\.timezone/);
    await expect(patch({ ...inBerlin, spans: [{ from: "08:00", to: "08:00" }] })).rejects.toThrow(/24:00/);
    await patch(null);
    const stored = await world.one(sql`select active_hours from attune.rule where ref = ${rule}`);
    expect(stored).toEqual({ active_hours: null });
  });
});

test("what a rule starts has its priority, and a wrong one is refused", async () => {
  const trigger = await world.trigger();
  const rule = await world.rule(trigger, { executionPriority: 7 });
  const held = await world.rule(trigger, { executionPriority: -3, window: { throttle: { per: 60 } } });
  const event = await emit(trigger, {});
  const executor = world.startExecutor();
  const started = async () =>
    Object.fromEntries(
      (
        await world.all<{ ref: string; priority: number }>(
          sql`select x.rule_ref as ref, x.priority from attune.execution x join attune.enforcement f on f.id = x.enforcement
            where f.event = ${event}::bigint`,
        )
      ).map(({ ref, priority }) => [ref, priority]),
    );
  await expect.poll(started, { timeout: 20_000 }).toEqual({ [rule]: 7, [held]: -3 });
  await executor.stop();
  const patch = { executionPriority: 2 ** 31 };
  await expect(commit(world.services, updateRule, world.session, { ref: rule, patch })).rejects.toThrow(
    /executionPriority/,
  );
});

test("the kind of a rule belongs to its revisions, and is restored", async () => {
  const activeHours = { timezone: "UTC", spans: always };
  const rule = await world.rule(await world.trigger(), { backstop: true, activeHours, executionPriority: 4 });
  const patch = { backstop: false, activeHours: null, executionPriority: 0 };
  await commit(world.services, updateRule, world.session, { ref: rule, patch });
  await commit(world.services, restoreRule, world.session, { ref: rule, revision: 1 });
  const row = await world.one(
    sql`select backstop, active_hours ->> 'timezone' as timezone, execution_priority, revision from attune.rule where ref = ${rule}`,
  );
  expect(row).toEqual({ backstop: true, timezone: "UTC", execution_priority: 4, revision: 3 });
});

test("files of packs have the kinds of rules, and what is wrong is refused at its place", async () => {
  const rule = (timezone: string) => `ref: kinds.rule
label: R
trigger_ref: kinds.t
action_ref: core.noop
backstop: true
execution_priority: 3
active_hours:
  timezone: ${timezone}
  spans: [{days: [mon], from: "08:00", to: "18:00"}]
`;
  const files = (timezone: string) => ({
    "pack.yaml": "ref: kinds\nlabel: Kinds\nversion: 1.0.0\n",
    "triggers/t.yaml": "ref: kinds.t\nlabel: T\n",
    "rules/rule.yaml": rule(timezone),
  });
  await expect(loadDirectory(world.services, directoryOf(files("Europe/Berln")))).rejects.toThrow(
    /rules\/rule\.yaml:8:\d+ active_hours\.timezone: there is no time zone "Europe\/Berln"/,
  );
  await loadDirectory(world.services, directoryOf(files("Europe/Berlin")));
  const row = await world.one(
    sql`select backstop, execution_priority, active_hours from attune.rule where ref = 'kinds.rule'`,
  );
  expect(row).toEqual({
    ...{ backstop: true, execution_priority: 3 },
    active_hours: { timezone: "Europe/Berlin", spans: [{ days: ["mon"], from: "08:00", to: "18:00" }] },
  });
});

describe("rules are tried", () => {
  const test_ = `query ($input: TestRuleInput!) { testRule(input: $input) { matches criteria { path result error } } }`;
  const tried = async (input: object, session = world.session) => (await ask(test_, { input }, session)).testRule;

  test("with other hours at a given time, and as backstops", async () => {
    const trigger = await world.trigger();
    const other = await world.rule(trigger, { conditions: is("kind", "known") });
    const rule = await world.rule(trigger);
    const activeHours = { timezone: "Europe/Berlin", spans: [{ days: ["MON"], from: "08:00", to: "10:00" }] };
    const input = { rule, payload: {}, activeHours };
    expect((await tried({ ...input, at: "2026-03-30T06:00:00Z" })).matches).toBe(true);
    expect(await tried({ ...input, at: "2026-03-30T08:00:00Z" })).toMatchObject({
      matches: false,
      criteria: [{ path: "activeHours" }],
    });
    // As a backstop it is not one of the others.
    expect((await tried({ rule, payload: {}, backstop: true })).matches).toBe(true);
    expect((await tried({ rule, payload: { kind: "known" }, backstop: true })).matches).toBe(false);
    expect((await tried({ rule: other, payload: { kind: "known" }, backstop: true })).matches).toBe(false);
  });

  test("and learn nothing of rules that may not be read", async () => {
    const trigger = await world.trigger();
    await world.rule(trigger, { conditions: is("kind", "known") });
    const rule = await world.rule(trigger, { backstop: true });
    const person = await createPerson(world.services, "one-rule", {
      grants: [
        { resource: "rule", actions: ["read", "update"], constraints: { refs: [rule] } },
        { resource: "event", actions: ["read"] },
      ],
    });
    const unknown = { path: "backstop", result: false, error: expect.stringContaining("may read all rules") };
    const found = await Promise.all([{ kind: "known" }, {}].map((payload) => tried({ rule, payload }, person)));
    expect(found).toEqual([1, 2].map(() => ({ matches: false, criteria: [unknown] })));
    const event = await emit(trigger, { kind: "known" });
    expect((await explain(event, rule, person)).criteria).toMatchObject([unknown]);
  });

  test("over stored events, by the same code", async () => {
    const trigger = await world.trigger();
    await world.rule(trigger, { conditions: is("n", 1) });
    const rule = await world.rule(trigger, { backstop: true });
    for (const n of [1, 2, 3]) await emit(trigger, { n });
    const report = async (input: object) =>
      (
        await ask(
          `query ($input: RuleBacktestInput!) { ruleBacktestMessages(input: $input) { events matches liveMatches gained lost enforced errors } }`,
          { input: { rule, ...input } },
        )
      ).ruleBacktestMessages[0];
    expect(await report({})).toEqual({
      events: 3,
      matches: 2,
      liveMatches: 2,
      gained: 0,
      lost: 0,
      enforced: 2,
      errors: 0,
    });
    expect(await report({ backstop: false })).toMatchObject({ matches: 3, liveMatches: 2, gained: 1 });
    const spans = [{ days: [farDay.toUpperCase()], from: "00:00", to: "24:00" }];
    expect(await report({ activeHours: { spans } })).toMatchObject({ matches: 0, lost: 2 });
  });
});

describe("the linter", () => {
  const lint = async (ref: string, session = world.session) => {
    const { saved, rule } = await ask(
      `query ($ref: String!) { saved: lintRule(rule: $ref) { kind path message suggestion } rule: ruleByRef(ref: $ref) { warnings { kind path message suggestion } } }`,
      { ref },
      session,
    );
    expect(rule.warnings).toEqual(saved);
    return saved;
  };

  test("finds backstops that make no difference", async () => {
    const trigger = await world.trigger();
    const alone = await world.rule(trigger, { backstop: true });
    expect(await lint(alone)).toMatchObject([
      { kind: "UNREACHABLE", path: "backstop", message: expect.stringContaining("no other enabled rule") },
    ]);
    const other = await world.rule(trigger, { conditions: is("a", 1) });
    expect(await lint(alone)).toEqual([]);
    await commit(world.services, updateRule, world.session, { ref: other, patch: { conditions: [] } });
    expect(await lint(alone)).toMatchObject([
      { kind: "CONTRADICTION", message: expect.stringContaining(`"${other}" matches every event`) },
    ]);
    await commit(world.services, updateRule, world.session, { ref: other, patch: { activeHours: never } });
    expect(await lint(alone)).toEqual([]);
    const person = await createPerson(world.services, "linter", {
      grants: [{ resource: "rule", actions: ["read"], constraints: { refs: [alone] } }],
    });
    await commit(world.services, updateRule, world.session, { ref: other, patch: { activeHours: null } });
    expect(await lint(alone, person)).toEqual([]);
    const timer = await world.rule("core.intervaltimer", {
      backstop: true,
      triggerParams: { unit: "hours", interval: 1 },
    });
    expect(await lint(timer)).toMatchObject([
      { kind: "UNREACHABLE", message: expect.stringContaining("ticks of its own") },
    ]);
  });

  test("finds hours that a timer never meets, and hours that leave nothing out", async () => {
    const weekdays = ["mon", "tue", "wed", "thu", "fri"];
    const activeHours = { timezone: "UTC", spans: [{ days: weekdays, from: "00:00", to: "24:00" }] };
    const triggerParams = { expression: "0 9 * * SAT" };
    const rule = await world.rule("core.crontimer", { activeHours, triggerParams });
    expect(await lint(rule)).toMatchObject([{ kind: "CONTRADICTION", path: "activeHours" }]);
    await commit(world.services, updateRule, world.session, {
      ref: rule,
      patch: { triggerParams: { expression: "0 9 * * *" } },
    });
    expect(await lint(rule)).toEqual([]);
    await commit(world.services, updateRule, world.session, { ref: rule, patch: { activeHours: { spans: always } } });
    expect(await lint(rule)).toMatchObject([{ kind: "UNREACHABLE", path: "activeHours" }]);
  });
});
