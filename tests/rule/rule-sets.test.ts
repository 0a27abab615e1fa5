import { sql } from "drizzle-orm";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { type CompiledRule, createRuleSets, type RuleSets } from "../../src/rule/ruleset.ts";
import { is } from "../support/evaluator.ts";
import { createWorld, type World } from "../support/world.ts";

let world: World;
beforeAll(async () => {
  world = await createWorld();
});
afterAll(() => world[Symbol.asyncDispose]());

let trigger: string;
let other: string;
let refs: string[];
let sets: RuleSets;
beforeEach(async () => {
  [trigger, other] = [await world.trigger(), await world.trigger()];
  refs = [];
  for (const n of Array(5).keys()) refs.push(await world.rule(trigger, { conditions: is("n", n) }));
  sets = createRuleSets();
  await load(sets);
});

/** Returns the compiled rules of both triggers, by ref, as an event that is evaluated now finds them. */
async function load(from: RuleSets): Promise<Map<string, CompiledRule>> {
  const found = await world.all<{ id: string; revision: string }>(
    sql`select id::text, rules_revision::text as revision from attune.trigger where ref in (${trigger}, ${other})`,
  );
  const loaded = await from.load(world.services.db, new Map(found.map(({ id, revision }) => [id, revision])));
  const rules = [...loaded.values()].flatMap(({ rules: index }) => index.find(null)); // few rules are found by any payload
  return new Map(rules.map((rule) => [rule.ref, rule] as const).sort(([a], [b]) => (a < b ? -1 : 1)));
}

const run = (text: string) => world.all(sql.raw(text));

/** What changes rules: the statements, where `$0` to `$4` are the five rules, and which of them are compiled anew; "gone" are no longer there. */
const changes: [what: string, statements: string, anew: number[], gone?: number[]][] = [
  ["a change of a condition", "update attune.rule set conditions = '[]' where ref = '$1'", [1]],
  ["a change of its label, which is a revision", "update attune.rule set label = 'other' where ref = '$2'", [2]],
  ["a change that leaves it as it was", "update attune.rule set label = label where ref = '$2'", []],
  ["disabling", "update attune.rule set enabled = false where ref = '$3'", [], [3]],
  [
    "disabling, and a change of another",
    "update attune.rule set enabled = ref <> '$3' where ref in ('$3', '$4'); update attune.rule set condition = 'any' where ref = '$4'",
    [4],
    [3],
  ],
  ["a deletion", "delete from attune.rule where ref = '$0'", [], [0]],
  [
    "a deletion, and a change of another",
    "delete from attune.rule where ref = '$0'; update attune.rule set owner = null where ref = '$1'",
    [1],
    [0],
  ],
  [
    "a move to another trigger",
    "update attune.rule r set trigger = t.id, trigger_ref = t.ref from attune.trigger t where t.ref = '$other' and r.ref = '$2'",
    [2],
  ],
  [
    "an action's change",
    "update attune.rule set action = (select id from attune.action where ref = 'core.echo') where ref in ('$0', '$3'); update attune.action set timeout_seconds = coalesce(timeout_seconds, 7) + 1 where ref = 'core.echo'",
    [0, 3],
  ],
  [
    "a policy of an action, and its end",
    "update attune.rule set action = (select id from attune.action where ref = 'core.echo') where ref = '$4'; insert into attune.policy (ref, action, name, method, threshold) select 'default.p', id, 'p', 'enqueue', 1 from attune.action where ref = 'core.echo'; update attune.policy set enabled = false where ref = 'default.p'; delete from attune.policy where ref = 'default.p'",
    [4],
  ],
  [
    "a setting of the pack",
    "update attune.pack set config = jsonb_build_object('n', clock_timestamp()::text) where ref = 'default'",
    [0, 1, 2, 3, 4],
  ],
  ["a deletion of the trigger", "delete from attune.trigger where ref = '$trigger'", [], [0, 1, 2, 3, 4]],
];

test.each(changes)("%s compiles only the rules that it concerns", async (_what, statements, anew, gone = []) => {
  const before = await load(sets);
  expect([...before.keys()]).toEqual(refs);
  const filled = statements.replaceAll(/\$(\d|other|trigger)/g, (_, name: string) =>
    name === "other" ? other : name === "trigger" ? trigger : (refs[Number(name)] ?? ""),
  );
  for (const statement of filled.split("; ")) await run(statement);
  const after = await load(sets);
  const kept = refs.filter((_, n) => !gone.includes(n));
  expect([...after.keys()].sort()).toEqual(kept);
  expect(kept.filter((ref) => after.get(ref) !== before.get(ref))).toEqual(anew.map((n) => refs[n]));
  expect(JSON.stringify([...after.values()])).toBe(JSON.stringify([...(await load(createRuleSets())).values()]));
});

test("each rule that has a trigger is noted with it, and no other", async () => {
  await world.all(sql`delete from attune.rule where ref = ${refs[0] ?? ""}`);
  const wrong = sql`select r.id, c.rule from attune.rule r full join attune.rule_change c on c.rule = r.id and c.trigger = r.trigger
    left join attune.trigger t on t.id = c.trigger where r.trigger is not null and c.rule is null or r.id is null or c.revision > t.rules_revision`;
  expect(await world.all(wrong)).toEqual([]);
});

test("a change that is rolled back, and one that is committed in the meantime, leave what is", async () => {
  const rolledBack = world.services.db.transaction(async (db) => {
    await db.execute(sql`update attune.rule set conditions = '[]' where ref = ${refs[0] ?? ""}`);
    throw new Error("no");
  });
  await expect(rolledBack).rejects.toThrow("no");
  const committed = world.all(sql`update attune.rule set conditions = '["?"]' where ref = ${refs[1] ?? ""}`);
  await committed;
  const after = await load(sets);
  expect([after.get(refs[0] ?? "")?.conditions, after.get(refs[1] ?? "")?.conditions]).toEqual([is("n", 0), ["?"]]);
});

test("more triggers than are kept at once lose no rules, and no rules that wait for their events", async () => {
  const waiting = await world.rule(other, {
    window: { absence: { of: { trigger, conditions: [] }, within: 60 } },
  });
  const many = new Map(Array.from({ length: 2100 }, (_, n) => [String(10_000_000 + n), "0"]));
  const own = await world.all<{ id: string; revision: string }>(
    sql`select id::text, rules_revision::text as revision from attune.trigger where ref = ${trigger}`,
  );
  await sets.load(world.services.db, many);
  const loaded = await sets.load(world.services.db, new Map(own.map(({ id, revision }) => [id, revision])));
  const { rules, answered = [] } = loaded.get(own[0]?.id ?? "") ?? {};
  expect([rules?.size, answered.map(({ ref }) => ref)]).toEqual([5, [waiting]]);
});
