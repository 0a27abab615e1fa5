import { chmodSync, existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { sql } from "drizzle-orm";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openSession } from "../../src/access/session.ts";
import { cancelExecution } from "../../src/execution/cancel.ts";
import { executeAction } from "../../src/execution/execute.ts";
import { rerunExecution } from "../../src/execution/rerun.ts";
import { type TestPackInput, testPack } from "../../src/execution/test-pack.ts";
import type { JsonObject } from "../../src/lib/json.ts";
import { createRule } from "../../src/rule/rule.ts";
import { startDeadline } from "../../src/worker/deadline.ts";
import { type Api, createApi } from "../support/api.ts";
import { commit } from "../support/commit.ts";
import { writePackage, writeTarball, writeWheel } from "../support/library.ts";
import { loadDirectory, packDirectories } from "../support/pack.ts";
import { until } from "../support/until.ts";
import { createWorld, type Part, type World } from "../support/world.ts";

const directories = packDirectories();
const longMs = 60_000;

let world: World;
let api: Api;
let worker: Part;
beforeAll(async () => {
  world = await createWorld();
  api = await createApi(world.services);
  worker = await world.startWorker(4, 10_000, [], {}, { warm: false });
});
afterAll(async () => {
  await api[Symbol.asyncDispose]();
  await world[Symbol.asyncDispose]();
});

/** Writes a pack with that section, given as JSON, which is YAML. */
const packOf = (ref: string, testing: object | null, files: Record<string, string>) =>
  directories({
    "pack.yaml": `ref: ${ref}\nlabel: ${ref}\nversion: 1.2.3\n${testing ? `testing: ${JSON.stringify(testing)}\n` : ""}`,
    "tests/.keep": "",
    ...files,
  });

const ask = async (pack: string, more: { runners?: string[]; noCache?: boolean } = {}) =>
  await commit(world.services, testPack, world.session, {
    pack,
    runners: more.runners ?? null,
    noCache: more.noCache ?? false,
  });

interface Case {
  name: string;
  status: string;
  error_message?: string;
  stdout?: string;
  stderr?: string;
}
interface Suite {
  name: string;
  total: number;
  passed: number;
  failed: number;
  skipped: number;
  duration_ms: number;
  fault?: { kind: string; message: string };
  test_cases: Case[];
}
interface StoredRun {
  id: string;
  version: string;
  reason: string;
  total: number;
  passed: number;
  failed: number;
  skipped: number;
  rate: number;
  result: JsonObject & { succeeded: boolean; message: string | null; test_suites: Suite[] };
}

/** Tests a pack, and returns how its execution ended and the run that it stored. */
async function tested(pack: string, more: { runners?: string[]; noCache?: boolean } = {}) {
  const { execution } = await ask(pack, more);
  const ended = await world.ended(String(execution), longMs);
  const [run] = await world.all<StoredRun>(
    sql`select id::text, pack_version as version, trigger_reason as reason, total_tests as total, passed, failed, skipped,
        pass_rate as rate, result from attune.pack_test_execution where execution = ${String(execution)}::bigint`,
  );
  return { id: String(execution), ended, run: run ?? null };
}

const suitesOf = (run: StoredRun | null) =>
  Object.fromEntries((run?.result.test_suites ?? []).map((suite) => [suite.name, suite]));

const script = (entry_point: string, more: object = {}) => ({ type: "script", entry_point, timeout: 30, ...more });
const simple = (passed: number, failed = 0) =>
  `echo "Total Tests: ${passed + failed}"; echo "Passed: ${passed}"; echo "Failed: ${failed}"\n`;

