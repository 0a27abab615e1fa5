import { chmodSync, readdirSync, readFileSync, realpathSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { sql } from "drizzle-orm";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createPermissionSet } from "../../src/access/permission.ts";
import type { Session } from "../../src/access/session.ts";
import { createAction, deleteAction } from "../../src/catalog/action.ts";
import { keepRelease, type ReleaseStore } from "../../src/catalog/keep.ts";
import { loadPack } from "../../src/catalog/load.ts";
import { createPack } from "../../src/catalog/pack.ts";
import { findCore, loadPacks, readPacks } from "../../src/catalog/packs.ts";
import { readPack } from "../../src/catalog/read.ts";
import { readChanged } from "../../src/catalog/reload.ts";
import { createRuntime, deleteRuntime } from "../../src/catalog/runtime.ts";
import { write as inTransaction } from "../../src/db/tx.ts";
import { InvalidInputError, type Issue } from "../../src/errors.ts";
import { findWebhook } from "../../src/event/webhook.ts";
import type { JsonObject } from "../../src/lib/json.ts";
import { packRules } from "../../src/rule/check.ts";
import { createRule, setRuleEnabled } from "../../src/rule/rule.ts";
import { commit } from "../support/commit.ts";
import { createEvaluator } from "../support/evaluator.ts";
import { loadDirectory, packDirectories } from "../support/pack.ts";
import { until } from "../support/until.ts";
import { createWorld, type World } from "../support/world.ts";

let world: World;
beforeAll(async () => {
  world = await createWorld();
});
afterAll(() => world[Symbol.asyncDispose]());

const write = packDirectories();
const manifest = (ref: string, more = "") => `ref: ${ref}\nlabel: x\nversion: 1.0.0\n${more}`;
const trigger = (ref: string, more = "") => `ref: ${ref}\nlabel: x\n${more}`;

/** Returns the issues that work throws. */
async function issuesOf(work: Promise<unknown>): Promise<Issue[]> {
  const error = await work.then(
    () => null,
    (cause: unknown) => cause,
  );
  if (error instanceof InvalidInputError) return error.issues;
  throw new Error("expected an InvalidInputError", { cause: error });
}
const load = (directory: string) => loadDirectory(world.services, directory);
const lines = (issues: Issue[]) => issues.map(({ path, message }) => `${path}: ${message}`);

