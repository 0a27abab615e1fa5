import { sql } from "drizzle-orm";
import { describe, expect, test } from "vitest";
import { createRule } from "../../src/rule/rule.ts";
import { commit } from "../support/commit.ts";
import { onPostgres } from "../support/database.ts";
import { startProcess } from "../support/server.ts";
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
});
