import { sql } from "drizzle-orm";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import type { JsonObject } from "../../src/lib/json.ts";
import { createRule, setRuleEnabled, updateRule } from "../../src/rule/rule.ts";
import { commit } from "../support/commit.ts";
import { until } from "../support/until.ts";
import { createWorld, type World } from "../support/world.ts";

const intervalTimer = "core.intervaltimer";

let world: World;
beforeAll(async () => {
  world = await createWorld();
});
afterAll(() => world[Symbol.asyncDispose]());
afterEach(() => world.all(sql`delete from attune.rule`));

const every = (interval: number, unit = "seconds") => world.rule(intervalTimer, { triggerParams: { unit, interval } });

interface Timer {
  kind: string;
  nextFireAt: string | null;
  fireCount: number;
}

const timer = (rule: string) =>
  world.one<Timer>(
    sql`select t.kind as "kind", to_jsonb(t.next_fire_at) #>> '{}' as "nextFireAt", t.fire_count::int as "fireCount"
      from attune.timer t join attune.rule r on r.id = t.rule where r.ref = ${rule}`,
  );

interface Tick {
  scheduled_at: string;
  fired_at: string;
  fire_count: number;
}

/** Returns the events of the rule's timer, in order. */
const ticks = async (rule: string) =>
  (
    await world.all<{ payload: Tick }>(
      sql`select e.payload from attune.event e join attune.rule r on r.id = e.rule where r.ref = ${rule} order by e.id`,
    )
  ).map(({ payload }) => payload);

async function ticked(rule: string, count: number): Promise<Tick[]> {
  await until(async () => (await ticks(rule)).length >= count, `${count} ticks of ${rule}`);
  return await ticks(rule);
}

/** Makes the timer due that long ago and wakes the loops. */
async function overdue(rule: string, ago: string): Promise<void> {
  await world.all(
    sql`update attune.timer set next_fire_at = now() - ${ago}::interval where rule = (select id from attune.rule where ref = ${rule})`,
  );
  world.services.wake.announce(["timer"]);
}

