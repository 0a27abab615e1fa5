import { randomBytes } from "node:crypto";
import { sql } from "drizzle-orm";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { write } from "../../src/db/tx.ts";
import { emitEvents, findTrigger } from "../../src/event/record.ts";
import type { JsonObject } from "../../src/lib/json.ts";
import { enforceBatch, enforceOne } from "../../src/rule/enforce.ts";
import { deleteRule, setRuleEnabled, updateRule } from "../../src/rule/rule.ts";
import { createRuleSets } from "../../src/rule/ruleset.ts";
import { commit } from "../support/commit.ts";
import { createEvaluator, type Evaluator, is } from "../support/evaluator.ts";
import { createWorld, type World } from "../support/world.ts";

let world: World;
let evaluator: Evaluator;
beforeAll(async () => {
  world = await createWorld();
  evaluator = createEvaluator(world);
  await world.action({
    ref: "default.typed",
    param_schema: {
      count: { type: "integer", minimum: 0 },
      ratio: { type: "number" },
      tags: { type: "array" },
      whole: { type: "object" },
      flag: { type: "boolean" },
      text: { type: "string", default: "as ever" },
      nothing: { type: "any" },
    },
  });
});
afterAll(() => world[Symbol.asyncDispose]());
beforeEach(() => evaluator.evaluate());