test("the core pack passes its tests, which are kept with the suites, and are not run again for the same release", async () => {
  const query = `mutation ($input: TestPackInput!) { testPack(input: $input) { ... on TestPackPayload { isCached
    pack { ref } execution { id actionRef } run { id succeeded } } ... on Error { message } } }`;
  const first = await api.ask(world.session, query, { input: { pack: "core", noCache: true } });
  expect(first.errors).toBeUndefined();
  const asked = first.data.testPack;
  expect(asked).toMatchObject({
    isCached: false,
    pack: { ref: "core" },
    execution: { actionRef: "core.test_pack" },
    run: null,
  });
  const execution = Buffer.from(asked.execution.id, "base64").toString().split(":")[1] ?? "";
  expect(await world.ended(execution, longMs)).toMatchObject({
    status: "completed",
    result: {
      exit_code: 0,
      data: { succeeded: true, total_tests: 7, test_suites: [{ name: "actions", test_cases: [] }] },
    },
  });
  const { data, errors } = await api.ask(
    world.session,
    `query ($execution: ID!) { packTestExecutions(first: 1, where: { pack: { isNull: false } }) { nodes {
      id packVersion triggerReason totalTests passed failed skipped passRate hasPassed succeeded pack { ref hasPassingTests } execution { id }
      suites { name runnerType total passed failed skipped fault testCases { name status errorMessage }
        broken: testCases(status: [FAILED, ERROR]) { name } } } }
      packTestProgressMessages(where: { execution: { eq: $execution } }) { ref runner status total passed failed runId executionId } }`,
    { execution: asked.execution.id },
  );
  expect(errors).toBeUndefined();
  const [run] = data.packTestExecutions.nodes;
  expect(run).toMatchObject({
    ...{ packVersion: "1.0.0", triggerReason: "MANUAL", totalTests: 7, passed: 7, failed: 0, skipped: 0, passRate: 1 },
    ...{
      hasPassed: true,
      succeeded: true,
      pack: { ref: "core", hasPassingTests: true },
      execution: { id: asked.execution.id },
    },
    suites: [{ name: "actions", runnerType: "script", total: 7, passed: 7, failed: 0, fault: null, broken: [] }],
  });
  expect(run.suites[0].testCases[0]).toEqual({
    name: "core.echo prints its message",
    status: "PASSED",
    errorMessage: null,
  });
  const about = { ref: "core", executionId: asked.execution.id };
  expect(data.packTestProgressMessages).toEqual([
    { ...about, runner: "actions", status: "RUNNING", total: 0, passed: 0, failed: 0, runId: null },
    { ...about, runner: "actions", status: "PASSED", total: 7, passed: 7, failed: 0, runId: null },
    { ...about, runner: null, status: "PASSED", total: 7, passed: 7, failed: 0, runId: run.id },
  ]);
  expect(await world.log(execution, "stdout")).toContain("actions | ok 1 - core.echo prints its message\n");
  const again = await api.ask(world.session, query, { input: { pack: "core" } });
  expect(again.data.testPack).toMatchObject({ isCached: true, execution: null, run: { id: run.id, succeeded: true } });
});

test("every type of runner and every format is run in a copy of the pack, several at once", async () => {
  const directory = packOf(
    "kinds",
    {
      result_path: "out/",
      runners: {
        shell: script("tests/run.sh"),
        several: script("tests/part_*.sh"),
        json: script("tests/report.sh", { result_format: "json" }),
        bash: script("tests/arrays.sh", { result_format: "tap" }),
        program: script("tests/program", { result_format: "tap" }),
        python_script: script("tests/run.py", { result_format: "junit-xml" }),
        unittest_file: { type: "unittest", entry_point: "tests/test_sum.py" },
        unittest_folder: { type: "unittest", entry_point: "tests/" },
        node: { type: "node", entry_point: "tests/*.test.mjs" },
        node_junit: { type: "node", entry_point: "tests", result_format: "junit-xml" },
      },
    },
    {
      "lib.py": "def add(a, b): return a + b\n",
      "tests/run.sh": `touch changed && test "$ATTUNE_PACK_REF" = kinds && test -n "$ATTUNE_EXEC_ID" && ${simple(3)}`,
      "tests/part_1.sh": simple(2),
      "tests/part_2.sh": `test ! -e changed && ${simple(4)}`,
      "tests/report.sh": `echo noise; mkdir -p out/deep
printf '{"test_suites":[{"name":"a","test_cases":[{"name":"one","status":"passed"},{"name":"two","status":"skipped"}]}]}' > out/deep/a.json
`,
      "out/old.json": "not to be read",
      "tests/arrays.sh":
        // biome-ignore lint/suspicious/noTemplateCurlyInString: it is one of the shell
        '#!/usr/bin/env bash\nlist=(a b)\n[[ ${#list[@]} == 2 ]] && echo "1..1" && echo "ok 1 - arrays"\n',
      "tests/program": '#!/usr/bin/awk -f\nBEGIN { print "1..1\\nok 1 - awk" }\n',
      "tests/run.py":
        "import lib\nprint('<testsuite><testcase name=\"sum\"/></testsuite>' if lib.add(1, 2) == 3 else '')\n",
      "tests/test_sum.py":
        "import unittest, lib\nclass Sum(unittest.TestCase):\n  def test_sum(self): self.assertEqual(lib.add(1, 2), 3)\n  @unittest.skip('later')\n  def test_later(self): pass\n",
      "tests/one.test.mjs":
        "import test from 'node:test';\ntest('outer', async (t) => { await t.test('inner', () => {}); });\ntest('other', () => {});\n",
    },
  );
  chmodSync(join(directory, "tests/program"), 0o755);
  await loadDirectory(world.services, directory);
  const { ended, run } = await tested("kinds");
  expect(ended.error).toBeNull();
  const counts = Object.fromEntries(
    Object.values(suitesOf(run)).map(({ name, passed, failed, skipped, fault }) => [
      name,
      [passed, failed, skipped, fault],
    ]),
  );
  expect(counts).toEqual({
    shell: [3, 0, 0, undefined],
    several: [6, 0, 0, undefined],
    json: [1, 0, 1, undefined],
    bash: [1, 0, 0, undefined],
    program: [1, 0, 0, undefined],
    python_script: [1, 0, 0, undefined],
    unittest_file: [1, 0, 1, undefined],
    unittest_folder: [1, 0, 1, undefined],
    node: [2, 0, 0, undefined],
    node_junit: [2, 0, 0, undefined],
  });
  expect(run).toMatchObject({
    version: "1.2.3",
    reason: "manual",
    total: 22,
    passed: 19,
    failed: 0,
    skipped: 3,
    rate: 1,
  });
  expect(readdirSync(directory).sort()).toEqual(["lib.py", "out", "pack.yaml", "tests"]);
});