describe("an interval timer", () => {
  test("ticks once per interval, anchored to the previous tick; each tick runs the rule's action", async () => {
    const parts = [world.startExecutor(), world.startTimers(), await world.startWorker()];
    const rule = await every(1);
    const [first, second, third] = await ticked(rule, 3);
    expect([first, second, third].map((tick) => tick?.fire_count)).toEqual([1, 2, 3]);
    const at = (tick: Tick | undefined) => Date.parse(tick?.scheduled_at ?? "");
    expect([at(second) - at(first), at(third) - at(second)]).toEqual([1000, 1000]);
    const done = sql`select count(*)::int as count from attune.execution where rule_ref = ${rule} and status = 'completed'`;
    await until(async () => (await world.one<{ count: number }>(done)).count >= 3, "their executions");
    for (const part of parts) await part.stop();
  });

  test("ticks of one rule concern no other rule", async () => {
    const [mine, other] = [await every(1), await every(1, "hours")];
    const parts = [world.startExecutor(), world.startTimers()];
    await ticked(mine, 1);
    const enforced = () =>
      world.all<{ rule_ref: string }>(
        sql`select distinct rule_ref from attune.enforcement where trigger_ref = ${intervalTimer} and rule is not null`,
      );
    await until(async () => (await enforced()).length > 0, "its enforcement");
    expect((await enforced()).map(({ rule_ref }) => rule_ref)).toEqual([mine]);
    expect(await timer(other)).toMatchObject({ kind: "interval:3600", fireCount: 0 });
    for (const part of parts) await part.stop();
  });

  test("ticks each tick once with two concurrent loops", async () => {
    const rules = await Promise.all(Array.from({ length: 5 }, () => every(1, "hours")));
    const loops = [world.startTimers(), world.startTimers()];
    for (let round = 1; round <= 20; round += 1) {
      for (const rule of rules) await overdue(rule, "1 second");
      for (const rule of rules) await ticked(rule, round);
    }
    for (const loop of loops) await loop.stop();
    for (const rule of rules) {
      expect((await ticks(rule)).map(({ fire_count }) => fire_count)).toEqual(
        Array.from({ length: 20 }, (_, n) => n + 1),
      );
      expect((await timer(rule)).fireCount).toBe(20);
    }
  });

  test("skips missed ticks and keeps its rhythm", async () => {
    const rule = await every(60);
    await overdue(rule, "10 minutes 30 seconds");
    const { nextFireAt: due } = await timer(rule);
    const loop = world.startTimers();
    const [tick] = await ticked(rule, 1);
    await loop.stop();
    expect(Date.parse(tick?.scheduled_at ?? "")).toBe(Date.parse(due ?? ""));
    const next = await timer(rule);
    expect(next.fireCount).toBe(1);
    expect(Date.parse(next.nextFireAt ?? "") - Date.parse(due ?? "")).toBe(11 * 60_000);
  });

  test("does not tick while its rule is disabled, and starts anew when it is enabled", async () => {
    const { services, session } = world;
    const [rule, clock] = [await every(1), await every(1)];
    const loop = world.startTimers();
    await ticked(rule, 1);
    await commit(services, setRuleEnabled, session, { ref: rule, enabled: false });
    expect((await timer(rule)).nextFireAt).toBeNull();
    const before = (await ticks(rule)).length;
    await ticked(clock, (await ticks(clock)).length + 2);
    expect(await ticks(rule)).toHaveLength(before);
    await commit(services, setRuleEnabled, session, { ref: rule, enabled: true });
    await ticked(rule, before + 1);
    await loop.stop();
  });

  test("does not tick while its trigger is disabled, and fires nothing stale when that is enabled again", async () => {
    const rule = await every(1, "hours");
    await world.all(sql`update attune.trigger set enabled = false where ref = ${intervalTimer}`);
    const loop = world.startTimers();
    await overdue(rule, "10 minutes");
    await until(async () => Date.parse((await timer(rule)).nextFireAt ?? "") > Date.now(), "its next tick");
    await world.all(sql`update attune.trigger set enabled = true where ref = ${intervalTimer}`);
    const clock = await every(1);
    await ticked(clock, 2);
    await loop.stop();
    expect(await ticks(rule)).toEqual([]);
    expect((await timer(rule)).fireCount).toBe(0);
  });

  test("does not tick for what was due while its trigger was disabled and nothing ran the timers", async () => {
    const due = async () => {
      const refs = [];
      for (const missed_ticks of ["skip", "once", "all"]) {
        const ref = await world.rule(intervalTimer, { triggerParams: { unit: "hours", interval: 1, missed_ticks } });
        await overdue(ref, "30 seconds");
        refs.push(ref);
      }
      return refs;
    };
    const rules = await due();
    const before = await timer(rules[0] ?? "");
    for (const enabled of [false, true, false, true]) {
      await world.all(sql`update attune.trigger set enabled = ${enabled}::boolean where ref = ${intervalTimer}`);
    }
    const fresh = await due(); // due since the trigger is enabled
    const loop = world.startTimers();
    for (const ref of fresh) await ticked(ref, 1);
    await until(
      async () => (await world.all(sql`select from attune.timer where next_fire_at <= now()`)).length === 0,
      "all",
    );
    await loop.stop();
    for (const ref of rules) expect(await ticks(ref)).toEqual([]);
    const after = await timer(rules[0] ?? "");
    expect(after).toMatchObject({ kind: "interval:3600", fireCount: 0 });
    expect(Date.parse(after.nextFireAt ?? "") - Date.parse(before.nextFireAt ?? "")).toBe(3_600_000);
  });

  test("whose schedule cannot be read stops and holds up no other", async () => {
    const [broken, sound] = [await every(1), await every(1)];
    await world.all(sql`update attune.rule set trigger_params = '{"unit": "fortnights"}' where ref = ${broken}`);
    await overdue(broken, "1 second");
    const loop = world.startTimers();
    await ticked(sound, 2);
    await loop.stop();
    expect(await ticks(broken)).toEqual([]);
    expect(await timer(broken)).toMatchObject({ nextFireAt: null, fireCount: 0 });
  });

  test("keeps its next tick when the rule is saved without a change of the interval, and only then", async () => {
    const { services, session } = world;
    const ref = await every(2, "minutes");
    const { nextFireAt, kind } = await timer(ref);
    expect(kind).toBe("interval:120");
    const save = (patch: JsonObject) => commit(services, updateRule, session, { ref, expectedUpdated: null, patch });
    await save({ label: "Another label" });
    await save({ triggerParams: { unit: "seconds", interval: 120 } });
    expect((await timer(ref)).nextFireAt).toBe(nextFireAt);
    await save({ triggerParams: { unit: "minutes", interval: 3 } });
    const changed = await timer(ref);
    expect(changed.kind).toBe("interval:180");
    expect(changed.nextFireAt).not.toBe(nextFireAt);
    await save({ trigger: "core.webhook", triggerParams: {} });
    expect(await world.all(sql`select from attune.timer`)).toEqual([]);
  });

  test("is deleted with its rule", async () => {
    await every(1);
    await world.all(sql`delete from attune.rule`);
    expect(await world.all(sql`select from attune.timer`)).toEqual([]);
  });

  test.each<[string, JsonObject, string]>([
    ["of zero", { unit: "seconds", interval: 0 }, "triggerParams.interval"],
    ["that is not an integer", { unit: "seconds", interval: 1.5 }, "triggerParams.interval"],
    ["in an unknown unit", { unit: "fortnights", interval: 1 }, "triggerParams.unit"],
    ["that is missing", {}, "triggerParams.unit"],
    ["of more than ten years", { unit: "days", interval: 4000 }, "triggerParams.interval"],
  ])("with an interval %s is refused, naming the path", async (_name, triggerParams, path) => {
    const { services, session } = world;
    const input = { ref: "default.wrong", action: "core.noop", trigger: intervalTimer, triggerParams };
    const refusal = await commit(services, createRule, session, input).catch((error: unknown) => error);
    expect(refusal).toMatchObject({ code: "BAD_USER_INPUT" });
    expect((refusal as { issues: { path: string }[] }).issues.map((issue) => issue.path)).toContain(path);
    expect(await world.all(sql`select from attune.rule`)).toEqual([]);
  });
});

