import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { sql } from "drizzle-orm";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Session } from "../../src/access/session.ts";
import { rebuildEnvironment } from "../../src/catalog/environment.ts";
import { readPack } from "../../src/catalog/read.ts";
import { ForbiddenError } from "../../src/errors.ts";
import { cancelExecution } from "../../src/execution/cancel.ts";
import { isTerminal } from "../../src/execution/states.ts";
import { commit } from "../support/commit.ts";
import { cloneDatabase } from "../support/database.ts";
import { writeTarball, writeWheel } from "../support/library.ts";
import { loadDirectory, packDirectories } from "../support/pack.ts";
import { request, startProcess } from "../support/server.ts";
import { until } from "../support/until.ts";
import { createWorld, type World } from "../support/world.ts";

const directories = packDirectories();
const longMs = 60_000;

const packFile = (ref: string, version = "1.0.0") => `ref: ${ref}\nlabel: ${ref}\nversion: ${version}\n`;
const action = (ref: string, runner: string, entry: string) =>
  `ref: ${ref}\nlabel: An action\nrunner_type: ${runner}\nentry_point: ${entry}\nparameters: {path: {type: string}}\n`;

/** Prints the library's value; first it waits for the file that its parameter names. */
const pythonFile = `import json, os, sys, time
path = json.load(sys.stdin).get("path")
print("begun", flush=True)
while path and not os.path.exists(path): time.sleep(0.02)
from answer.late import value
print(value, os.environ["VIRTUAL_ENV"] == sys.prefix)
`;
const moduleFile = 'import { value } from "answer";\nconsole.log(value);\n';
const commonFile = 'const { value } = require("answer");\nconsole.log(value, __dirname.includes("attune-pack-"));\n';

const pythonPack = (ref: string, version: string) => ({
  "pack.yaml": packFile(ref, version),
  "requirements.txt": `# the library\n--no-index\n--find-links wheels\nanswer==${version}\n`,
  "actions/say.yaml": action(`${ref}.say`, "python", "actions/say.py"),
  "actions/say.py": pythonFile,
});

const nodePack = (ref: string, version: string) => ({
  "pack.yaml": packFile(ref),
  "package.json": JSON.stringify({ name: ref, dependencies: { answer: `file:vendor/answer-${version}.tgz` } }),
  "actions/module.yaml": action(`${ref}.module`, "node", "actions/module.mjs"),
  "actions/module.mjs": moduleFile,
  "actions/common.yaml": action(`${ref}.common`, "node", "actions/common.cjs"),
  "actions/common.cjs": commonFile,
});

interface Row {
  id: string;
  status: string;
  path: string;
  error: string | null;
  log: string | null;
}

const environmentsOf = (world: World, pack: string) =>
  world.all<Row>(
    sql`select e.id::text, e.status, e.path, e.install_error as error, e.install_log as log from attune.pack_environment e
      join attune.pack p on p.id = e.pack where p.ref = ${pack} order by e.id`,
  );

/** Runs an action and returns what it printed last; fails with its error unless it completed. */
async function printed(world: World, ref: string): Promise<string> {
  const id = await world.execute(ref);
  expect(await world.ended(id, longMs)).toMatchObject({ status: "completed", error: null });
  return (await world.log(id, "stdout")).trimEnd().split("\n").at(-1) ?? "";
}