/** What runners do wrong, and the fault that their suites have. */
const broken: Readonly<Record<string, { file: string; more?: object; kind: string; says: RegExp }>> = {
  half: { file: "echo 'Total Tests: 1'\n", kind: "truncated", says: /no line "Passed: N", "Failed: N"/ },
  zero: { file: simple(0), kind: "no_tests", says: /reported no tests/ },
  skipped: {
    file: "echo 1..1; echo 'ok 1 - a # SKIP later'\n",
    more: { result_format: "tap" },
    kind: "no_tests",
    says: /No test ran: all 1 were skipped/,
  },
  exit: { file: `${simple(2)}exit 3\n`, kind: "crashed", says: /exited with code 3: it reported no failed test/ },
  crash: { file: `${simple(2)}kill -SEGV $$\n`, kind: "crashed", says: /ended by SIGSEGV/ },
  cut: {
    file: "echo 1..3; echo ok 1 - a\n",
    more: { result_format: "tap" },
    kind: "truncated",
    says: /incorrect number of tests/,
  },
  binary: {
    file: "head -c 5000 /dev/urandom\n",
    more: { result_format: "junit-xml" },
    kind: "unreadable",
    says: /XML/,
  },
  hang: {
    file: 'sh -c "sleep 300 & sleep 300" & echo started; sleep 300\n',
    more: { timeout: 1 },
    kind: "timed_out",
    says: /did not end within 1 s/,
  },
  flood: {
    file: "head -c 12000000 /dev/zero | tr '\\0' x\n",
    more: { result_format: "tap" },
    kind: "unreadable",
    says: /more than 10 MiB/,
  },
};