describe("a cron timer", () => {
  const cron = (params: JsonObject) => world.rule("core.crontimer", { triggerParams: params });

  test("ticks at its times, once with two concurrent loops", async () => {
    const rule = await cron({ expression: "* * * * * *", timezone: "Europe/Berlin" });
    const parts = [world.startTimers(), world.startTimers(), world.startExecutor()];
    const found = await ticked(rule, 3);
    for (const part of parts) await part.stop();
    const times = found.map(({ scheduled_at: at }) => Date.parse(at));
    expect(times.every((time) => time % 1000 === 0)).toBe(true);
    expect(new Set(times).size).toBe(times.length);
    expect(found.map(({ fire_count }) => fire_count)).toEqual(times.map((_, index) => index + 1));
  });

  test("keeps its next tick unless its expression or zone changes", async () => {
    const ref = await cron({ expression: "0 6 * * *", timezone: "Europe/Berlin" });
    const { kind, nextFireAt } = await timer(ref);
    expect(kind).toBe("cron:Europe/Berlin:0 6 * * *");
    const save = (patch: JsonObject) =>
      commit(world.services, updateRule, world.session, { ref, expectedUpdated: null, patch });
    await save({ label: "Early" });
    expect((await timer(ref)).nextFireAt).toBe(nextFireAt);
    await save({ triggerParams: { expression: "0 6 * * *", timezone: "Asia/Tokyo" } });
    expect((await timer(ref)).nextFireAt).not.toBe(nextFireAt);
  });

  test("makes up for what it missed as its rule wants it", async () => {
    const rules = await Promise.all(
      ["skip", "once", "all"].map((missed) => cron({ expression: "0 * * * *", missed_ticks: missed })),
    );
    for (const ref of rules) {
      await world.all(
        sql`update attune.timer set next_fire_at = date_trunc('hour', now()) - interval '3 hours' where rule = (select id from attune.rule where ref = ${ref})`,
      );
    }
    const loop = world.startTimers();
    const [skip = "", once = "", all = ""] = rules;
    await ticked(all, 4);
    await ticked(once, 1);
    await until(async () => Date.parse((await timer(skip)).nextFireAt ?? "") > Date.now(), "its next tick");
    await loop.stop();
    expect([await ticks(skip), await ticks(once)].map(({ length }) => length)).toEqual([0, 1]);
    expect(await ticks(all)).toHaveLength(4);
    for (const ref of rules) expect(Date.parse((await timer(ref)).nextFireAt ?? "")).toBeGreaterThan(Date.now());
    expect((await timer(skip)).fireCount).toBe(0);
  });
});