describe("an event", () => {
  test("creates one enforcement and one scheduled execution with its job for each matching rule", async () => {
    const trigger = await world.trigger();
    const rules = [
      await world.rule(trigger),
      await world.rule(trigger, { conditions: is("a", 1) }),
      await world.rule(trigger, { action: "core.echo", actionParams: { message: "{{ event.payload.a }}!" } }),
    ];
    await world.rule(trigger, { conditions: is("a", 2) });
    await world.rule(await world.trigger());
    const event = await world.event(trigger, { a: 1 });
    expect(await evaluator.pending()).toEqual([event]);
    await evaluator.evaluate();
    const found = await evaluator.enforced(event);
    expect(found.map(({ rule }) => rule)).toEqual(rules.sort());
    expect(
      found.every(
        ({ status, error, executionStatus }) => [status, error, executionStatus].join() === "processed,,scheduled",
      ),
    ).toBe(true);
    expect(found.find(({ executionConfig }) => executionConfig?.["message"])?.executionConfig).toEqual({
      message: "1!",
    });
    const queued = [
      ...(await evaluator.jobs("execution/core.action.builtin")),
      ...(await evaluator.jobs("execution/core.action.shell")),
    ];
    for (const { execution } of found) expect(queued.filter(({ entity }) => entity === execution)).toHaveLength(1);
    expect(await world.timeline(found[0]?.execution ?? "")).toEqual([
      "->requested",
      "requested>scheduling",
      "scheduling>scheduled",
    ]);
    expect(await evaluator.event(event)).toMatchObject({ evaluated: true, skipped: null, tries: 0 });
    expect(await evaluator.pending()).toEqual([]);
    expect(
      await world.all(
        sql`select resolved_at <= updated as "isInOrder" from attune.enforcement where event = ${event}::bigint`,
      ),
    ).toEqual(rules.map(() => ({ isInOrder: true })));
  });

  test("carries its trace tag and its rule's and trigger's refs into the execution", async () => {
    const trigger = await world.trigger();
    const rule = await world.rule(trigger);
    const event = await world.event(trigger);
    await evaluator.evaluate();
    const row = await world.one(
      sql`select x.trace_tag, x.rule_ref, x.trigger_ref, x.generation, x.executor from attune.execution x
        join attune.enforcement f on f.id = x.enforcement where f.event = ${event}::bigint`,
    );
    expect(row).toEqual({
      trace_tag: `${trigger}.${event}`,
      rule_ref: rule,
      trigger_ref: trigger,
      generation: 0,
      executor: null,
    });
  });

  test("that matches no rule creates nothing", async () => {
    const trigger = await world.trigger();
    await world.rule(trigger, { conditions: is("a", 1) });
    const event = await world.event(trigger, { a: 2 });
    await evaluator.evaluate();
    expect(await evaluator.enforced(event)).toEqual([]);
    expect(await evaluator.event(event)).toMatchObject({ evaluated: true, skipped: null });
  });

  test("is not evaluated again by an executor that comes later", async () => {
    const trigger = await world.trigger();
    await world.rule(trigger, { conditions: is("a", 1) });
    const event = await world.event(trigger, { a: 1 });
    await evaluator.evaluate();
    const recorded = sql`select id from attune.rule_evaluation where event = ${event}::bigint`;
    const before = [await evaluator.enforced(event), await world.all(recorded)];
    expect(before.map(({ length }) => length)).toEqual([1, 1]);
    // As after a restart, when the event was among those that waited.
    await write(world.services, (tx) => enforceOne(tx, evaluator.ruleSets, event));
    expect([await evaluator.enforced(event), await world.all(recorded)]).toEqual(before);
    expect(await evaluator.event(event)).toMatchObject({ evaluated: true, tries: 0 });
  });

  test("bound to one rule (as a timer's) concerns only that rule", async () => {
    const ref = await world.trigger();
    const mine = await world.rule(ref);
    await world.rule(ref);
    const { id } = await world.one<{ id: string }>(sql`select id::text from attune.rule where ref = ${mine}`);
    const [event = ""] = await emit(ref, { rule: id });
    await evaluator.evaluate();
    expect((await evaluator.enforced(event)).map(({ rule }) => rule)).toEqual([mine]);
  });

  test("of generation 32 is evaluated; of generation 33 it is only stored, with the reason", async () => {
    const ref = await world.trigger();
    await world.rule(ref);
    const [last = ""] = await emit(ref, { generation: 32 });
    const [beyond = ""] = await emit(ref, { generation: 33 });
    expect(await evaluator.pending()).toEqual([last]);
    await evaluator.evaluate();
    expect(await evaluator.enforced(last)).toHaveLength(1);
    expect(await evaluator.enforced(beyond)).toEqual([]);
    expect(await evaluator.event(beyond)).toMatchObject({
      evaluated: true,
      skipped: "stopped loop: generation 33 is above 32",
    });
  });

  test("takes a place in a batch by its bytes too: the batch ends after 1 MiB, and the next goes on", async () => {
    const trigger = await world.trigger();
    await world.rule(trigger);
    for (let index = 0; index < 12; index++) {
      await world.event(trigger, { noise: randomBytes(750_000).toString("base64"), index });
    }
    const state = async () =>
      await world.one<{ evaluated: number; enforced: number }>(sql`
        select count(*) filter (where e.evaluated_at is not null)::int as evaluated, count(f.id)::int as enforced
        from attune.event e left join attune.enforcement f on f.event = e.id where e.trigger_ref = ${trigger}`);
    const ruleSets = createRuleSets();
    const next = () => write(world.services, (tx) => enforceBatch(tx, ruleSets, 100));
    expect(await next()).toBe(100); // there is more
    const { evaluated, enforced } = await state();
    expect(evaluated).toBeGreaterThan(0);
    expect(evaluated).toBeLessThan(4);
    expect(enforced).toBe(evaluated);
    while ((await next()) > 0);
    expect(await state()).toEqual({ evaluated: 12, enforced: 12 });
  });

  test("whose trigger is deleted before its evaluation records that", async () => {
    const ref = await world.trigger();
    const event = await world.event(ref);
    await world.all(sql`delete from attune.trigger where ref = ${ref}`);
    await evaluator.evaluate();
    expect(await evaluator.event(event)).toMatchObject({ evaluated: true, skipped: "its trigger no longer exists" });
  });
});

async function emit(ref: string, fields: { rule?: string; generation?: number }): Promise<string[]> {
  return await write(world.services, async (tx) => {
    const trigger = await findTrigger(tx.db, ref);
    if (!trigger) throw new Error(`no trigger ${ref}`);
    const event = {
      trigger,
      payload: {},
      config: null,
      source: null,
      rule: fields.rule ?? null,
      traceTag: null,
      cause: null,
    };
    return await emitEvents(tx, [{ ...event, generation: fields.generation ?? 0 }]);
  });
}