describe("a rule of a pack", () => {
  const invalid: [
    string,
    { action?: string; trigger?: string; conditions?: unknown; actionParams?: JsonObject; triggerParams?: JsonObject },
  ][] = [
    [
      "a sender's text as shell code",
      { action: "core.shell", actionParams: { command: "echo {{ event.payload.body.name }}" } },
    ],
    ["an unknown parameter", { actionParams: { mesage: "x" } }],
    ["a missing parameter", { action: "core.shell", actionParams: {} }],
    ["a parameter of the wrong type", { action: "core.sleep", actionParams: { seconds: "long" } }],
    ["a template that does not compile", { actionParams: { message: "{{ event.payload.( }}" } }],
    ["a template with an unknown variable", { actionParams: { message: "{{ evnt.payload.a }}" } }],
    ["an unknown operator", { conditions: [{ field: "a", operator: "equal", value: 1 }] }],
    ["a condition that does not compile", { conditions: [{ expression: "event.payload.a ==" }] }],
    ["a literal secret", { action: "secretive.act", actionParams: { token: "letmein-please" } }],
    [
      "an unknown parameter of the trigger",
      { trigger: "core.intervaltimer", triggerParams: { unit: "seconds", interval: 5, uint: 1 } },
    ],
    ["an interval that is no time", { trigger: "core.intervaltimer", triggerParams: { unit: "seconds", interval: 0 } }],
    ["a number that JSON does not hold exactly", { actionParams: { message: "{{ 9007199254740993 }}" } }],
    ["such a number within a text", { actionParams: { message: "id {{ -9007199254740993 }}." } }],
  ];

  beforeAll(async () => {
    const files = {
      "pack.yaml": manifest("secretive"),
      "actions/act.sh": "",
      "actions/act.yaml":
        "ref: secretive.act\nlabel: x\nrunner_type: shell\nentry_point: actions/act.sh\nparameters:\n  token: {type: string, secret: true}\n",
    };
    await load(write(files));
  });

  test.each(invalid)("with %s is refused with the same faults as one that a user creates", async (_what, fields) => {
    const rule = { action: "core.echo", trigger: "core.webhook", ...fields };
    const created = await issuesOf(
      commit(world.services, createRule, world.session, { ref: "default.invalid", ...rule }),
    );
    const {
      action: action_ref,
      trigger: trigger_ref,
      conditions,
      actionParams: action_params,
      triggerParams: trigger_params,
    } = rule;
    const file = { ref: "twin.rule", label: "x", action_ref, trigger_ref, conditions, action_params, trigger_params };
    const loaded = await issuesOf(
      load(write({ "pack.yaml": manifest("twin"), "rules/rule.yaml": JSON.stringify(file) })),
    );
    const named = (path: string) =>
      path.replace("action_params", "actionParams").replace("trigger_params", "triggerParams");
    expect(created.length).toBeGreaterThan(0);
    expect(loaded.map(({ path, message }) => [named(path.replace(/^rules\/rule.yaml:1:\d+ /, "")), message])).toEqual(
      created.map(({ path, message }) => [path, message]),
    );
    expect(await world.all(sql`select from attune.pack where ref = 'twin'`)).toEqual([]);
  });

  test("is refused with all faults of all rules at their places in the files", async () => {
    const directory = write({
      "pack.yaml": manifest("faulty"),
      "rules/a.yaml": `ref: faulty.a
label: A
trigger_ref: core.webhok
action_ref: core.echo
`,
      "rules/b.yaml": `ref: faulty.b
label: B
trigger_ref: core.webhook
action_ref: core.shell
conditions:
  - field: body.a
    operator: equals
    value: 1
  - field: body.b
    operator: smells_like
    value: 1
action_params:
  command: "echo {{ event.payload.body.name }}"
  colour: red
`,
    });
    expect(lines(await issuesOf(load(directory)))).toEqual([
      'rules/a.yaml:3:14 trigger_ref: there is no trigger "core.webhok"; did you mean "core.webhook"?',
      expect.stringMatching(/^rules\/b\.yaml:10:15 conditions\.1\.operator: there is no operator "smells_like"/),
      expect.stringMatching(/^rules\/b\.yaml:13:12 action_params\.command: must not use the event/),
    ]);
  });

  test("keeps the defaults of its trigger's parameters", async () => {
    await load(
      write({
        "pack.yaml": manifest("ticking"),
        "triggers/t.yaml": trigger("ticking.t", "parameters:\n  zone: {type: string, default: UTC}\n"),
        "rules/r.yaml": "ref: ticking.r\nlabel: R\ntrigger_ref: ticking.t\naction_ref: core.noop\n",
      }),
    );
    expect(await world.one(sql`select trigger_params from attune.rule where ref = 'ticking.r'`)).toEqual({
      trigger_params: { zone: "UTC" },
    });
  });
});

