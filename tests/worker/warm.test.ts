import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { endLostProcesses } from "../../src/lib/action-processes.ts";
import { globalId } from "../../src/lib/global-id.ts";
import { createLog } from "../../src/log.ts";
import { createMetrics } from "../../src/metrics.ts";
import { type ProcessSpec, type Started, type Starter, startCold } from "../../src/process/start.ts";
import { createInterpreters, type WarmInterpreters } from "../../src/worker/warm/warm.ts";
import { processesWith } from "../support/processes.ts";
import { until } from "../support/until.ts";
import { type AgreeCase, nodeCases, pythonCases } from "./fixtures/agree.ts";
import { run } from "./fixtures/run.ts";

const services = { log: createLog({ level: "error", format: "json" }), metrics: createMetrics() };
const dir = mkdtempSync(join(tmpdir(), "warm-test-"));
const actions = join(dir, "actions");
mkdirSync(actions);
for (const name of ["report.py", "report.mjs"]) {
  copyFileSync(join(import.meta.dirname, "fixtures", name), join(actions, name));
}
writeFileSync(join(actions, "neighbour.py"), "value = 'from next door'\n");
writeFileSync(join(actions, "neighbour.cjs"), "module.exports = 'from next door';\n");
afterAll(() => rmSync(dir, { recursive: true }));

const path = process.env["PATH"] ?? "";
const runtimes = {
  python: { ref: "core.action.python", command: "python3", extension: "py", variables: { PYTHONUNBUFFERED: "1" } },
  node: { ref: "core.action.nodejs", command: "node", extension: "mjs", variables: {} },
};
type Name = keyof typeof runtimes;

const specOf = (name: Name, file: string): Partial<ProcessSpec> => ({
  command: runtimes[name].command,
  args: [join(actions, file)],
  cwd: dir,
  env: {
    ...{ PATH: path, LANG: "C.UTF-8", HOME: "/nonexistent", ...runtimes[name].variables },
    ...{ ATTUNE_EXEC_ID: "RXhlY3V0aW9uOjE=", ATTUNE_ACTION: "test.action", ATTUNE_WORKER_PROCESS: "a worker" },
  },
  stdin: "",
});

/** Runs an empty action until it is started warm. Returns a starter that throws if an action is started cold. */
async function warmStarter(starter: Starter, name: Name, changes: Partial<ProcessSpec> = {}): Promise<Starter> {
  const plain = `plain.${runtimes[name].extension}`;
  writeFileSync(join(actions, plain), "");
  let last: Started | null = null;
  const observed: Starter = async (spec) => {
    last = await starter(spec);
    return last;
  };
  await until(async () => {
    await run("", { ...specOf(name, plain), ...changes }, undefined, observed);
    return last?.isWarm;
  }, `a warm ${name}`);
  return async (spec) => {
    const started = await starter(spec);
    expect(started.isWarm).toBe(true);
    return started;
  };
}

/** What a run shows, without what differs between two cold runs. */
function comparable({ durationMs: _duration, calls: _calls, ...rest }: Awaited<ReturnType<typeof run>>) {
  const text = JSON.stringify(rest, null, 1);
  return text.replaceAll(/\(node:\d+\)/g, "(node:PID)").replaceAll(/0x[0-9a-f]{8,}/g, "ADDRESS");
}

/** Changes everything that an action can change of its own process. */
const vandals = {
  python: `import builtins, json, locale, os, resource, signal, sys, threading, time
os.environ["LEFT"] = os.environ["ATTUNE_ACTION"] = "behind"
os.umask(0o777)
os.chdir("/")
os.nice(3)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
locale.setlocale(locale.LC_ALL, "C")
json.dumps = builtins.print = lambda *_, **__: None
sys.path.clear()
sys.argv.append("more")
sys.setrecursionlimit(5000)
left = os.open("/dev/null", os.O_RDWR)
os.dup2(left, 60, inheritable=True)
threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
sys.excepthook = sys.stdout = None
sys.modules["neighbour"] = json
`,
  node: `import fs from "node:fs";
process.env.LEFT = process.env.ATTUNE_ACTION = "behind";
process.umask(0o777);
process.chdir("/");
process.on("SIGTERM", () => {});
JSON.stringify = () => "changed";
globalThis.left = fs.openSync("/dev/null");
`,
};

