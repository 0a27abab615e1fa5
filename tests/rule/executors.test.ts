import { sql } from "drizzle-orm";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { deleteEvent } from "../../src/event/change.ts";
import { enforceEvents } from "../../src/executor/events.ts";
import { createRuleSets } from "../../src/rule/ruleset.ts";
import { commit } from "../support/commit.ts";
import { createEvaluator, type Evaluator, is } from "../support/evaluator.ts";
import { until } from "../support/until.ts";
import { createWorld, type World } from "../support/world.ts";

let world: World;
let look: Evaluator;
beforeAll(async () => {
  world = await createWorld();
  look = createEvaluator(world);
});
afterAll(() => world[Symbol.asyncDispose]());

describe("executors", () => {
  test("two concurrently, 25 rounds: each event has exactly one enforcement and one execution", async () => {
    const trigger = await world.trigger();
    await world.rule(trigger);
    const other = createRuleSets();
    for (let round = 0; round < 25; round += 1) {
      await world.event(trigger, { round });
      await Promise.all([enforceEvents(world.services, look.ruleSets, 1), enforceEvents(world.services, other, 1)]);
    }
    await look.evaluate();
    const [count] = await world.all(
      sql`select count(*)::int as events, count(distinct f.id)::int as enforcements, count(x.id)::int as executions
        from attune.event e left join attune.enforcement f on f.event = e.id left join attune.execution x on x.enforcement = f.id
        where e.trigger_ref = ${trigger}`,
    );
    expect(count).toEqual({ events: 25, enforcements: 25, executions: 25 });
  });

  test("events are deleted while they are evaluated, 20 rounds: neither waits for the other for ever", async () => {
    const trigger = await world.trigger();
    await world.rule(trigger);
    for (let round = 0; round < 20; round += 1) {
      const events: string[] = [];
      for (const n of Array(5).keys()) events.push(await world.event(trigger, { n }));
      await Promise.all([
        enforceEvents(world.services, look.ruleSets, 100),
        ...events.map((event) => commit(world.services, deleteEvent, world.session, { id: BigInt(event) })),
      ]);
    }
    expect(await world.all(sql`select from attune.event where trigger_ref = ${trigger}`)).toEqual([]);
    expect(await look.pending()).toEqual([]);
  });

  test("an event is evaluated against every rule created before it, 200 times", async () => {
    // Ten triggers, so that an event's rules stay few and the race stays the same.
    const triggers = await Promise.all(Array.from({ length: 10 }, () => world.trigger()));
    const executor = world.startExecutor();
    const expected: string[] = [];
    for (let n = 0; n < 200; n += 1) {
      const trigger = triggers[n % triggers.length] ?? "";
      const rule = await world.rule(trigger, { conditions: is("n", n), recordEvaluations: "none" });
      expected.push(`${rule} ${await world.event(trigger, { n })}`);
    }
    const waiting = sql`select from attune.event where evaluated_at is null`;
    await until(async () => (await world.all(waiting)).length === 0, "all events to be evaluated");
    await executor.stop();
    const pairs = await world.all<{ pair: string }>(
      sql`select f.rule_ref || ' ' || f.event as pair from attune.enforcement f
        where f.trigger_ref in (select jsonb_array_elements_text(${JSON.stringify(triggers)}::text::jsonb))`,
    );
    expect(pairs.map(({ pair }) => pair).sort()).toEqual(expected.sort());
  }, 90_000);

  test("one poisoned event never stops the others, and after five tries its row has the reason", async () => {
    const trigger = await world.trigger();
    const poison = await world.rule(trigger, { conditions: is("bad", true) });
    await world.rule(trigger, { conditions: is("bad", false) });
    await world.services.db.execute(
      sql`alter table attune.enforcement add constraint enforcement_poison check (rule_ref <> ${sql.raw(`'${poison}'`)})`,
    );
    const events: string[] = [];
    for (const n of Array(5).keys()) events.push(await world.event(trigger, { bad: n === 2 }));
    const [bad = ""] = events.splice(2, 1);
    expect(await enforceEvents(world.services, look.ruleSets, 100)).toBe(5);
    for (const event of events) {
      expect(await look.enforced(event)).toMatchObject([{ executionStatus: "scheduled" }]);
      expect(await look.event(event)).toMatchObject({ evaluated: true, tries: 0 });
    }
    for (let tries = 1; tries < 5; tries += 1) {
      expect(await look.event(bad)).toMatchObject({ evaluated: false, tries });
      // Its next try waits until it is due.
      expect(await enforceEvents(world.services, look.ruleSets, 100)).toBe(0);
      await world.all(
        sql`update attune.pending_event set retry_at = now() - interval '1 second' where retry_at is not null`,
      );
      expect(await enforceEvents(world.services, look.ruleSets, 100)).toBe(1);
    }
    expect(await look.event(bad)).toMatchObject({
      evaluated: true,
      tries: 5,
      skipped: expect.stringMatching(/^gave up after 5 tries: .*enforcement_poison/),
    });
    expect(await look.enforced(bad)).toEqual([]);
    expect(await look.pending()).toEqual([]);
    await world.services.db.execute(sql`alter table attune.enforcement drop constraint enforcement_poison`);
  });
});