describe("a file of a pack is refused", () => {
  const action = (more: string) => ({
    "actions/a.sh": "",
    "actions/a.yaml": `ref: odd.a\nlabel: A\nrunner_type: shell\nentry_point: actions/a.sh\n${more}`,
  });
  test.each<[string, Record<string, string>, RegExp]>([
    [
      "with an unknown constraint of a grant, which would widen it",
      {
        "permission_sets/p.yaml":
          "ref: odd.p\nlabel: P\ngrants:\n  - resource: action\n    actions: [read]\n    constraints: {packs: [core]}\n",
      },
      /^permission_sets\/p\.yaml:6:19 grants\.0\.constraints\.packs: unknown field "packs"; did you mean|expected one of/,
    ],
    [
      "with a merge key",
      action("parameters: &a\n  x: {type: string}\noutput:\n  <<: *a\n"),
      /^actions\/a\.yaml:8:3: merge keys \(<<\) are not supported/,
    ],
    [
      "with a parameter that dotenv cannot carry",
      action("parameter_format: dotenv\nparameters:\n  image-id: {type: string}\n"),
      /^actions\/a\.yaml:7:13 parameters\.image-id: must be letters, digits and underscores to be passed as dotenv/,
    ],
    [
      "with an unknown permission set",
      action("permission_set_refs: [core.editr]\n"),
      /^actions\/a\.yaml:5:23 permission_set_refs\.0: there is no permission set "core\.editr"; did you mean "core\.editor"/,
    ],
    [
      "with an unknown dependency",
      { "pack.yaml": manifest("odd", "dependencies: [cor]\n") },
      /^pack\.yaml:4:16 dependencies\.0: there is no pack "cor"; did you mean "core"/,
    ],
    [
      "with a dependency that is no ref",
      { "pack.yaml": manifest("odd", "dependencies: ['core>=1']\n") },
      /^pack\.yaml:4:16 dependencies\.0: expected a pack ref such as "my_pack", or one with a range/,
    ],
    [
      "with a dependency in a range that is none",
      { "pack.yaml": manifest("odd", "dependencies: [core, core@one]\n") },
      /^pack\.yaml:4:22 dependencies\.1: "one" is no range of versions: expected one such as "\^1\.2"/,
    ],
    [
      "with a dependency in another version",
      { "pack.yaml": manifest("odd", "dependencies: ['core@^2 || ~0.9']\n") },
      /^pack\.yaml:4:16 dependencies\.0: expected "core" in a version \^2 \|\| ~0\.9, and it has the version 1\.0\.0$/,
    ],
    [
      "with an unknown runtime",
      { "pack.yaml": manifest("odd", "runtime_deps: [cobol]\n") },
      /^pack\.yaml:4:16 runtime_deps\.0: there is no runtime or runner type "cobol"/,
    ],
    [
      "with nonsense about tests",
      { "pack.yaml": manifest("odd", "testing:\n  runners:\n    shell: {type: scrpt, entry_point: a}\n") },
      /^pack\.yaml:6:19 testing\.runners\.shell\.type: .*"script"/,
    ],
    [
      "with an unknown field about tests",
      { "pack.yaml": manifest("odd", "testing: {on_failur: block}\n") },
      /^pack\.yaml:4:11 testing\.on_failur: unknown field "on_failur"; did you mean "on_failure"/,
    ],
  ])("%s", async (_what, files, message) => {
    const [issue] = await issuesOf(load(write({ "pack.yaml": manifest("odd"), ...files })));
    expect(`${issue?.path}: ${issue?.message}`).toMatch(message);
  });
});

test("an action created by hand is refused a parameter that dotenv cannot carry", async () => {
  const fields = {
    runtime: "core.action.builtin",
    entrypoint: "core.noop",
    paramSchema: { "image-id": { type: "string" } },
  };
  const create = (parameterFormat: "json" | "dotenv") =>
    commit(world.services, createAction, world.session, {
      ref: `default.${parameterFormat}`,
      ...fields,
      parameterFormat,
    });
  await create("json");
  expect(lines(await issuesOf(create("dotenv")))).toEqual([
    "paramSchema.image-id: must be letters, digits and underscores to be passed as dotenv",
  ]);
});

test("what pack.yaml says about runtimes, tests and dependencies is accepted when it is true", async () => {
  const testing = `testing:
  enabled: true
  discovery: {method: directory, path: tests}
  runners:
    shell: {type: script, entry_point: tests/run.sh, timeout: 60, result_format: simple}
  result_path: tests/results/
  min_pass_rate: 0.5
  on_failure: warn
`;
  const more = `runtime_deps: [python, core.action.nodejs, bash]\ndependencies: [core]\n${testing}`;
  await load(write({ "pack.yaml": manifest("fine", more), "tests/run.sh": "echo\n" }));
});