describe.each(Object.keys(runtimes) as Name[])("%s, started warm", (name) => {
  let interpreters: WarmInterpreters;
  let starter: Starter;
  let warm: Starter;
  const scratch = mkdtempSync(join(tmpdir(), "warm-scratch-"));
  beforeAll(async () => {
    interpreters = await createInterpreters(services, { isOn: true, scratch, runAs: null });
    starter = interpreters.starterOf(runtimes[name].ref);
    warm = await warmStarter(starter, name);
  });
  afterAll(() => {
    interpreters[Symbol.dispose]();
    rmSync(scratch, { recursive: true, force: true });
  });
  const { extension } = runtimes[name];
  const write = (file: string, script: string | Buffer) => writeFileSync(join(actions, file), script);
  const runCase = async ({ name: title, script, extension: other, stopsAt, ...limits }: AgreeCase, start: Starter) => {
    const file = `${title.replaceAll(/\W/g, "_")}.${other ?? extension}`;
    write(file, script.includes("latin-1") ? Buffer.from(script, "latin1") : script);
    const abort = new AbortController();
    const heard = (text: string) => {
      if (stopsAt !== undefined && text.includes(stopsAt)) abort.abort();
    };
    return comparable(await run("", { ...specOf(name, file), ...limits, signal: abort.signal }, heard, start));
  };

  test.each(name === "python" ? pythonCases : nodeCases)("an action that $name does the same", async (each) => {
    expect(await runCase(each, warm)).toBe(await runCase(each, startCold));
  });

  const report = async (start: Starter, stdin: string | null = "") => {
    const { logged } = await run("", { ...specOf(name, `report.${extension}`), stdin }, undefined, start);
    expect(logged.stderr).toBe("");
    return JSON.parse(logged.stdout);
  };

  test.each(["", "abc", null])("sees the same of its start, with the input %j", async (stdin) => {
    expect(await report(warm, stdin)).toEqual(await report(startCold, stdin));
  });

  test("sees nothing of the run before it", async () => {
    const before = await report(warm);
    write(`vandal.${extension}`, vandals[name]);
    const done = await run("", specOf(name, `vandal.${extension}`), undefined, warm);
    expect(done).toMatchObject({ exitCode: 0, logged: { stderr: "" } });
    expect(await report(warm)).toEqual(before);
    expect(before).toEqual(await report(startCold));
  });

  test("runs many at once, each with its own input and output", async () => {
    const echo = {
      python: "import sys, os\nprint(os.environ['ATTUNE_ACTION'], sys.stdin.read())",
      node: 'import { readFileSync } from "node:fs";\nconsole.log(process.env.ATTUNE_ACTION, readFileSync(0, "utf8"));',
    };
    write(`echo.${extension}`, echo[name]);
    const spec = specOf(name, `echo.${extension}`);
    const runs = Array.from({ length: 20 }, async (_, n) => {
      const env = { ...spec.env, ATTUNE_ACTION: `action${n}` };
      const { stdout } = await run("", { ...spec, env, stdin: `input${n}` }, undefined, starter);
      expect(stdout).toBe(`action${n} input${n}\n`);
    });
    await Promise.all(runs);
  });

  test("is found by its execution and ended, like any process", async () => {
    const sleep = {
      python: "import time\nprint(1)\ntime.sleep(60)",
      node: "console.log(1);\nsetTimeout(() => {}, 60_000);",
    };
    write(`sleep.${extension}`, sleep[name]);
    const spec = specOf(name, `sleep.${extension}`);
    const dead = { host: "gone", pid: 1, started: "1" };
    const env = { ...spec.env, ATTUNE_EXEC_ID: globalId("Execution", "77"), ATTUNE_WORKER_PROCESS: "gone 1 1" };
    let ended: Promise<boolean> | null = null;
    const heard = () => {
      ended ??= endLostProcesses([{ process: dead, execution: "77" }]);
    };
    await warmStarter(starter, name);
    expect(await run("", { ...spec, env }, (text) => text.startsWith("1") && heard(), warm)).toMatchObject({
      signalName: "SIGKILL",
      stdout: "1\n",
    });
    expect(await ended).toBe(true);
  });

  test("is cancelled while it is started", async () => {
    const abort = new AbortController();
    const cancelled: Starter = async (spec) => {
      const started = await warm(spec);
      abort.abort();
      return started;
    };
    const spec = { ...specOf(name, `sleep.${extension}`), signal: abort.signal };
    expect(await run("", spec, undefined, cancelled)).toMatchObject({ ended: "stopped", signalName: "SIGTERM" });
  });

  test.each([
    [
      "a variable that changes how it starts",
      { env: { [`${name === "node" ? "NODE_OPTIONS" : "PYTHONWARNINGS"}`]: "" } },
    ],
    ["a file that is missing", { args: [join(actions, `missing.${extension}`)] }],
    ["a file of another kind", { args: [join(actions, "other.txt")] }],
    ["a file in a directory with a module of a library's name", { args: [join(dir, "shadows", `plain.${extension}`)] }],
  ])("is started cold: %s", async (title, changes) => {
    mkdirSync(join(dir, "shadows"), { recursive: true });
    writeFileSync(join(dir, "shadows", "json.py"), "raise SystemExit(4)\n");
    writeFileSync(join(dir, "shadows", `plain.${extension}`), name === "python" ? "import json\n" : "");
    write("other.txt", "");
    const spec = {
      ...specOf(name, ""),
      ...changes,
      env: { ...specOf(name, "").env, ...("env" in changes ? changes.env : {}) },
    };
    await warmStarter(starter, name);
    const kinds = new Set<boolean>();
    const observed: Starter = async (each) => {
      const started = await starter(each);
      kinds.add(started.isWarm);
      return started;
    };
    const result = comparable(await run("", spec, undefined, observed));
    // Node.js has no modules that a file in the action's directory could hide.
    expect([...kinds]).toEqual([name === "node" && title.includes("library")]);
    expect(result).toBe(comparable(await run("", spec, undefined, startCold)));
  });

  test("ends when it is not used, and its memory is reported while it is", async () => {
    const other = mkdtempSync(join(tmpdir(), "warm-scratch-"));
    await using cleanup = new AsyncDisposableStack();
    cleanup.defer(() => rmSync(other, { recursive: true, force: true }));
    const metrics = createMetrics();
    const shown = async (metric: string) =>
      Number(new RegExp(`^${metric}{runtime="${runtimes[name].ref}"} (\\d+)`, "m").exec(await metrics.render())?.[1]);
    const brief = cleanup.use(
      await createInterpreters({ ...services, metrics }, { isOn: true, scratch: other, runAs: null, idleMs: 3000 }),
    );
    await warmStarter(brief.starterOf(runtimes[name].ref), name);
    await until(async () => (await shown("attune_worker_interpreters")) === 1, "the interpreter that is kept");
    await until(async () => (await shown("attune_worker_interpreter_bytes")) > 5 * 1024 * 1024, "its memory");
    expect(processesWith(other)).not.toEqual([]);
    await until(async () => (await shown("attune_worker_interpreters")) === 0, "the end of the idle interpreter");
    await until(() => processesWith(other).length === 0, "the end of its process");
    expect(await shown("attune_worker_interpreter_bytes")).toBe(0);
  });
});