describe("what a pack's files need", () => {
  const read = async (files: Record<string, string>) =>
    (await readPack(directories({ "pack.yaml": packFile("some"), ...files }))).environments;

  test("is nothing where they name no library", async () => {
    expect(await read({})).toEqual({});
    expect(await read({ "requirements.txt": "\n  # nothing\n", "package.json": '{"type": "module"}' })).toEqual({});
    expect(await read({ "package.json": '{"dependencies": {}, "devDependencies": {"x": "1"}}' })).toEqual({});
  });

  test("changes with the files that define it, and with no other", async () => {
    const [one, two, other] = [
      await read({ "requirements.txt": "a==1\n" }),
      await read({ "requirements.txt": "a==1\n", "README.md": "Changed." }),
      await read({ "requirements.txt": "a==2\n" }),
    ];
    expect(Object.keys(one)).toEqual(["core.action.python"]);
    expect(two).toEqual(one);
    expect(other).not.toEqual(one);
    const manifest = '{"dependencies": {"a": "1"}}';
    const unlocked = await read({ "package.json": manifest });
    expect(Object.keys(unlocked)).toEqual(["core.action.nodejs"]);
    expect(await read({ "package.json": manifest, "package-lock.json": "{}" })).not.toEqual(unlocked);
  });

  test.each([
    ["{", /package\.json.*expected a package\.json/],
    ["[]", /it is not an object/],
    ['{"dependencies": ["a"]}', /"dependencies" is not an object/],
  ])("is refused in a package.json like %s", async (content, sentence) => {
    await expect(read({ "package.json": content })).rejects.toThrow(sentence);
  });
});

/** Python's module `venv` is a package of its own on some systems. */
const hasVenv = spawnSync("python3", ["-c", "import ensurepip"]).status === 0;

// Without Python's venv and pip there are no environments to build.
describe.runIf(hasVenv)("environments for Python", () => {
  let world: World;
  beforeAll(async () => {
    world = await createWorld();
    await world.startWorker();
    await world.startWorker(); // both share the directory
  });
  afterAll(() => world[Symbol.asyncDispose]());

  test("two packs have different versions of one library, each built once for both workers and all executions", async () => {
    for (const [ref, version] of [
      ["first", "1.0.0"],
      ["second", "2.0.0"],
    ] as const) {
      const directory = directories(pythonPack(ref, version));
      writeWheel(join(directory, "wheels"), version, `value ${version}`);
      await loadDirectory(world.services, directory);
    }
    const refs = Array.from({ length: 8 }, (_, index) => (index % 2 === 0 ? "first" : "second"));
    const lines = await Promise.all(refs.map((ref) => printed(world, `${ref}.say`)));
    expect(lines).toEqual(refs.map((ref) => `value ${ref === "first" ? "1.0.0" : "2.0.0"} True`));
    const rows = [...(await environmentsOf(world, "first")), ...(await environmentsOf(world, "second"))];
    expect(rows.map(({ status }) => status)).toEqual(["ready", "ready"]);
    expect(rows[0]?.log).toContain("answer");
    const built = readdirSync(world.environmentsDir).filter((name) => name !== "store-id");
    expect(built.map((name) => join(world.environmentsDir, name)).sort()).toEqual(rows.map(({ path }) => path).sort());
  });

  test("an update builds another one, while running work keeps its own", async () => {
    const directory = directories(pythonPack("moving", "1.0.0"));
    writeWheel(join(directory, "wheels"), "1.0.0", "old");
    await loadDirectory(world.services, directory);
    const signal = join(directory, "go");
    const early = await world.execute("moving.say", { path: signal });
    await until(async () => (await world.log(early, "stdout")).includes("begun"), "the first action's start", longMs);

    directories(pythonPack("moving", "2.0.0"), directory);
    writeWheel(join(directory, "wheels"), "2.0.0", "new");
    await loadDirectory(world.services, directory);
    expect(await printed(world, "moving.say")).toBe("new True");
    writeFileSync(signal, "");
    expect(await world.ended(early, longMs)).toMatchObject({ status: "completed" });
    expect(await world.log(early, "stdout")).toBe("begun\nold True\n");
    const [old, current] = await environmentsOf(world, "moving");
    expect([old?.status, current?.status]).toEqual(["outdated", "ready"]);
    expect(existsSync(old?.path ?? "")).toBe(true);

    await world.services.db.execute(sql`alter table attune.pack_environment disable trigger pack_environment_touch`);
    await world.services.db.execute(
      sql`update attune.pack_environment set updated = now() - interval '2 hours' where id = ${old?.id}::bigint`,
    );
    await world.services.db.execute(sql`alter table attune.pack_environment enable trigger pack_environment_touch`);
    world.services.wake.announce(["environment"]);
    await until(() => !existsSync(old?.path ?? ""), "the removal of the old environment");
    expect((await environmentsOf(world, "moving")).map(({ status }) => status)).toEqual(["ready"]);
    expect(await printed(world, "moving.say")).toBe("new True");
  });

  test("a requirement that does not exist fails the execution with the end of the log, until it is built anew", async () => {
    const directory = directories(pythonPack("broken", "3.0.0"));
    await loadDirectory(world.services, directory);
    const failed = await world.ended(await world.execute("broken.say"), longMs);
    expect(failed).toMatchObject({ status: "failed", error: { code: "ENVIRONMENT_FAILED" } });
    expect(failed.error?.message).toMatch(/The environment of the pack "broken" for core\.action\.python/);
    expect(failed.error?.message).toContain("No matching distribution found for answer==3.0.0");
    const [first] = await environmentsOf(world, "broken");
    expect(first).toMatchObject({ status: "failed", error: expect.stringContaining("exited with code 1") });

    // The failure is remembered: another execution does not build again at once.
    expect(await world.ended(await world.execute("broken.say"))).toMatchObject({ error: failed.error });
    expect((await environmentsOf(world, "broken"))[0]?.path).toBe(first?.path);

    writeWheel(join(directory, "wheels"), "3.0.0", "found");
    await commit(world.services, rebuildEnvironment, world.session, { pack: "broken", runtime: "core.action.python" });
    expect(await printed(world, "broken.say")).toBe("found True");
  });

  test("only those that exist can be built anew, by those who may change the pack", async () => {
    const rebuild = commit(world.services, rebuildEnvironment, world.session, {
      pack: "core",
      runtime: "core.action.python",
    });
    await expect(rebuild).rejects.toThrow('the pack "core" has no environment for "core.action.python": it has none');
    const reader = { ...world.session, grants: [{ resource: "pack", actions: ["read"] }] } satisfies Session;
    const input = { pack: "first", runtime: "core.action.python" };
    await expect(commit(world.services, rebuildEnvironment, reader, input)).rejects.toThrow(ForbiddenError);
  });
});