describe("packs that depend on others", () => {
  const needing = (ref: string, needed: string) =>
    write({
      "pack.yaml": manifest(ref, `dependencies: [${needed}]\n`),
      "triggers/t.yaml": trigger(`${ref}.t`),
      "rules/r.yaml": `ref: ${ref}.r\nlabel: R\ntrigger_ref: ${needed}.t\naction_ref: core.noop\n`,
    });

  test("are loaded after them, whatever their order", async () => {
    const base = write({ "pack.yaml": manifest("base"), "triggers/t.yaml": trigger("base.t") });
    const packs = await readPacks([needing("top", "middle"), needing("middle", "base"), base]);
    expect(packs.map(({ pack }) => pack.ref)).toEqual(["core", "base", "middle", "top"]);
    await loadPacks(world.services, packs, packRules);
    expect(await world.all(sql`select ref from attune.rule where ref in ('top.r', 'middle.r')`)).toHaveLength(2);
  });

  /** A directory with a pack of a version that needs others. */
  const versioned = (ref: string, version: string, needed = "") =>
    write({ "pack.yaml": `ref: ${ref}\nlabel: x\nversion: ${version}\ndependencies: [${needed}]\n` });
  const start = async (...directories: string[]) =>
    await loadPacks(world.services, await readPacks(directories), packRules);
  const stored = async (ref: string) =>
    (await world.one<{ version: string }>(sql`select version from attune.pack where ref = ${ref}`)).version;

  test("in ranges of versions are judged together in one start, and an update that breaks a range is refused", async () => {
    await start(versioned("stem", "1.2.0"), versioned("leaf", "1.0.0", "'stem@^1.1'"));
    await expect(start(versioned("stem", "2.0.0"))).rejects.toThrow(
      /pack\.yaml:3:10 version: the pack "leaf" 1\.0\.0 needs stem@\^1\.1: update it first, or keep "stem" 1\.2\.0/,
    );
    await expect(start(versioned("leaf", "2.0.0", "'stem@^2'"))).rejects.toThrow(
      /pack\.yaml:4:16 dependencies\.0: expected "stem" in a version \^2, and it has the version 1\.2\.0/,
    );
    await expect(start(versioned("stem", "2.0.0"), versioned("leaf", "1.0.1", "'stem@^1.1'"))).rejects.toThrow(
      /the pack "leaf" 1\.0\.1 needs stem@\^1\.1/,
    );
    expect([await stored("stem"), await stored("leaf")]).toEqual(["1.2.0", "1.0.0"]);
    await start(versioned("leaf", "2.0.0", "'stem@^2'"), versioned("stem", "2.0.0"));
    expect([await stored("stem"), await stored("leaf")]).toEqual(["2.0.0", "2.0.0"]);
    await start(versioned("stem", "2.1.0-beta.1"), versioned("leaf", "2.1.0", "stem"));
    expect(await stored("stem")).toBe("2.1.0-beta.1"); // without a range every version will do
  });

  test("do not let go of each other's ranges at the same time", async () => {
    await start(versioned("root", "1.0.0"));
    const [held, release] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    const dependent = await readPack(versioned("bough", "1.0.0", "'root@^1'"));
    const first = inTransaction(world.services, async (tx) => {
      await loadPack(tx, dependent, packRules);
      held.resolve();
      await release.promise;
    });
    await held.promise;
    const second = start(versioned("root", "2.0.0")).then(
      () => null,
      (error: Error) => error,
    );
    // The embedded database has one transaction at a time: the second waits before it begins.
    if (world.services.kind === "postgres") {
      const waiting = sql`select 1 from pg_locks where locktype = 'advisory' and not granted
        and database = (select oid from pg_database where datname = current_database())`;
      await until(async () => (await world.all(waiting)).length > 0, "the second to wait");
    }
    release.resolve();
    await first;
    expect((await second)?.message).toContain('the pack "bough" 1.0.0 needs root@^1');
  });

  test("in a circle are refused, and so are two of one ref", async () => {
    await expect(readPacks([needing("hen", "egg"), needing("egg", "hen")])).rejects.toThrow(
      "The packs cannot be loaded, as they depend on each other: hen, which depends on egg, which depends on hen.",
    );
    await expect(
      readPacks([write({ "pack.yaml": manifest("same") }), write({ "pack.yaml": manifest("same") })]),
    ).rejects.toThrow(/^Two directories have the pack same: /);
  });
});

