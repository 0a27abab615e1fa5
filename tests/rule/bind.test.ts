import { rmSync } from "node:fs";
import { join } from "node:path";
import { sql } from "drizzle-orm";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createAction, deleteAction, updateAction } from "../../src/catalog/action.ts";
import { deletePack } from "../../src/catalog/pack.ts";
import { createTrigger, deleteTrigger, updateTrigger } from "../../src/catalog/trigger.ts";
import { setRuleEnabled } from "../../src/rule/rule.ts";
import { type Api, createApi } from "../support/api.ts";
import { commit } from "../support/commit.ts";
import { createEvaluator, type Evaluator } from "../support/evaluator.ts";
import { loadDirectory, packDirectories } from "../support/pack.ts";
import { createWorld, type World } from "../support/world.ts";

let world: World;
let evaluator: Evaluator;
let api: Api;
beforeAll(async () => {
  world = await createWorld();
  evaluator = createEvaluator(world);
  api = await createApi(world.services);
});
afterAll(async () => {
  await api[Symbol.asyncDispose]();
  await world[Symbol.asyncDispose]();
});

const write = packDirectories();
const pack = (ref: string) => ({
  "pack.yaml": `ref: ${ref}\nlabel: x\nversion: 1.0.0\n`,
  "triggers/t.yaml": `ref: ${ref}.t\nlabel: T\n`,
  "actions/a.sh": "",
  "actions/a.yaml": `ref: ${ref}.a\nlabel: A\nrunner_type: shell\nentry_point: actions/a.sh\n`,
});
const action = (ref: string) => ({ ref, runtime: "core.action.builtin", entrypoint: "core.noop" });

async function expectRun(trigger: string): Promise<void> {
  const event = await world.event(trigger);
  await evaluator.evaluate();
  expect(await evaluator.enforced(event)).toMatchObject([
    { status: "processed", error: null, executionStatus: "scheduled" },
  ]);
}
async function reasonOf(ref: string): Promise<string | null> {
  const document = "query($ref: String!) { ruleByRef(ref: $ref) { inactiveReason } }";
  return (await api.ask(world.session, document, { ref })).data.ruleByRef.inactiveReason;
}

describe("a rule whose action or trigger comes back works again", () => {
  test("after both were deleted and created by hand", async () => {
    const { services, session } = world;
    await commit(services, createTrigger, session, { ref: "default.back" });
    await commit(services, createAction, session, action("default.back"));
    const rule = await world.rule("default.back", { action: "default.back" });
    await expectRun("default.back");
    await commit(services, deleteAction, session, { ref: "default.back" });
    expect(await reasonOf(rule)).toBe('Its action "default.back" does not exist.');
    await commit(services, deleteTrigger, session, { ref: "default.back" });
    expect(await reasonOf(rule)).toBe('Its trigger "default.back" does not exist.');
    await commit(services, createTrigger, session, { ref: "default.back" });
    await commit(services, createAction, session, action("default.back"));
    expect(await reasonOf(rule)).toBeNull();
    await expectRun("default.back");
  });

  test("after a pack's files were removed and restored", async () => {
    const files = pack("files");
    const directory = write(files);
    await loadDirectory(world.services, directory);
    const rule = await world.rule("files.t", { action: "files.a" });
    for (const path of ["actions/a.yaml", "triggers/t.yaml"] as const) {
      rmSync(join(directory, path));
      await loadDirectory(world.services, directory);
      expect(await reasonOf(rule)).toMatch(/does not exist/);
      write({ [path]: files[path] }, directory);
      await loadDirectory(world.services, directory);
      expect(await reasonOf(rule)).toBeNull();
    }
    await expectRun("files.t");
  });

  test("after their pack was deleted and loaded again", async () => {
    const directory = write(pack("gone"));
    await loadDirectory(world.services, directory);
    await world.rule("gone.t", { action: "gone.a" });
    await commit(world.services, deletePack, world.session, { ref: "gone" });
    await loadDirectory(world.services, directory);
    await expectRun("gone.t");
  });

  test("by hand-written SQL, too, and a trigger gets its sensor back", async () => {
    const { services, session } = world;
    await commit(services, createTrigger, session, { ref: "default.watched" });
    const add = sql`insert into attune.sensor (ref, pack, pack_ref, label, entrypoint, runtime, runtime_ref)
      select 'default.watch', p.id, p.ref, 'Watch', 'watch.sh', r.id, r.ref
      from attune.pack p, attune.runtime r
      where p.ref = 'default' and r.ref = 'core.sensor.shell'`;
    await world.all(add);
    await commit(services, updateTrigger, session, { ref: "default.watched", patch: { sensor: "default.watch" } });
    await world.all(sql`delete from attune.sensor where ref = 'default.watch'`);
    const bound = sql`select t.sensor is not null as bound from attune.trigger t where ref = 'default.watched'`;
    expect(await world.one(bound)).toEqual({ bound: false });
    await world.all(add);
    expect(await world.one(bound)).toEqual({ bound: true });
  });
});

test("a rule without its action or its trigger cannot be enabled, and one says why it is inactive", async () => {
  const { services, session } = world;
  await commit(services, createTrigger, session, { ref: "default.loose" });
  await commit(services, createAction, session, action("default.loose"));
  const rule = await world.rule("default.loose", { action: "default.loose" });
  await commit(services, updateAction, session, { ref: "default.loose", patch: { enabled: false } });
  expect(await reasonOf(rule)).toBe('Its action "default.loose" is disabled.');
  await commit(services, setRuleEnabled, session, { ref: rule, enabled: false });
  expect(await reasonOf(rule)).toBe("It is disabled.");
  await commit(services, deleteAction, session, { ref: "default.loose" });
  const enable = () => commit(services, setRuleEnabled, session, { ref: rule, enabled: true });
  await expect(enable()).rejects.toThrow(
    `The rule "${rule}" cannot be enabled, because its action "default.loose" no longer exists: create what is missing again, or change the rule.`,
  );
  await commit(services, deleteTrigger, session, { ref: "default.loose" });
  await expect(enable()).rejects.toThrow(
    /its action "default\.loose" and its trigger "default\.loose" no longer exist:/,
  );
});
