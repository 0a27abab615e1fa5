import { sql } from "drizzle-orm";
import { afterAll, beforeAll, expect, test } from "vitest";
import { write } from "../../src/db/tx.ts";
import { enforceSuspects } from "../../src/executor/suspects.ts";
import { globalId } from "../../src/lib/global-id.ts";
import type { Json, JsonObject } from "../../src/lib/json.ts";
import { enforceRule } from "../../src/rule/enforce.ts";
import { compileJudge } from "../../src/rule/judge.ts";
import { matchEvent, type PendingEvent, rulesFor } from "../../src/rule/match.ts";
import { createRuleIndex, type RuleIndex } from "../../src/rule/rule-index.ts";
import type { CompiledRule } from "../../src/rule/ruleset.ts";
import { type Api, createApi } from "../support/api.ts";
import { withoutFeed } from "../support/database.ts";
import { createEvaluator, type Evaluator, is } from "../support/evaluator.ts";
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

let added = 0;

/** Adds rules like this one, with conditions that contain the number of the rule as `$n`; what does not compile is stored all the same. */
async function addRules(like: string, count: number, conditions: Json): Promise<void> {
  added += 1;
  for (let from = 1; from <= count; from += 250) {
    await world.all(
      sql`insert into attune.rule (ref, pack, pack_ref, label, action, action_ref, trigger, trigger_ref, conditions, owner)
        select ref || '_' || n || '_' || ${added}::int, pack, pack_ref, label, action, action_ref, trigger, trigger_ref,
          replace(${JSON.stringify(conditions)}::text, '"$n"', n::text)::jsonb, owner
        from attune.rule, generate_series(${from}::int, ${Math.min(count, from + 249)}::int) n where ref = ${like}`,
    );
  }
}

/** Evaluates one event; returns what it left, its statements, and the processor time of its evaluation. */
async function evaluate(trigger: string, payload: JsonObject) {
  const event = await world.event(trigger, payload);
  const [before, cpu] = [world.services.statements.length, process.cpuUsage()];
  await evaluator.evaluate();
  const used = process.cpuUsage(cpu);
  const statements = withoutFeed(world.services.statements.slice(before)).sort();
  const [left] = await world.all<{ matches: number; misses: number; omitted: number }>(
    sql`select (select count(*)::int from attune.rule_evaluation where event = e.id and matched) as matches,
        (select count(*)::int from attune.rule_evaluation where event = e.id and not matched) as misses, evaluations_omitted as omitted
      from attune.event e where id = ${event}::bigint`,
  );
  return { event, left, statements, ms: (used.user + used.system) / 1000 };
}

test("of an event all matches are recorded, and a hundred misses: it says how many are left out", async () => {
  const trigger = await world.trigger();
  const rule = await world.rule(trigger, { conditions: [] });
  await addRules(rule, 250, [
    { field: "a", operator: "exists" },
    { field: "b", operator: "gte", value: "$n" },
  ]);
  expect((await evaluate(trigger, {})).left).toEqual({ matches: 0, misses: 0, omitted: 0 });
  expect((await evaluate(trigger, { a: 1, b: 150 })).left).toEqual({ matches: 150, misses: 100, omitted: 0 });
  const { event, left } = await evaluate(trigger, { a: 1, b: 120 });
  expect(left).toEqual({ matches: 120, misses: 100, omitted: 30 });
  const { data, errors } = await api.ask(
    world.session,
    "query ($event: ID!) { event(id: $event) { evaluationsOmitted evaluations(first: 1) { totalCount { count } } } }",
    { event: globalId("Event", event) },
  );
  expect(errors).toBeUndefined();
  expect(data.event).toEqual({ evaluationsOmitted: 30, evaluations: { totalCount: { count: 220 } } });
});

test("an event of a trigger with a thousand rules that do not concern it runs the same statements, and leaves the same", async () => {
  const [few, many] = [await world.trigger(), await world.trigger()];
  const kind = { field: "kind", operator: "equals", value: "push" };
  for (const [trigger, count] of [
    [few, 10],
    [many, 1000],
  ] as const) {
    const rule = await world.rule(trigger, { conditions: is("n", 0) });
    await addRules(rule, count, [kind, { field: "n", operator: "equals", value: "$n" }]);
    await evaluate(trigger, {}); // reads the rules
  }
  const [ofFew, ofMany] = [await evaluate(few, { kind: "push", n: 7 }), await evaluate(many, { kind: "push", n: 7 })];
  // The grants of the rules' owners are read once a second, by whichever evaluation comes then.
  const timely = (statements: readonly string[]) => statements.filter((text) => !text.includes("not i.frozen"));
  expect(timely(ofMany.statements)).toEqual(timely(ofFew.statements));
  expect(ofFew.left).toEqual({ matches: 1, misses: 9, omitted: 0 }); // near misses of the few
  expect(ofMany.left).toMatchObject({ matches: 1, omitted: 0 });
  expect(ofMany.left?.misses).toBeLessThan(5);
});

const median = (values: number[]) => values.sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;

test("a thousand broken rules do not delay a good one", async () => {
  const [alone, among] = [await world.trigger(), await world.trigger()];
  const rules = [];
  for (const trigger of [alone, among]) rules.push(await world.rule(trigger, { conditions: is("good", true) }));
  const like = rules[1] ?? "";
  await addRules(like, 400, [{ field: "a", operator: "nosuch", value: "$n" }]);
  await addRules(like, 300, [{ expression: "event.payload.missing > 1" }]);
  await addRules(like, 300, [{ field: "good", operator: "gte", value: "$n" }]);
  const times = { alone: [] as number[], among: [] as number[] };
  for (let round = -3; round < 15; round += 1) {
    const [ofAlone, ofAmong] = [await evaluate(alone, { good: true }), await evaluate(among, { good: true })];
    expect(ofAlone.left).toEqual({ matches: 1, misses: 0, omitted: 0 });
    expect(ofAmong.left).toEqual({ matches: 1, misses: 100, omitted: 900 });
    if (round < 0) continue;
    times.alone.push(ofAlone.ms);
    times.among.push(ofAmong.ms);
  }
  const ratio = median(times.among) / median(times.alone);
  expect(ratio).toBeLessThan(20); // it is about 3
  expect(await world.all(sql`select from attune.enforcement where rule_ref like ${`${like}\\_%`}`)).toEqual([]);
});

