import { sql } from "drizzle-orm";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createWorld, type World } from "../support/world.ts";

let world: World;
beforeAll(async () => {
  world = await createWorld();
});
afterAll(() => world[Symbol.asyncDispose]());

test("a statement that changes many rules raises the revision of their triggers once, and notes each rule that it changes", async () => {
  const [trigger, other] = [await world.trigger(), await world.trigger()];
  const rule = await world.rule(trigger);
  const state = async () =>
    await world.one<{ own: number; other: number; noted: number }>(
      sql`select t.rules_revision::int as own, o.rules_revision::int as other,
          (select count(*)::int from attune.rule_change c where c.trigger = t.id and c.revision = t.rules_revision) as noted
        from attune.trigger t, attune.trigger o where t.ref = ${trigger} and o.ref = ${other}`,
    );
  const first = await state();
  // Half of them wait for events of the other trigger.
  await world.all(
    sql`insert into attune.rule (ref, pack, pack_ref, label, action, action_ref, trigger, trigger_ref, owner, "window")
      select ref || '_' || n, pack, pack_ref, label, action, action_ref, trigger, trigger_ref, owner,
        case when n % 2 = 0 then jsonb_build_object('absence', jsonb_build_object('within', 60, 'of', jsonb_build_object('trigger', ${other}::text))) end
      from attune.rule, generate_series(1, 300) n where ref = ${rule}`,
  );
  expect(await state()).toEqual({ own: first.own + 1, other: first.other + 1, noted: 300 });
  const those = sql`ref like ${`${rule}\\_%`}`;
  await world.all(
    sql`update attune.rule set label = case when ref like '%7' then 'other' else label end where ${those}`,
  );
  expect(await state()).toMatchObject({ own: first.own + 2, noted: 30 });
  await world.all(sql`update attune.rule set label = label where ${those}`);
  expect(await state()).toMatchObject({ own: first.own + 2 });
  await world.all(sql`update attune.rule r set trigger = t.id, trigger_ref = t.ref, "window" = null from attune.trigger t
    where t.ref = ${other} and r.${sql.raw("ref")} like ${`${rule}\\_%`}`);
  const moved = await world.one<{ noted: number }>(
    sql`select count(*)::int as noted from attune.rule_change c join attune.trigger t on t.id = c.trigger and t.ref = ${other} where c.revision = t.rules_revision`,
  );
  expect(moved).toEqual({ noted: 300 });
  const before = await state();
  await world.all(sql`delete from attune.rule where ${those}`);
  expect(await state()).toMatchObject({ own: before.own, other: before.other + 1 });
  expect(
    await world.all(
      sql`select from attune.rule_change c where not exists (select from attune.rule r where r.id = c.rule)`,
    ),
  ).toEqual([]);
});

/** Returns in how many milliseconds so many rules are inserted by one statement. */
async function insertMany(count: number): Promise<number> {
  const rule = await world.rule(await world.trigger());
  const from = performance.now();
  await world.all(
    sql`insert into attune.rule (ref, pack, pack_ref, label, action, action_ref, trigger, trigger_ref, owner)
      select ref || '_' || n, pack, pack_ref, label, action, action_ref, trigger, trigger_ref, owner
      from attune.rule, generate_series(1, ${count}::int) n where ref = ${rule}`,
  );
  return performance.now() - from;
}

test("inserting rules by one statement takes time in proportion to their number", async () => {
  await insertMany(100);
  const ratios: number[] = [];
  // In the square of the number it would be 16. The best of several is not that of a moment at which the machine was busy.
  for (let attempt = 0; attempt < 3; attempt++) ratios.push((await insertMany(2000)) / (await insertMany(500)));
  expect(Math.min(...ratios)).toBeLessThan(8);
}, 60_000);