describe("environments for Node.js", () => {
  let world: World;
  beforeAll(async () => {
    world = await createWorld();
    await world.startWorker();
  });
  afterAll(() => world[Symbol.asyncDispose]());

  test("two packs have different versions of one library, for modules of both kinds", async () => {
    for (const [ref, version] of [
      ["first", "1.0.0"],
      ["second", "2.0.0"],
    ] as const) {
      const directory = directories(nodePack(ref, version));
      writeTarball(join(directory, "vendor"), version, `value ${version}`);
      await loadDirectory(world.services, directory);
    }
    expect(await printed(world, "first.module")).toBe("value 1.0.0");
    expect(await printed(world, "second.module")).toBe("value 2.0.0");
    expect(await printed(world, "second.common")).toBe("value 2.0.0 false");
  });

  test("a change of other files is run in the same environment", async () => {
    const directory = directories(nodePack("edited", "1.0.0"));
    writeTarball(join(directory, "vendor"), "1.0.0", "same");
    await loadDirectory(world.services, directory);
    expect(await printed(world, "edited.module")).toBe("same");
    writeFileSync(join(directory, "actions", "module.mjs"), `${moduleFile}console.log("edited");\n`);
    await loadDirectory(world.services, directory);
    expect(await printed(world, "edited.module")).toBe("edited");
    expect(await environmentsOf(world, "edited")).toHaveLength(1);
  });

  test("an execution that waits for a build can be cancelled, shows why it waits, and the log grows meanwhile", async () => {
    const directory = directories(nodePack("slow", "1.0.0"));
    const gate = join(directory, "gate");
    const script = `echo installing; while [ ! -e ${gate} ]; do sleep 0.05; done`;
    writeTarball(join(directory, "vendor"), "1.0.0", "slow", { install: script });
    await loadDirectory(world.services, directory);
    const [cancelled, kept] = [await world.execute("slow.module", {}, 2), await world.execute("slow.module", {}, 2)];
    const waiting = 'Waiting for the environment of the pack "slow" in core.action.nodejs.';
    await until(async () => (await world.log(cancelled, "system")).includes(waiting), "the reason for waiting");
    await commit(world.services, cancelExecution, world.session, { id: BigInt(cancelled), reason: null });
    expect(await world.ended(cancelled)).toMatchObject({ status: "cancelled" });
    await until(async () => (await environmentsOf(world, "slow"))[0]?.log?.includes("$ npm install"), "the log");
    expect((await environmentsOf(world, "slow"))[0]?.status).toBe("installing");
    // The time-out of 2 s begins when the environment is ready.
    const late = await world.one<{ late: boolean }>(
      sql`select deadline > now() + interval '10 minutes' as late from attune.execution where id = ${kept}::bigint`,
    );
    expect(late).toEqual({ late: true });
    expect(isTerminal((await world.execution(kept)).status)).toBe(false);
    writeFileSync(gate, "");
    expect(await world.ended(kept, longMs)).toMatchObject({ status: "completed" });
  });
});

