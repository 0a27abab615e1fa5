import { execFileSync } from "node:child_process";
import { chmodSync, existsSync } from "node:fs";
import { join } from "node:path";
import { sql } from "drizzle-orm";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { readConfig } from "../../src/config.ts";
import { installPack } from "../../src/execution/install-pack.ts";
import { isTerminal } from "../../src/execution/states.ts";
import { testPack } from "../../src/execution/test-pack.ts";
import { commit } from "../support/commit.ts";
import { writeTarball, writeWheel } from "../support/library.ts";
import { loadDirectory, packDirectories } from "../support/pack.ts";
import { until } from "../support/until.ts";
import { createWorld, type World } from "../support/world.ts";

const given = {
  ...{ PATH: process.env["PATH"], HOME: "/home/attune", LC_ALL: "C.UTF-8", https_proxy: "http://proxy:3128" },
  ...{
    NODE_EXTRA_CA_CERTS: "/etc/ca.pem",
    REGION: "eu",
    AWS_SECRET_ACCESS_KEY: "no",
    ATTUNE__SERVER__HOST: "127.0.0.1",
  },
};

describe("the environment of actions", () => {
  const read = (extra: Record<string, string>) => readConfig({ ...given, ...extra }, false);

  test("has locale, proxies and certificates, what the setting names, and nothing else of the server's", () => {
    expect(read({ ATTUNE__WORKER__PASS_ENV: "REGION, MISSING" }).actionBase).toEqual({
      ...{ PATH: process.env["PATH"], HOME: "/home/attune", LC_ALL: "C.UTF-8", https_proxy: "http://proxy:3128" },
      ...{ NODE_EXTRA_CA_CERTS: "/etc/ca.pem", REGION: "eu" },
    });
  });

  test("is read with the worker's labels and the slots of single runtimes", () => {
    const { labels, runtimeSlots } = read({
      ATTUNE__WORKER__LABELS: "gpu=yes, zone=eu-1",
      ATTUNE__WORKER__RUNTIME_SLOTS: "core.action.python=2,core.action.shell=5",
    });
    expect(labels).toEqual({ gpu: "yes", zone: "eu-1" });
    expect(Object.fromEntries(runtimeSlots)).toEqual({ "core.action.python": 2, "core.action.shell": 5 });
  });

  test.each([
    ["ATTUNE__WORKER__LABELS", "gpu", /names with values/],
    ["ATTUNE__WORKER__LABELS", "gpu=a,gpu=b", /names one twice/],
    ["ATTUNE__WORKER__LABELS", "host=here", /may not name host/],
    ["ATTUNE__WORKER__RUNTIME_SLOTS", "core.action.python=0", /numbers of slots/],
    ["ATTUNE__WORKER__RUNTIME_SLOTS", "core.action.python", /numbers of slots/],
    ["ATTUNE__EXECUTOR__SCHEDULE_TIMEOUT_SECONDS", "0", /whole number from 1/],
    ["ATTUNE__WORKER__PASS_ENV", "ATTUNE__DATABASE__URL", /none of Attune's own/],
    ["ATTUNE__WORKER__PASS_ENV", "attune_token_file", /none of Attune's own/],
    ["ATTUNE__WORKER__PASS_ENV", "DATABASE_URL", /none of Attune's own/],
    ["ATTUNE__WORKER__PASS_ENV", "A-B", /names of variables/],
    ["ATTUNE__WORKER__RUN_AS", "nobody", /numbers of a user and a group/],
    ["ATTUNE__SERVER__PUBLIC_URL", "https://a.example.org/graphql", /without a path/],
    ["ATTUNE__SERVER__PUBLIC_URL", "a.example.org", /must be an origin/],
  ])("%s=%s is refused", (name, value, sentence) => {
    expect(() => read({ [name]: value })).toThrow(sentence);
  });
});

const packFile = "ref: seen\nlabel: Seen\nversion: 1.0.0\n";
const python = `import os, sys, time
print(os.environ["PYTHONUNBUFFERED"])
print("first")
time.sleep(60)
`;
const files = {
  "pack.yaml": packFile,
  "actions/slow.yaml": "ref: seen.slow\nlabel: Slow\nrunner_type: python\nentry_point: actions/slow.py\n",
  "actions/slow.py": python,
};

describe("an action in Python", () => {
  const directories = packDirectories();
  let world: World;
  beforeAll(async () => {
    world = await createWorld();
    await loadDirectory(world.services, directories(files));
    await world.startWorker();
  });
  afterAll(() => world[Symbol.asyncDispose]());

  test("shows its output while it runs, and keeps it when its time is over", async () => {
    const id = await world.execute("seen.slow", {}, 3);
    await until(async () => (await world.log(id, "stdout")).includes("first\n"), "the first line");
    const { status } = await world.execution(id);
    expect(isTerminal(status)).toBe(false);
    expect(await world.ended(id)).toMatchObject({ status: "timeout" });
    expect(await world.log(id, "stdout")).toBe("1\nfirst\n");
  });
});

const isRoot = process.platform === "linux" && process.getuid?.() === 0;
const secretPack = {
  "pack.yaml": packFile.replaceAll("seen", "other"),
  "actions/who.yaml": `ref: other.who
label: Who
runner_type: shell
entry_point: actions/who.sh
parameter_delivery: file
parameter_format: dotenv
parameters: {word: {type: string}}
`,
  "actions/who.sh": `. "$ATTUNE_PARAMETER_FILE"
echo "$(id -u):$(id -g):$(id -G) $word $(stat -c %a:%u "$ATTUNE_PARAMETER_FILE") $(cd ~ && pwd)"
echo kept > "$ATTUNE_ARTIFACTS_DIR/note.txt"
echo "$(cat "/proc/$PPID/environ" 2>&1 | wc -c)"
`,
};

// Only root can start processes of other users.
describe.runIf(isRoot)("processes of another user", () => {
  const directories = packDirectories();
  let world: World;
  let directory: string;
  beforeAll(async () => {
    world = await createWorld();
    directory = directories(secretPack);
    chmodSync(directory, 0o755);
    await loadDirectory(world.services, directory);
    const installs = { directory: join(world.environmentsDir, "packs"), sources: ["file://"], indexes: [] };
    await world.startWorker(10, 5000, [], { runAs: { uid: 65_534, gid: 65_534 }, installs });
  });
  afterAll(() => world[Symbol.asyncDispose]());

  test("read their parameters, write artifacts, have a home of their own, and see nothing of the server's environment", async () => {
    const id = await world.execute("other.who", { word: "hello" });
    expect(await world.ended(id)).toMatchObject({ status: "completed" });
    const [line, environment] = (await world.log(id, "stdout")).split("\n");
    const [ids, word, mode, home] = line?.split(" ") ?? [];
    expect([ids, word, mode]).toEqual(["65534:65534:65534", "hello", "600:65534"]);
    expect(home).toMatch(/execution-/);
    expect(existsSync(home ?? "")).toBe(false);
    expect(environment).toMatch(/^(0|\d\d?)$/); // the message of the refusal, or nothing
    expect(await world.all(sql`select ref from attune.artifact`)).toEqual([{ ref: "other.who/note.txt" }]);
  });

  test("run the tests of packs in copies that they may change, also before an installation", async () => {
    const script = `touch mine && [ "$(id -u)" = 65534 ] && python3 -c "import answer" && echo 1..1 && echo "ok 1 - own"\n`;
    const tested = (ref: string) => {
      const at = directories({
        "pack.yaml": `ref: ${ref}\nlabel: T\nversion: 1.0.0\ntesting: {runners: {shell: {type: script, entry_point: tests/run.sh, result_format: tap}}}\n`,
        "requirements.txt": "--no-index\n--find-links wheels\nanswer==1.0\n",
        "tests/run.sh": script,
      });
      writeWheel(join(at, "wheels"), "1.0", "wheel");
      chmodSync(at, 0o755);
      return at;
    };
    await loadDirectory(world.services, tested("loaded"));
    const input = { pack: "loaded", runners: null, noCache: false };
    const { execution } = await commit(world.services, testPack, world.session, input);
    expect(await world.ended(String(execution), 30_000)).toMatchObject({ status: "completed", error: null });
    const repository = tested("cloned");
    const git = (...args: string[]) =>
      execFileSync("git", ["-c", "user.name=t", "-c", "user.email=t@example.org", ...args], { cwd: repository });
    git("init", "--quiet");
    git("add", ".");
    git("commit", "--quiet", "-m", "first");
    const source = { artifact: null, archive: null, name: null, git: { url: `file://${repository}`, ref: null } };
    const { id } = await commit(world.services, installPack, world.session, {
      ...source,
      skipTests: false,
      force: false,
      withDependencies: false,
    });
    expect(await world.ended(String(id), 30_000)).toMatchObject({
      ...{ status: "completed", error: null, result: { data: { tests: { passed: 1, failed: 0 } } } },
    });
  });

  test("run in environments that they have built, and learn of a directory that they cannot enter", async () => {
    const pack = {
      "pack.yaml": packFile.replaceAll("seen", "module"),
      "package.json": JSON.stringify({ name: "module", dependencies: { answer: "file:vendor/answer-1.0.0.tgz" } }),
      "actions/say.yaml": "ref: module.say\nlabel: Say\nrunner_type: node\nentry_point: actions/say.mjs\n",
      "actions/say.mjs":
        'import { value } from "answer";\nimport { statSync } from "node:fs";\nimport { fileURLToPath } from "node:url";\nconsole.log(value, process.getuid(), statSync(fileURLToPath(import.meta.resolve("answer"))).uid);\n',
    };
    const own = directories(pack);
    chmodSync(own, 0o755);
    writeTarball(join(own, "vendor"), "1.0.0", "found");
    await loadDirectory(world.services, own);
    const id = await world.execute("module.say");
    expect(await world.ended(id, 60_000)).toMatchObject({ status: "completed", error: null });
    expect(await world.log(id, "stdout")).toBe("found 65534 65534\n");

    chmodSync(world.environmentsDir, 0o700);
    const other = await createClosed();
    expect(other).toMatchObject({ status: "failed", error: { code: "ENVIRONMENT_FAILED" } });
    expect(other.error?.message).toContain(
      `The user 65534, as which actions run, cannot enter ${world.environmentsDir}`,
    );
  });

  /** Runs the same action with another requirement, so that it needs another environment. */
  async function createClosed() {
    const closed = directories({
      "pack.yaml": packFile.replaceAll("seen", "closed"),
      "requirements.txt": "nothing-of-this-name==1\n",
      "actions/say.yaml": "ref: closed.say\nlabel: Say\nrunner_type: python\nentry_point: actions/say.py\n",
      "actions/say.py": "print(1)\n",
    });
    await loadDirectory(world.services, closed);
    return await world.ended(await world.execute("closed.say"), 60_000);
  }

  test("are ended when their time is over", async () => {
    const id = await world.execute("core.shell", { command: "trap '' TERM; sleep 61 & wait; sleep 62" }, 1);
    expect(await world.ended(id, 20_000)).toMatchObject({ status: "timeout" });
    expect(await world.log(id, "system")).toContain("SIGKILL");
  });
});