test("a pack whose file disables it is loaded with all its components disabled, and enabled with it", async () => {
  const files = {
    "triggers/t.yaml": trigger("idle.t"),
    "triggers/off.yaml": trigger("idle.off", "enabled: false\n"),
    "rules/r.yaml": "ref: idle.r\nlabel: R\ntrigger_ref: idle.t\naction_ref: idle.a\n",
    "actions/a.sh": "",
    "actions/a.yaml": "ref: idle.a\nlabel: A\nrunner_type: shell\nentry_point: actions/a.sh\n",
  };
  const flags = async () =>
    await world.one<{ flags: JsonObject }>(sql`select jsonb_object_agg(ref, enabled) as flags from (
      select ref, enabled from attune.trigger union all select ref, enabled from attune.rule union all
      select ref, enabled from attune.action) x where ref like 'idle.%'`);
  const directory = write({ "pack.yaml": manifest("idle", "enabled: false\n"), ...files });
  await load(directory);
  expect((await flags()).flags).toEqual({ "idle.t": false, "idle.off": false, "idle.r": false, "idle.a": false });
  await load(write({ "pack.yaml": manifest("idle") }, directory));
  expect((await flags()).flags).toEqual({ "idle.t": true, "idle.off": false, "idle.r": true, "idle.a": true });
  await commit(world.services, setRuleEnabled, world.session, { ref: "idle.r", enabled: false });
  await load(write({ "pack.yaml": manifest("idle", "description: later\n") }, directory));
  expect((await flags()).flags).toMatchObject({ "idle.t": true, "idle.r": false }); // the user's
  await load(write({ "pack.yaml": manifest("idle", "enabled: false\n") }, directory));
  expect((await flags()).flags).toMatchObject({ "idle.t": false, "idle.a": false });
  const evaluator = createEvaluator(world);
  await expect(world.event("idle.t")).rejects.toThrow("disabled");
  await evaluator.evaluate();
});

test("a file whose ref was created by hand is refused with both named, and the way out works without the pack", async () => {
  await commit(world.services, createPack, world.session, { ref: "torn" });
  await commit(world.services, createAction, world.session, {
    ref: "torn.act",
    runtime: "core.action.builtin",
    entrypoint: "core.noop",
  });
  const directory = write({
    "pack.yaml": manifest("torn"),
    "actions/act.sh": "",
    "actions/act.yaml": "ref: torn.act\nlabel: A\nrunner_type: shell\nentry_point: actions/act.sh\n",
  });
  const packs = await readPacks([directory]);
  await expect(loadPacks(world.services, packs, packRules)).rejects.toThrow(
    `  actions/act.yaml:1:6 ref: is also the ref of an action that was created by hand: rename one of them, delete the action "torn.act" with deleteAction on a server without this pack, or start once with ATTUNE__PACKS__ADOPT=torn, so that the file replaces it`,
  );
  await loadPacks(world.services, await readPacks([]), packRules); // the start without it
  await commit(world.services, deleteAction, world.session, { ref: "torn.act" });
  await loadPacks(world.services, packs, packRules);
  expect(await world.one(sql`select is_adhoc from attune.action where ref = 'torn.act'`)).toEqual({ is_adhoc: false });
});

