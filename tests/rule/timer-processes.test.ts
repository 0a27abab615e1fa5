import { once } from "node:events";
import { sql } from "drizzle-orm";
import { describe, expect, test } from "vitest";
import { createRule } from "../../src/rule/rule.ts";
import { commit } from "../support/commit.ts";
import { onPostgres } from "../support/database.ts";
import { serverEnvironment, spawnServer, startProcess } from "../support/server.ts";
import { until } from "../support/until.ts";
import { createWorld } from "../support/world.ts";

// One process at a time uses an embedded database.
describe.runIf(onPostgres())("timers of two processes", () => {
  test("tick every 3, 5 and 7 seconds exactly 7, 4 and 3 times in 22 seconds, though one is killed half-way", async () => {
    await using world = await createWorld();
    const { services, session } = world;
    const role = { ATTUNE__ROLES: "sensor" };
    const [killed, kept] = await Promise.all([
      startProcess(services.location, role),
      startProcess(services.location, role),
    ]);
    await using _kept = kept;
    const seconds = [3, 5, 7];
    for (const interval of seconds) {
      const fields = { ref: `default.every_${interval}`, action: "core.noop", trigger: "core.intervaltimer" };
      await commit(services, createRule, session, { ...fields, triggerParams: { unit: "seconds", interval } });
    }
    const began = Date.now();
    const counts = async () =>
      (
        await world.all<{ count: number; distinct: number }>(
          sql`select count(e.id)::int as count, count(distinct e.payload ->> 'scheduled_at')::int as distinct
            from attune.rule r left join attune.event e on e.rule = r.id group by r.ref order by r.ref`,
        )
      ).map(({ count, distinct }) => [count, distinct]);
    await until(async () => ((await counts())[0]?.[0] ?? 0) >= 3, "the third tick", 20_000);
    await killed.kill();
    await until(() => Date.now() - began > 22_000, "22 seconds", 30_000);
    await kept[Symbol.asyncDispose]();
    expect(await counts()).toEqual([
      [7, 7],
      [4, 4],
      [3, 3],
    ]);
  }, 60_000);

  test("make up once for what was missed in 30 hours, though they are killed before the first commit and half-way", async () => {
    await using world = await createWorld();
    const { services } = world;
    const role = { ATTUNE__ROLES: "sensor" };
    const triggerParams = { rrule: "FREQ=HOURLY", start: "2026-01-01T00:00:00" };
    const refs: Record<string, string> = {};
    for (const missed_ticks of ["skip", "once", "all"]) {
      refs[missed_ticks] = await world.rule("core.rruletimer", { triggerParams: { ...triggerParams, missed_ticks } });
    }
    await world.all(sql`update attune.timer set next_fire_at = date_trunc('hour', now()) - interval '30 hours'`);
    const scheduled = async (missed: string) =>
      (
        await world.all<{ at: string }>(
          sql`select e.payload ->> 'scheduled_at' as at from attune.event e join attune.rule r on r.id = e.rule
            where r.ref = ${refs[missed]} order by e.id`,
        )
      ).map(({ at }) => Date.parse(at));

    const { child } = spawnServer(
      serverEnvironment(services.location, { ...role, ATTUNE__TEST__FAULT: "event.before_commit" }),
    );
    const [, signal] = await once(child, "exit");
    expect(signal).toBe("SIGKILL");
    expect(await world.all(sql`select from attune.event where rule is not null`)).toEqual([]);

    const halfway = await startProcess(services.location, role);
    await until(async () => (await scheduled("all")).length >= 5, "five ticks", 20_000);
    await halfway.kill();

    await using _last = await startProcess(services.location, role);
    const caughtUp = sql`select from attune.timer where next_fire_at <= now()`;
    await until(async () => (await world.all(caughtUp)).length === 0, "every missed tick", 20_000);
    const all = await scheduled("all");
    // One more when an hour begins while the test runs.
    expect([24, 25]).toContain(all.length);
    expect(all).toEqual(all.map((_, index) => (all[0] ?? 0) + index * 3_600_000));
    const oldest = Date.now() - (all[0] ?? 0);
    expect(oldest).toBeGreaterThan(23 * 3_600_000);
    expect(oldest).toBeLessThanOrEqual(25 * 3_600_000);
    const [first] = await scheduled("once");
    expect(Date.now() - (first ?? 0)).toBeGreaterThan(29 * 3_600_000);
    const extra = all.length - 24;
    expect([(await scheduled("once")).length - extra, (await scheduled("skip")).length - extra]).toEqual([1, 0]);
  }, 90_000);
});