test("a runner that reports nothing readable, crashes or hangs fails the run, which says which and why", async () => {
  const runners = Object.fromEntries(
    Object.entries(broken).map(([name, { more }]) => [name, script(`tests/${name}.sh`, more)]),
  );
  const files = Object.fromEntries(Object.entries(broken).map(([name, { file }]) => [`tests/${name}.sh`, file]));
  const others = {
    module: { type: "unittest", entry_point: "tests/no-such-name.py" },
    wrong: script("tests/wrong.sh"),
    right: script("tests/right.sh"),
  };
  const more = {
    "tests/no-such-name.py": "raise Exception('does not import')\n",
    "tests/wrong.sh": `echo to stderr >&2\necho 'FAILED tests/a.py::test_b - it broke'\n${simple(1, 1)}exit 1\n`,
    "tests/right.sh": simple(1),
  };
  await loadDirectory(world.services, packOf("broken", { runners: { ...runners, ...others } }, { ...files, ...more }));
  const { id, ended, run } = await tested("broken");
  const suites = suitesOf(run);
  for (const [name, { kind, says }] of Object.entries(broken)) {
    const { fault, failed, test_cases } = suites[name] ?? {};
    expect(fault, name).toEqual({ kind, message: expect.stringMatching(says) });
    expect(failed, name).toBe(1);
    expect(test_cases?.[0], name).toMatchObject({ name: `(${name})`, status: "error", error_message: fault?.message });
  }
  expect(suites["hang"]?.test_cases[0]?.stdout).toBe("started\n");
  expect(suites["wrong"]).toMatchObject({ passed: 1, failed: 1 });
  expect(suites["wrong"]?.fault).toBeUndefined();
  expect(suites["wrong"]?.test_cases[0]).toMatchObject({ name: "tests/a.py::test_b", error_message: "it broke" });
  expect(suites["module"]?.failed).toBeGreaterThan(0);
  expect(suites["right"]).toMatchObject({ passed: 1, failed: 0 });
  expect(ended).toMatchObject({ status: "failed", error: { code: "TESTS_FAILED" } });
  expect(ended.error?.message).toContain("hang: The runner did not end within 1 s");
  // What hung has been ended with its children.
  const left = readdirSync("/proc").filter((pid) => {
    if (!/^\d+$/.test(pid)) return false;
    try {
      return readFileSync(`/proc/${pid}/environ`, "latin1").includes(
        `ATTUNE_EXEC_ID=${Buffer.from(`Execution:${id}`).toString("base64")}`,
      );
    } catch {
      return false;
    }
  });
  expect(left).toEqual([]);
  expect((await ask("broken")).execution, "a run that failed is no answer").not.toBeNull();
});

test("the documented pack passes its tests", async () => {
  const text = readFileSync(join(import.meta.dirname, "../../docs/pack-tests.md"), "utf8");
  const files = [...text.matchAll(/^```\w+ (\S+)\n(.*?)^```$/gms)].map(([, path = "", content = ""]) => [
    path,
    content,
  ]);
  expect(files.length).toBe(5);
  await loadDirectory(world.services, directories(Object.fromEntries(files)));
  expect((await tested("convert")).run).toMatchObject({ total: 3, passed: 3, result: { message: null } });
});

test("a script that counts nothing is one test, which its exit code decides", async () => {
  const files = {
    "tests/good.sh": "echo fine\n",
    "tests/bad.sh": "echo 'it broke' >&2; exit 4\n",
    "tests/mixed_1.sh": simple(2),
    "tests/mixed_2.sh": "",
  };
  const runners = {
    good: script("tests/good.sh"),
    bad: script("tests/bad.sh"),
    mixed: script("tests/mixed_*.sh"),
    slow: script("tests/slow.sh", { timeout: 1 }),
  };
  await loadDirectory(world.services, packOf("silent", { runners }, { ...files, "tests/slow.sh": "sleep 60\n" }));
  const { run } = await tested("silent");
  const suites = suitesOf(run);
  expect(suites["good"]).toMatchObject({
    ...{ total: 1, passed: 1, failed: 0, test_cases: [{ name: "tests/good.sh", status: "passed" }] },
  });
  expect(suites["bad"]).toMatchObject({
    ...{ total: 1, passed: 0, failed: 1 },
    test_cases: [{ name: "tests/bad.sh", status: "failed", error_message: "It exited with code 4." }],
  });
  expect(suites["bad"]?.fault).toBeUndefined();
  expect(suites["mixed"]).toMatchObject({ total: 3, passed: 3 });
  expect(suites["slow"]).toMatchObject({ passed: 0, fault: { kind: "timed_out" } });
});

test("enough tests must pass, as the pack says", async () => {
  const files = { "tests/run.sh": simple(8, 2) };
  const runners = { shell: script("tests/run.sh") };
  await loadDirectory(world.services, packOf("lenient", { runners, min_pass_rate: 0.8 }, files));
  await loadDirectory(world.services, packOf("stricter", { runners, min_pass_rate: 0.81 }, files));
  const [lenient, strict] = [await tested("lenient"), await tested("stricter")];
  expect(lenient).toMatchObject({ ended: { status: "completed" }, run: { rate: 0.8, result: { succeeded: true } } });
  expect(strict.ended.error?.message).toBe("2 of 10 tests failed. The pass rate is 80 %, less than 81 %.");
});