test("a start that adopts lets the files replace what was created by hand, with its id and what names it", async () => {
  const { services, session } = world;
  await commit(services, createPack, session, { ref: "kin" });
  const action = { runtime: "core.action.builtin", entrypoint: "core.noop" };
  await commit(services, createAction, session, { ref: "kin.act", ...action });
  await commit(services, createAction, session, { ref: "kin.other", ...action });
  const rule = { trigger: "core.webhook", action: "kin.act" };
  await commit(services, createRule, session, { ref: "kin.rule", ...rule });
  await commit(services, createRule, session, { ref: "default.kin", ...rule });
  await commit(services, createPermissionSet, session, { ref: "kin.set", label: "S", grants: [] });
  for (const ref of ["kin.action.run", "kin.action.lone"]) await commit(services, createRuntime, session, { ref });
  const files = {
    "pack.yaml": manifest("kin"),
    "actions/act.sh": "",
    "actions/act.yaml": "ref: kin.act\nlabel: Of the file\nrunner_type: shell\nentry_point: actions/act.sh\n",
    "rules/rule.yaml": "ref: kin.rule\nlabel: Of the file\ntrigger_ref: core.webhook\naction_ref: kin.act\n",
    "permission_sets/set.yaml": "ref: kin.set\nlabel: Of the file\ngrants: []\n",
    "runtimes/run.yaml": "ref: kin.action.run\nname: run\nruntime_type: action\ndistributions: {commands: []}\n",
  };
  const directory = write(files);
  const start = async (...adopting: string[]) =>
    await loadPacks(services, await readPacks([directory]), packRules, adopting);
  const stored = () =>
    world.all(sql`select a.id::text, a.label, a.is_adhoc as "byHand", r.label as rule, r.is_adhoc as "ruleByHand", r.owner::text, o.enabled,
        (o.action = a.id) as "isBound", s.label as set, exists (select from attune.action where ref = 'kin.other' and is_adhoc) as other
      from attune.action a, attune.rule r, attune.rule o, attune.permission_set s
      where a.ref = 'kin.act' and r.ref = 'kin.rule' and o.ref = 'default.kin' and s.ref = 'kin.set'`);
  const [before] = await stored();
  expect(before).toMatchObject({ byHand: true, ruleByHand: true, owner: expect.any(String) });
  await expect(start()).rejects.toThrow(
    /runtimes\/run\.yaml:1:6 ref: is also the ref of a runtime that was created by hand/,
  );
  await expect(start("kin")).rejects.toThrow(
    /pack\.yaml:1:6 ref: is the ref of a pack that was created by hand and has the runtime "kin\.action\.lone", which these files would remove: add it/,
  );
  expect(await stored()).toEqual([before]);
  await commit(services, deleteRuntime, session, { ref: "kin.action.lone" });
  await expect(start()).rejects.toThrow(/runtime that was created by hand/);
  await start("kin");
  const [after] = await stored();
  expect(after).toEqual({
    ...before,
    ...{ label: "Of the file", byHand: false, rule: "Of the file", ruleByHand: false, owner: null, set: "Of the file" },
  });
  expect(after).toMatchObject({ isBound: true, other: true });
  await start(); // without the setting nothing is left to adopt
  await start("kin");
  expect(await stored()).toEqual([after]);
});

test("webhook: true gives a path that works, once", async () => {
  const directory = write({
    "pack.yaml": manifest("hooked"),
    "triggers/t.yaml": trigger("hooked.t", "webhook: true\n"),
  });
  await load(directory);
  const key = async () =>
    (await world.one<{ key: string }>(sql`select webhook_key as key from attune.trigger where ref = 'hooked.t'`)).key;
  const first = await key();
  expect(first).toMatch(/^[\w-]{43}$/);
  expect(await findWebhook(world.services.db, first)).toMatchObject({ config: { hmac: null, max_bytes: 1024 * 1024 } });
  await load(write({ "pack.yaml": manifest("hooked", "description: later\n") }, directory));
  expect(await key()).toBe(first);
  rmSync(join(directory, "triggers/t.yaml"));
  await load(directory);
  expect(await findWebhook(world.services.db, first)).toBeNull();
});