describe("records of evaluations", () => {
  const criteria = [...is("a", 1), ...is("b", 1)];
  test.each<["none" | "near" | "all", boolean[]]>([
    ["none", [false, false, false]],
    ["near", [true, true, false]],
    ["all", [true, true, true]],
  ])("%s", async (recordEvaluations, expected) => {
    const trigger = await world.trigger();
    await world.rule(trigger, { conditions: criteria, recordEvaluations });
    const events: string[] = [];
    const payloads: JsonObject[] = [{ a: 1, b: 1 }, { a: 1 }, { c: 1 }];
    for (const payload of payloads) events.push(await world.event(trigger, payload));
    await evaluator.evaluate();
    const recorded = await world.all<{ event: string; matched: boolean; revision: number; detail: JsonObject[] }>(
      sql`select v.event::text, v.matched, v.rule_revision as revision, v.detail from attune.rule_evaluation v
        join attune.event e on e.id = v.event where e.trigger_ref = ${trigger} order by v.event`,
    );
    expect(events.map((event) => recorded.some((each) => each.event === event))).toEqual(expected);
    for (const { event, matched, revision, detail } of recorded) {
      expect({ matched, revision, criteria: detail.length }).toEqual({
        matched: event === events[0],
        revision: 1,
        criteria: 2,
      });
    }
  });

  test("a criterion that cannot be evaluated is recorded with the reason, also for a mismatch", async () => {
    const trigger = await world.trigger();
    await world.rule(trigger, { conditions: [{ field: "a", operator: "gt", value: 5 }] });
    const event = await world.event(trigger, { a: "text" });
    await evaluator.evaluate();
    const { detail } = await world.one<{ detail: { error: string | null }[] }>(
      sql`select detail from attune.rule_evaluation where event = ${event}::bigint and not matched`,
    );
    expect(detail[0]?.error).toEqual(expect.any(String));
  });
});

describe("parameters", () => {
  const payload = { n: 3, half: 0.5, list: [1, "two", null], map: { deep: { yes: true } }, none: null, word: "w" };

  test("take the types that the action wants: text of a number or a boolean, and nothing for null where it may be missing", async () => {
    const trigger = await world.trigger();
    const action_params = {
      message: "{{ event.payload.n }}",
      list: ["{{ event.payload.n }}", "{{ event.payload.word }}"],
      fields: {
        text: "{{ event.payload.n > 2 }}",
        absent: "{{ event.payload.none }}",
        free: "{{ event.payload.none }}",
      },
      absent: "{{ event.payload.none }}",
      defaulted: "{{ event.payload.none }}",
      whole: "{{ event.payload.list }}",
    };
    await world.action({
      ref: "default.fitting",
      param_schema: {
        message: { type: "string" },
        list: { type: "array", items: { type: "string" } },
        absent: { type: "integer" },
        fields: {
          type: "object",
          properties: { text: { type: "string" }, absent: { type: "string" }, free: { type: "any" } },
        },
        defaulted: { type: "string", default: "as ever" },
        whole: { type: "array" },
        needed: { type: "string", required: true },
      },
    });
    const rule = await world.rule(trigger, {
      action: "default.fitting",
      actionParams: { ...action_params, needed: "{{ event.payload.word }}" },
    });
    const event = await world.event(trigger, payload);
    await evaluator.evaluate();
    expect((await evaluator.enforced(event))[0]?.config).toEqual({
      message: "3",
      list: ["3", "w"],
      fields: { text: "true", free: null },
      defaulted: "as ever",
      whole: [1, "two", null],
      needed: "w",
    });
    const update = (patch: JsonObject) =>
      commit(world.services, updateRule, world.session, {
        ref: rule,
        patch: { actionParams: { ...action_params, ...patch } },
      });
    await update({ needed: "{{ event.payload.none }}" });
    const second = await world.event(trigger, payload);
    await evaluator.evaluate();
    expect((await evaluator.enforced(second))[0]?.error).toMatchObject({ code: "PARAMETERS_INVALID" });
    // What is literal is checked when the rule is saved, also beside templates.
    await expect(update({ needed: 7 })).rejects.toThrow(/actionParams\.needed: .*string/);
    await expect(update({ needed: "x", constructor: 7 })).rejects.toThrow(
      /actionParams\.constructor: .*no such parameter/,
    );
  });

  test("keep their JSON types if the value is one template, become text if it is mixed, and get defaults", async () => {
    const trigger = await world.trigger();
    await world.rule(trigger, {
      action: "default.typed",
      actionParams: {
        count: "{{ event.payload.n }}",
        ratio: "{{ event.payload.half }}",
        tags: "{{ event.payload.list }}",
        whole: { literal: 1, inner: "{{ event.payload.map }}", mixed: "<{{ event.payload.n }}>" },
        flag: "{{ event.payload.n > 2 }}",
        nothing: "{{ event.payload.none }}",
      },
    });
    const event = await world.event(trigger, payload);
    await evaluator.evaluate();
    const [found] = await evaluator.enforced(event);
    const config = {
      count: 3,
      ratio: 0.5,
      tags: [1, "two", null],
      whole: { literal: 1, inner: { deep: { yes: true } }, mixed: "<3>" },
      flag: true,
      nothing: null,
      text: "as ever",
    };
    expect(found).toMatchObject({ status: "processed", error: null, config, executionConfig: config });
  });

  test.each<[string, JsonObject, string]>([
    ["whose template fails", { count: "{{ event.payload.absent }}" }, "absent"],
    ["that do not fit the action's schema", { count: "{{ event.payload.word }}" }, "action_params.count"],
    ["below the schema's minimum", { count: "{{ 0 - 1 }}" }, "action_params.count"],
  ])("%s end the enforcement with the error and without an execution", async (_name, actionParams, says) => {
    const trigger = await world.trigger();
    const broken = await world.rule(trigger, { action: "default.typed", actionParams });
    const sound = await world.rule(trigger);
    const event = await world.event(trigger, payload);
    await evaluator.evaluate();
    const found = await evaluator.enforced(event);
    expect(found.find(({ rule }) => rule === broken)).toMatchObject({
      status: "processed",
      execution: null,
      config: null,
      error: { code: "PARAMETERS_INVALID", message: expect.stringContaining(says) },
    });
    expect(found.find(({ rule }) => rule === sound)?.executionStatus).toBe("scheduled");
  });
});