test("a part of the runners can be run; their result is the execution's only", async () => {
  const runners = { one: script("tests/one.sh"), two: script("tests/two.sh") };
  await loadDirectory(
    world.services,
    packOf("parts", { runners }, { "tests/one.sh": simple(1), "tests/two.sh": simple(0, 1) }),
  );
  const { ended, run } = await tested("parts", { runners: ["one"] });
  expect(run).toBeNull();
  expect(ended).toMatchObject({
    status: "completed",
    result: { data: { run: null, total_tests: 1, test_suites: [{ name: "one" }] } },
  });
  await expect(ask("parts", { runners: ["ones"] })).rejects.toThrow(
    /"ones" is no runner of the pack.*did you mean "one"/,
  );
  await expect(ask("parts", { runners: [] })).rejects.toThrow(/expected at least one of one, two/);
});

describe("the files that are tested", () => {
  const runners = { shell: script("tests/a.sh"), other: script("tests/b.sh") };
  const files = { "tests/a.sh": simple(1), "tests/b.sh": simple(2), "tests/c.sh": simple(4) };
  const methods = {
    manifest: { files: { list: "# tests\nshell tests/c.sh # the third\n" }, passed: 4, fault: null },
    executable: {
      files: { list: "#!/bin/sh\necho shell tests/a.sh\necho other tests/c.sh\n" },
      passed: 5,
      fault: null,
    },
    lists_no_file: {
      files: { list: "shell tests/d.sh\n" },
      passed: 0,
      fault: /Line 1 .* "tests\/d.sh", which is no file/,
    },
    lists_no_runner: { files: { list: "shel tests/a.sh\n" }, passed: 0, fault: /names the runner "shel"/ },
    empty: { files: { list: "\n# nothing\n" }, passed: 0, fault: /is empty/ },
    executable_fails: { files: { list: "#!/bin/sh\nexit 4\n" }, passed: 0, fault: /exited with code 4/ },
  };
  for (const [name, { files: given, passed, fault }] of Object.entries(methods)) {
    test(`are those of a ${name.replaceAll("_", " ")}`, async () => {
      const method = name.startsWith("executable") ? "executable" : "manifest";
      const testing = { discovery: { method, path: "list" }, runners };
      await loadDirectory(world.services, packOf(`found_${name}`, testing, { ...files, ...given }));
      const { run } = await tested(`found_${name}`);
      expect(run?.passed).toBe(passed);
      if (fault === null) expect(run?.result.message).toBeNull();
      else expect(run?.result.message).toMatch(fault);
    });
  }
});

test("tests run in the environments of their pack", async () => {
  const directory = packOf(
    "equipped",
    {
      runners: {
        python: { type: "unittest", entry_point: "tests/test_answer.py" },
        node: { type: "node", entry_point: "tests/answer.test.mjs" },
        shell: script("tests/both.sh"),
        jest: { type: "jest", entry_point: "tests" },
      },
    },
    {
      "requirements.txt": "--no-index\n--find-links wheels\nanswer==1.0\n",
      "package.json": JSON.stringify({
        name: "equipped",
        dependencies: { answer: "file:vendor/answer-1.0.0.tgz", jest: "file:vendor/jest-30.0.0.tgz" },
      }),
      // It takes the same options as Jest, and says that each file is a test that has passed.
      "jest.js": `const { writeFileSync } = require("node:fs");
const files = process.argv.slice(process.argv.indexOf("--runTestsByPath") + 1);
const to = process.argv.find((each) => each.startsWith("--outputFile=")).slice(13);
const testResults = files.map((name) => ({ name, status: "passed", assertionResults: [{ fullName: name, status: "passed" }] }));
writeFileSync(to, JSON.stringify({ testResults }));
`,
      "tests/__tests__/deep.js": "",
      "tests/test_answer.py":
        "import unittest\nfrom answer.late import value\nclass Answer(unittest.TestCase):\n  def test_value(self): self.assertEqual(value, 'wheel')\n",
      "tests/answer.test.mjs":
        "import test from 'node:test';\nimport assert from 'node:assert';\nimport { value } from 'answer';\ntest('value', () => assert.equal(value, 'tarball'));\n",
      "tests/both.sh": `python3 -c 'import answer' && node -e 'require("answer")' && ${simple(1)}`,
    },
  );
  writeWheel(join(directory, "wheels"), "1.0", "wheel");
  writeTarball(join(directory, "vendor"), "1.0.0", "tarball");
  const program = readFileSync(join(directory, "jest.js"), "utf8");
  writePackage(join(directory, "vendor"), { name: "jest", version: "30.0.0" }, { "bin/jest.js": program });
  await loadDirectory(world.services, directory);
  const { run } = await tested("equipped");
  expect(run?.result.message).toBeNull();
  expect(run).toMatchObject({ passed: 5, failed: 0 });
  expect(suitesOf(run)["jest"]?.test_cases.map(({ name }) => name)).toEqual([
    ...["tests/__tests__/deep.js", "tests/answer.test.mjs"],
  ]);
});