const runAction = `mutation { executeAction(input: {action: "cut.module"}) { ... on ExecuteActionPayload { execution { id } }
  ... on Error { message } } }`;
const readBack = `query ($id: ID!) { execution(id: $id) { status error }
  packByRef(ref: "cut") { environments(first: 9) { nodes { status path installLog installError runtime { ref } } } } }`;

interface ReadBack {
  execution: { status: string; error: unknown };
  packByRef: {
    environments: { nodes: { status: string; path: string; installLog: string; runtime: { ref: string } }[] };
  };
}

test("a build that kill -9 cuts is ended and made again by the next start, in a new directory", async () => {
  const directory = directories(nodePack("cut", "1.0.0"));
  const outside = directories({});
  const [pid, root] = [join(outside, "pid"), join(outside, "environments")];
  const script = `if [ -e ${pid} ]; then exit 0; fi; echo $$ > ${pid}; exec sleep 1000`;
  writeTarball(join(directory, "vendor"), "1.0.0", "whole", { install: script });
  const location = await cloneDatabase("core");
  const settings = { ATTUNE__PACKS__DIRS: directory, ATTUNE__WORKER__ENVIRONMENTS_DIR: root };
  const first = await startProcess(location, settings);
  await until(() => existsSync(pid) && readFileSync(pid, "utf8").endsWith("\n"), "the build's script", longMs);
  const builder = Number(readFileSync(pid, "utf8"));
  const builds = () => readdirSync(root).filter((name) => name.startsWith("cut."));
  const [cut] = builds();
  await first.kill();
  expect(isRunning(builder)).toBe(true);

  await using second = await startProcess(location, settings);
  const { executeAction } = await request<{ executeAction: { execution: { id: string } } }>(second, runAction);
  const { id } = executeAction.execution;
  const read = () => request<ReadBack>(second, readBack, { id });
  await until(async () => ["COMPLETED", "FAILED"].includes((await read()).execution.status), "its end", longMs);
  const { execution, packByRef: pack } = await read();
  expect(execution).toEqual({ status: "COMPLETED", error: null });
  expect(pack.environments.nodes).toMatchObject([{ status: "READY", runtime: { ref: "core.action.nodejs" } }]);
  expect(isRunning(builder)).toBe(false);
  await until(() => !builds().includes(cut ?? ""), "the removal of what was cut");
  expect(builds().map((name) => join(root, name))).toEqual([pack.environments.nodes[0]?.path]);
});

function isRunning(pid: number): boolean {
  try {
    return !/\) Z /.test(readFileSync(`/proc/${pid}/stat`, "latin1"));
  } catch {
    return false;
  }
}