/** Returns so many rules of which an event meets at most one, compiled, as the executor keeps them. */
function createMany(count: number): RuleIndex<CompiledRule> {
  const index = createRuleIndex<CompiledRule>();
  for (const n of Array(count).keys()) {
    const conditions = [
      ...is("kind", "push"),
      ...is("repo", `repo-${n}`),
      { field: "size", operator: "gte", value: 1 },
    ];
    const criteria = { condition: "all", conditions, activeHours: null } as const;
    const rule = {
      ...{ id: String(n), ref: `default.rule_${n}`, revision: 1, recordEvaluations: "near", backstop: false },
      ...{ ...criteria, ...compileJudge({ ...criteria, key: undefined, isHeld: false }) },
    };
    index.set(rule as unknown as CompiledRule); // all that matching reads
  }
  return index;
}

test("matching an event takes with ten thousand rules no more than half as long again as with ten", async () => {
  const [few, many] = [createMany(10), createMany(10_000)];
  const event = (n: number) =>
    ({
      ...{ id: String(n), rule: null, created: "2026-01-01T00:00:00Z" },
      payload: { kind: "push", repo: `repo-${n % 10}`, size: 3 },
    }) as unknown as PendingEvent;
  for (const index of [few, many]) expect(rulesFor(event(3), index, null).length).toBeLessThanOrEqual(10);
  const cost = async (index: RuleIndex<CompiledRule>) => {
    const from = performance.now();
    for (const n of Array(200).keys()) {
      const { matches } = await matchEvent(event(n), rulesFor(event(n), index, null));
      expect(matches.map(({ rule }) => rule.id)).toEqual([String(n % 10)]);
    }
    return performance.now() - from;
  };
  // By turns, and the least of each: what else the machine does falls on both, and on neither in some round.
  const [ofFew, ofMany]: [number[], number[]] = [[], []];
  for (let round = 0; round < 12; round++) {
    ofFew.push(await cost(few));
    ofMany.push(await cost(many));
  }
  expect(Math.min(...ofMany)).toBeLessThan(1.5 * Math.min(...ofFew));
});

test("a thousand slow rules, in conditions and in parameters, delay a good one by a bounded time", async () => {
  const trigger = await world.trigger();
  // Each needs more than the budget of a rule, which is a tenth of a second.
  const slow = "event.payload.list.filter(a, a in event.payload.other).size()";
  const numbers = (from: number) => Array.from({ length: 4000 }, (_, n) => from + n);
  const good = await world.rule(trigger, { conditions: is("good", true) });
  await addRules(good, 1000, [{ expression: `${slow} > 0` }]);
  const rendering = await world.rule(trigger, {
    conditions: is("good", true),
    action: "core.echo",
    actionParams: { message: `{{ ${slow} }}` },
  });
  await world.all(
    sql`insert into attune.rule (ref, pack, pack_ref, label, action, action_ref, trigger, trigger_ref, conditions, action_params, owner)
      select ref || '_' || n, pack, pack_ref, label, action, action_ref, trigger, trigger_ref, conditions, action_params, owner
      from attune.rule, generate_series(1, 30) n where ref = ${rendering}`,
  );
  await evaluate(trigger, {}); // reads the rules
  const { event, left, ms } = await evaluate(trigger, {
    ...{ good: true, list: numbers(0), other: numbers(4000) },
  });
  // One by one they would take two minutes. Ten budgets of conditions, and twice ten of parameters, are three seconds.
  expect(ms).toBeLessThan(20_000);
  const found = await evaluator.enforced(event);
  expect(found.filter(({ execution }) => execution !== null).map(({ rule }) => rule)).toEqual([good]);
  expect(found.filter(({ error }) => error?.message.includes("many rules take long"))).toHaveLength(31);
  expect(left).toEqual({ matches: 32, misses: 100, omitted: 900 });
}, 60_000);

test("an event that is evaluated rule by rule leaves as many misses, also when it begins anew", async () => {
  const trigger = await world.trigger();
  const rule = await world.rule(trigger, { conditions: [{ field: "a", operator: "exists" }, ...is("b", 0)] });
  await addRules(rule, 129, [
    { field: "a", operator: "exists" },
    { field: "b", operator: "equals", value: "$n" },
  ]);
  const event = await world.event(trigger, { a: 1, b: 1000 });
  // A process that has ended had evaluated the first of the rules before.
  const { id } = await world.one<{ id: string }>(sql`select id::text from attune.rule where ref = ${rule}`);
  await write(world.services, (tx) => enforceRule(tx, evaluator.ruleSets, event, id));
  await world.all(sql`update attune.event set tries = 5 where id = ${event}::bigint`);
  await enforceSuspects(world.services, evaluator.ruleSets, 10);
  const left = await world.one(
    sql`select count(*)::int as rows, count(distinct v.rule)::int as rules, min(e.evaluations_omitted) as omitted, bool_and(e.evaluated_at is not null) as done
      from attune.event e join attune.rule_evaluation v on v.event = e.id where e.id = ${event}::bigint`,
  );
  expect(left).toEqual({ rows: 100, rules: 100, omitted: 30, done: true });
});