test("a runner without its environment says why", async () => {
  const files = {
    "requirements.txt": "--no-index\nmissing-library\n",
    "tests/test_a.py": "",
    "tests/run.sh": simple(1),
  };
  const runners = { python: { type: "unittest", entry_point: "tests/test_a.py" }, shell: script("tests/run.sh") };
  await loadDirectory(world.services, packOf("bare", { runners }, files));
  const suites = suitesOf((await tested("bare")).run);
  expect(suites["python"]?.fault).toEqual({ kind: "not_started", message: expect.stringContaining("missing-library") });
});

test("a result is not read through a link that tests left", async () => {
  const secret = directories({
    "secret.json": '{"test_suites":[{"name":"","test_cases":[{"name":"x","status":"passed"}]}]}',
  });
  const files = {
    "tests/file.sh": `ln -s ${secret}/secret.json out/a.json\n`,
    "tests/folder.sh": `rm -r out && ln -s ${secret} out\n`,
  };
  const runners = {
    file: script("tests/file.sh", { result_format: "json" }),
    folder: script("tests/folder.sh", { result_format: "json" }),
  };
  await loadDirectory(world.services, packOf("linked", { result_path: "out", runners }, files));
  const suites = suitesOf((await tested("linked")).run);
  expect([suites["file"]?.fault?.kind, suites["folder"]?.fault?.kind]).toEqual(["unreadable", "unreadable"]);
});

test("files that changed after they were loaded are not tested as if they were the release", async () => {
  const directory = packOf("edited", { runners: { shell: script("tests/run.sh") } }, { "tests/run.sh": simple(1) });
  await loadDirectory(world.services, directory);
  writeFileSync(join(directory, "tests/run.sh"), simple(2));
  const { ended, run } = await tested("edited");
  expect(ended.error).toMatchObject({ code: "RELEASE_CHANGED", message: expect.stringContaining("load it again") });
  expect(run).toBeNull();
});

test("a run ends with the time-out of its execution, without its processes, and stores nothing", async () => {
  const pid = join(directories({}), "pid");
  const runners = { hang: script("tests/hang.sh", { timeout: 300 }) };
  await loadDirectory(world.services, packOf("late", { runners }, { "tests/hang.sh": `echo $$ >${pid}; sleep 300\n` }));
  const { execution } = await commit(
    world.services,
    async (tx, session, input: TestPackInput) => {
      const asked = await testPack(tx, session, input);
      await tx.db.execute(
        sql`update attune.execution set timeout_seconds = 2 where id = ${String(asked.execution)}::bigint`,
      );
      return asked;
    },
    world.session,
    { pack: "late", runners: null, noCache: false },
  );
  expect(await world.ended(String(execution), longMs)).toMatchObject({
    ...{ status: "timeout", error: { code: "TIMEOUT", message: "The action ran longer than 2 s." } },
  });
  const hanging = Number(readFileSync(pid, "utf8"));
  expect(() => process.kill(hanging, 0)).toThrow("ESRCH");
  const stored = sql`select from attune.pack_test_execution where execution = ${String(execution)}::bigint`;
  expect(await world.all(stored)).toEqual([]);
});