describe("a recurrence timer", () => {
  const start = "2026-01-05T09:00:00";
  const rrule = (params: JsonObject) => world.rule("core.rruletimer", { triggerParams: { start, ...params } });

  test("ticks at its times, once with two concurrent loops", async () => {
    const rule = await rrule({ rrule: "FREQ=SECONDLY", timezone: "Europe/Berlin" });
    const parts = [world.startTimers(), world.startTimers()];
    const found = await ticked(rule, 3);
    for (const part of parts) await part.stop();
    const times = found.map(({ scheduled_at: at }) => Date.parse(at));
    expect(times).toEqual(times.map((_, index) => (times[0] ?? 0) + index * 1000));
    expect(found.map(({ fire_count }) => fire_count)).toEqual(times.map((_, index) => index + 1));
  });

  test("stops after its last tick", async () => {
    const until = new Date(Date.now() + 3_600_000).toISOString().replace(/[-:]|\.\d+/g, "");
    const rule = await rrule({
      rrule: `FREQ=YEARLY;UNTIL=${until}`,
      start: new Date(Date.now() + 1500).toISOString().slice(0, 19),
    });
    const loop = world.startTimers();
    await ticked(rule, 1);
    await loop.stop();
    expect(await timer(rule)).toMatchObject({ nextFireAt: null, fireCount: 1 });
  });

  test("that has ended, or begins in a hundred years, is refused", async () => {
    const input = { ref: "default.ended", action: "core.noop", trigger: "core.rruletimer" };
    const save = (triggerParams: JsonObject) =>
      commit(world.services, createRule, world.session, { ...input, triggerParams });
    await expect(save({ rrule: "FREQ=DAILY;COUNT=3", start })).rejects.toThrow("triggerParams: has passed");
    await expect(save({ rrule: "FREQ=DAILY", start: "2126-01-05T09:00:00" })).rejects.toThrow(
      "triggerParams: ticks for the first time at 2126-01-05T09:00:00.000Z",
    );
    expect(await world.all(sql`select from attune.rule`)).toEqual([]);
  });
});

describe("a date timer", () => {
  test("ticks once, and fires nothing stale when its rule is enabled again", async () => {
    const date = new Date(Date.now() + 1500).toISOString();
    const ref = await world.rule("core.datetimetimer", { triggerParams: { date } });
    const loop = world.startTimers();
    const [tick] = await ticked(ref, 1);
    expect(tick?.scheduled_at).toBe(date);
    expect((await timer(ref)).nextFireAt).toBeNull();
    const { services, session } = world;
    for (const enabled of [false, true]) await commit(services, setRuleEnabled, session, { ref, enabled });
    expect((await timer(ref)).nextFireAt).toBeNull();
    const clock = await every(1);
    await ticked(clock, 2);
    await loop.stop();
    expect(await ticks(ref)).toHaveLength(1);
  });

  test("in the past is refused", async () => {
    const input = { ref: "default.past", action: "core.noop", trigger: "core.datetimetimer" };
    const past = commit(world.services, createRule, world.session, {
      ...input,
      triggerParams: { date: "2020-01-01T00:00:00Z" },
    });
    await expect(past).rejects.toThrow("triggerParams: has passed: expected a schedule that ticks in the future");
  });
});