test("the core pack is read again only when its files, or their place, are not those of the active release", async () => {
  const core = await findCore(world.services);
  expect(core).toMatchObject({ path: realpathSync("packs/core"), changed: null });
  const change = (column: string, value: string) =>
    world.services.db.execute(
      sql`update attune.pack_release r set ${sql.raw(column)} = ${value} from attune.pack p where p.active_release = r.id and p.ref = 'core'`,
    );
  for (const [column, value] of Object.entries({ path: "/elsewhere", digest: "0".repeat(64) })) {
    await change(column, value);
    const { changed, digest, path } = await findCore(world.services);
    expect(changed).toMatchObject({ digest, path, pack: { ref: "core" } });
    await change(column, column === "path" ? core.path : core.digest);
    expect(await findCore(world.services)).toEqual(core);
  }
});

describe("the files of a local pack", () => {
  const store = (directory: string, more: Partial<ReleaseStore> = {}): ReleaseStore => ({
    ...{ directory, runAs: null, log: world.services.log },
    ...more,
  });
  const files = (action: string) => ({
    "pack.yaml": manifest("kept"),
    "actions/a.sh": action,
    ".git/config": "x",
    "node_modules/left/index.js": "x",
  });

  test("are copied under their digest without what tools leave, once, and again when the copy was changed", async () => {
    const directory = write(files("echo 1\n"));
    const target = join(write({}), "deep", "packs");
    const source = await readPack(directory);
    const kept = await keepRelease(source, store(target));
    expect(kept).toMatchObject({ directory, path: join(target, "kept", source.digest), digest: source.digest });
    expect(readdirSync(kept.path).sort()).toEqual(["actions", "pack.yaml"]);
    const { ino } = statSync(kept.path);
    expect((await keepRelease(source, store(target))).path).toBe(kept.path);
    expect(statSync(kept.path).ino).toBe(ino);
    writeFileSync(join(kept.path, "actions/a.sh"), "rm -rf\n");
    await keepRelease(source, store(target));
    expect(readFileSync(join(kept.path, "actions/a.sh"), "utf8")).toBe("echo 1\n");
    expect(readdirSync(target)).toEqual(["kept"]);
    writeFileSync(join(directory, "actions/a.sh"), "echo 2\n");
    await expect(keepRelease({ ...source, digest: "0".repeat(64) }, store(target))).rejects.toThrow(
      /changed while they were read: try again/,
    );
    expect(readdirSync(target)).toEqual(["kept"]);
  });

  test("are used where they are when nothing can be copied, or actions could not read it", async () => {
    const source = await readPack(write(files("echo 1\n")));
    const place = write({ file: "", "closed/open/x": "" });
    expect(await keepRelease(source, store(join(place, "file")))).toMatchObject({ path: source.path });
    chmodSync(place, 0o755);
    chmodSync(join(place, "closed"), 0o700);
    const runAs = { uid: 65_534, gid: 65_534 };
    expect(await keepRelease(source, store(join(place, "closed/open"), { runAs }))).toMatchObject({
      path: source.path,
    });
    chmodSync(join(place, "closed"), 0o711);
    chmodSync(join(place, "closed/open"), 0o755);
    const kept = await keepRelease(source, store(join(place, "closed/open"), { runAs }));
    expect(kept.path).toBe(join(place, "closed/open/kept", source.digest));
  });

  test("are loaded again only for those who may install any pack", async () => {
    const directory = write({ "pack.yaml": manifest("again") });
    const local = { directories: new Map([["again", directory]]), store: store(write({})) };
    const some: Session = {
      ...world.session,
      grants: [{ resource: "pack", actions: ["install"], constraints: { pack_refs: ["again"] } }],
    };
    const of = { ref: "again", local };
    await expect(readChanged(world.services, some, of)).rejects.toThrow(/without constraints/);
    const any: Session = { ...world.session, grants: [{ resource: "pack", actions: ["install"] }] };
    expect(await readChanged(world.services, any, of)).toMatchObject({ directory });
    await expect(readChanged(world.services, any, { ...of, local: null })).rejects.toThrow(
      /ATTUNE__PACKS__DIRS, but none/,
    );
  });
});