describe("the interpreter that forks", () => {
  const scratch = mkdtempSync(join(tmpdir(), "warm-scratch-"));
  let interpreters: WarmInterpreters;
  let starter: Starter;
  beforeAll(async () => {
    interpreters = await createInterpreters(services, { isOn: true, scratch, runAs: null });
    starter = interpreters.starterOf("core.action.python");
  });
  afterAll(() => {
    interpreters[Symbol.dispose]();
    rmSync(scratch, { recursive: true, force: true });
  });
  const forking = () => processesWith(join(scratch, "warm/fork.py")).map(Number);

  test("may be killed while an action runs, which fails and says why; the next ones run", async () => {
    const warm = await warmStarter(starter, "python");
    writeFileSync(join(actions, "waits.py"), "import os, time\nos.write(1, b'%d.' % os.getppid())\ntime.sleep(60)\n");
    const result = await run(
      "",
      specOf("python", "waits.py"),
      (text) => {
        if (/^\d+\.$/.test(text)) process.kill(Number.parseInt(text, 10), "SIGKILL");
      },
      warm,
    );
    expect(result).toMatchObject({ ended: "exited", exitCode: null, signalName: "SIGKILL" });
    expect(result.logged.system).toBe(
      "The interpreter that had started it ended: SIGKILL was sent to the process group.\n",
    );
    await until(() => forking().length === 0, "the end of its forks");
    const next = await run("", { ...specOf("python", "plain.py") }, undefined, starter);
    expect(next).toMatchObject({ ended: "exited", exitCode: 0 });
    await warmStarter(starter, "python");
  });

  test("is replaced when what it was started from changes", async () => {
    const library = join(dir, "library");
    mkdirSync(library);
    const changes = { env: { ...specOf("python", "").env, PYTHONPATH: library } };
    await warmStarter(starter, "python", changes);
    const before = forking();
    writeFileSync(join(library, "new.py"), "value = 5\n");
    writeFileSync(join(actions, "uses.py"), "import new\nprint(new.value)\n");
    const kinds: boolean[] = [];
    const observed: Starter = async (spec) => {
      const started = await starter(spec);
      kinds.push(started.isWarm);
      return started;
    };
    expect(await run("", { ...specOf("python", "uses.py"), ...changes }, undefined, observed)).toMatchObject({
      stdout: "5\n",
    });
    expect(kinds).toEqual([false]);
    await warmStarter(starter, "python", changes);
    expect(forking().filter((pid) => !before.includes(pid))).not.toEqual([]);
  });
});