describe("disabled and deleted objects", () => {
  test("a disabled action leads to an enforcement with the reason; enabled again it runs", async () => {
    const trigger = await world.trigger();
    await world.rule(trigger, { action: "default.typed" });
    const enable = (on: boolean) =>
      world.all(sql`update attune.action set enabled = ${on} where ref = 'default.typed'`);
    await enable(false);
    const first = await world.event(trigger);
    await evaluator.evaluate();
    expect(await evaluator.enforced(first)).toMatchObject([
      {
        status: "disabled",
        execution: null,
        error: { code: "ACTION_UNAVAILABLE", message: 'The action "default.typed" is disabled.' },
      },
    ]);
    await enable(true);
    const second = await world.event(trigger);
    await evaluator.evaluate();
    expect(await evaluator.enforced(second)).toMatchObject([{ status: "processed", executionStatus: "scheduled" }]);
  });

  test("a deleted action leads to an enforcement with the reason", async () => {
    await world.action({ ref: "default.brief" });
    const trigger = await world.trigger();
    await world.rule(trigger, { action: "default.brief" });
    const first = await world.event(trigger);
    await evaluator.evaluate();
    await world.all(sql`delete from attune.action where ref = 'default.brief'`);
    const second = await world.event(trigger);
    await evaluator.evaluate();
    expect(await evaluator.enforced(first)).toMatchObject([{ status: "processed", executionStatus: "scheduled" }]);
    expect(await evaluator.enforced(second)).toMatchObject([
      {
        status: "disabled",
        execution: null,
        error: { code: "ACTION_UNAVAILABLE", message: 'The action "default.brief" no longer exists.' },
      },
    ]);
  });

  test("a rule is evaluated in its current state: disabled, enabled, changed, deleted", async () => {
    const trigger = await world.trigger();
    const ref = await world.rule(trigger, { action: "core.echo", actionParams: { message: "one" } });
    const { services, session } = world;
    const messages = async () => {
      const event = await world.event(trigger);
      await evaluator.evaluate();
      return (await evaluator.enforced(event)).map(({ config }) => config?.["message"]);
    };
    expect(await messages()).toEqual(["one"]);
    await commit(services, setRuleEnabled, session, { ref, enabled: false });
    expect(await messages()).toEqual([]);
    await commit(services, setRuleEnabled, session, { ref, enabled: true });
    await commit(services, updateRule, session, {
      ref,
      expectedUpdated: null,
      patch: { actionParams: { message: "two" } },
    });
    expect(await messages()).toEqual(["two"]);
    await commit(services, deleteRule, session, { ref });
    expect(await messages()).toEqual([]);
  });
});