test("a deadline does not run while it is paused, and begins anew with the end of the last pause", async () => {
  using deadline = startDeadline(50);
  const [first, second] = [deadline.pause(), deadline.pause()];
  first[Symbol.dispose]();
  await sleep(100);
  expect(deadline.signal.aborted).toBe(false);
  second[Symbol.dispose]();
  expect(deadline.signal.aborted).toBe(false);
  await until(() => deadline.signal.aborted, "the end");
});

test("a run that is cancelled ends its processes and stores nothing", async () => {
  const mark = join(directories({}), "started");
  const files = { "tests/run.sh": `touch ${mark}; sleep 300\n` };
  await loadDirectory(world.services, packOf("endless", { runners: { shell: script("tests/run.sh") } }, files));
  const { execution } = await ask("endless");
  await until(() => existsSync(mark), "the tests to start");
  await commit(world.services, cancelExecution, world.session, { id: execution ?? 0n, reason: null });
  expect(await world.ended(String(execution))).toMatchObject({ status: "cancelled" });
  expect(
    await world.all(sql`select from attune.pack_test_execution where execution = ${String(execution)}::bigint`),
  ).toEqual([]);
});

test("an attempt that follows one that had stored its run stores no other, and runs nothing", async () => {
  const mark = join(directories({}), "ran");
  await loadDirectory(
    world.services,
    packOf("stored", { runners: { shell: script("tests/run.sh") } }, { "tests/run.sh": `touch ${mark}\n` }),
  );
  await worker.stop();
  const { execution } = await ask("stored");
  await world.services.db.execute(
    sql`insert into attune.pack_test_execution (pack_id, pack_version, trigger_reason, total_tests, passed, failed, skipped, pass_rate,
        duration_ms, result, execution)
      select id, '1.2.3', 'manual', 1, 1, 0, 0, 1, 5, '{"succeeded": true, "duration_ms": 5, "test_suites": []}', ${String(execution)}::bigint
        from attune.pack where ref = 'stored'`,
  );
  worker = await world.startWorker(4, 10_000, [], {}, { warm: false });
  expect(await world.ended(String(execution))).toMatchObject({ status: "completed", result: { exit_code: 0 } });
  expect(existsSync(mark)).toBe(false);
});

describe("is refused:", () => {
  test("a pack without tests, with disabled ones, or made by hand; one that does not exist, or may not be changed", async () => {
    await loadDirectory(world.services, packOf("untested", null, {}));
    const off = { enabled: false, runners: { shell: script("tests/none.sh") } };
    await loadDirectory(world.services, packOf("off", off, {}));
    await expect(ask("untested")).rejects.toThrow('The pack "untested" has no tests: its pack.yaml has no "testing".');
    await expect(ask("off")).rejects.toThrow("its pack.yaml disables them");
    await expect(ask("default")).rejects.toThrow("only packs of files have tests");
    await expect(ask("nowhere")).rejects.toThrow(/nowhere/);
    const reader = { ...openSession("1"), grants: [{ resource: "pack" as const, actions: ["read" as const] }] };
    await expect(
      commit(world.services, testPack, { ...world.session, ...reader }, { pack: "core", runners: null, noCache: true }),
    ).rejects.toThrow(/may not|not allowed|update/);
  });

  test("core.test_pack by any other way", async () => {
    const parameters = { pack: "core", release: "x" };
    const input = { action: "core.test_pack", parameters, timeoutSeconds: null, priority: null };
    await expect(commit(world.services, executeAction, world.session, input)).rejects.toThrow(/run with testPack/);
    const [first] = await world.all<{ id: string }>(
      sql`select id::text from attune.execution where action_ref = 'core.test_pack' and status = 'completed' limit 1`,
    );
    await expect(
      commit(world.services, rerunExecution, world.session, { id: BigInt(first?.id ?? 0), parameters: null }),
    ).rejects.toThrow(/run with testPack/);
    const trigger = await world.trigger();
    const executor = world.startExecutor();
    await commit(world.services, createRule, world.session, {
      ...{ ref: "default.nightly", trigger, action: "core.test_pack", actionParams: parameters },
    });
    const event = await world.event(trigger);
    const enforcement = await until(
      async () =>
        (
          await world.all<{ error: string | null }>(
            sql`select error::text from attune.enforcement where event = ${event}::bigint`,
          )
        )[0],
      "the enforcement",
    );
    expect(enforcement.error).toContain("run with testPack");
    await executor.stop();
  });
});
