import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { Ajv2020 } from "ajv/dist/2020.js";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { parse } from "yaml";
import { runCommand, spawnCommand, startCommand } from "../support/cli.ts";
import { writeWheel } from "../support/library.ts";
import { packDirectories } from "../support/pack.ts";
import { type RunningServer, request, startInProcess } from "../support/server.ts";
import { until } from "../support/until.ts";

const directories = packDirectories();
const scratch = mkdtempSync(join(tmpdir(), "attune-cli-pack-"));
afterAll(() => rmSync(scratch, { recursive: true }));

const run = (...args: string[]) => runCommand(["pack", ...args]);

describe("a pack that was just created", () => {
  test("passes the check and its tests, and is not written over", async () => {
    const directory = join(scratch, "greetings");
    const created = await run("create", "greetings", directory);
    const next = `Next: "attune pack check ${directory}", "attune pack test ${directory}", then "attune pack install ${directory}".\n`;
    expect(created).toMatchObject({ code: 0, stderr: next });
    expect(created.stdout.split("\n")).toContain(`${directory}/actions/greet.sh`);
    expect(await run("check", directory)).toEqual({
      ...{ code: 0, stdout: "", stderr: "greetings 0.1.0: no faults were found.\n" },
    });
    const tested = await run("test", directory);
    expect(tested).toMatchObject({ code: 0, stderr: expect.stringContaining("1 passed, 0 failed, 0 skipped.\n") });
    expect(tested.stdout).toMatch(/^RUNNER +TYPE +PASSED +FAILED +SKIPPED +MS\nshell +script +1 +0 +0 +\d+\n$/);
    expect(await run("create", "greetings", directory)).toMatchObject({
      ...{ code: 1, stdout: "", stderr: expect.stringContaining("is not empty") },
    });
    expect(await run("create", "No", join(scratch, "no"))).toMatchObject({
      ...{ code: 1, stderr: expect.stringContaining("expected lower-case letters") },
    });
  });

  test("is in a directory that is not taken for a pack of the server without a word", () => {
    const program = [resolve("src/attune.js"), "pack", "test", "greetings", "--url", "http://127.0.0.1:1"];
    const { status, stderr } = spawnSync(process.execPath, program, { cwd: scratch, encoding: "utf8" });
    expect(status).toBe(1);
    expect(stderr).toMatch(
      /^"greetings" is taken for the ref of a pack of the server; the directory of that name is ".\/greetings"\.\nerror: /,
    );
  });

  test("has files that the published schemas accept, and these refuse what the check refuses", async () => {
    const directory = join(scratch, "described");
    await run("create", "described", directory);
    const ajv = new Ajv2020({ strict: false });
    const schemas: Record<string, string> = {
      pack: "pack.yaml",
      action: "actions/greet.yaml",
      trigger: "triggers/visit.yaml",
      rule: "rules/greet_visitors.yaml",
    };
    for (const [kind, path] of Object.entries(schemas)) {
      const { code, stdout } = await run("schema", kind);
      expect(code, kind).toBe(0);
      const validate = ajv.compile(JSON.parse(stdout));
      const document = parse(readFileSync(join(directory, path), "utf8"));
      expect(validate(document), `${kind}: ${ajv.errorsText(validate.errors)}`).toBe(true);
      expect(validate({ ...document, no_such_field: 1 }), kind).toBe(false);
      expect(validate({ ...document, ref: 5 }), kind).toBe(false);
    }
    expect(await run("schema", "acton")).toMatchObject({
      code: 2,
      stderr: expect.stringContaining("pack, action, trigger, sensor"),
    });
  });
});

describe("the check", () => {
  const files = {
    "pack.yaml": "ref: faulty\nlabel: Faulty\nversion: one\ndependencies: [elsewhere]\n",
    "actions/a.yaml": "ref: faulty.a\nlabel: A\nrunner_type: shel\nentry_point: actions/a.sh\n",
    "rules/r.yaml": "ref: faulty.r\nlabel: R\ntrigger_ref: core.webhook\naction_ref: core.echo\nenabld: true\n",
  };

  test("names every fault at once, with file, line, column and what would be right", async () => {
    const { code, stdout } = await run("check", directories(files), "--output", "json");
    expect(code).toBe(1);
    const { valid, issues } = JSON.parse(stdout) as { valid: boolean; issues: { path: string; message: string }[] };
    expect(valid).toBe(false);
    expect(issues.map(({ path, message }) => `${path}: ${message}`)).toEqual([
      expect.stringMatching(/^pack\.yaml:3:10 version: .*version/),
      expect.stringMatching(/^actions\/a\.yaml:3:14 runner_type: .*did you mean "shell"/),
      expect.stringMatching(/^rules\/r\.yaml:5:1 enabld: .*did you mean "enabled"/),
    ]);
  });

  test("looks into rules, with the packs that they use", async () => {
    const rule = (action: string, more: string) =>
      `ref: user.r\nlabel: R\ntrigger_ref: core.webhook\naction_ref: ${action}\n${more}`;
    const user = (text: string) =>
      directories({
        "pack.yaml": "ref: user\nlabel: User\nversion: 1.0.0\ndependencies: [lib]\n",
        "rules/r.yaml": text,
      });
    const lib = directories({
      "pack.yaml": "ref: lib\nlabel: Lib\nversion: 1.0.0\n",
      "actions/a.yaml":
        "ref: lib.a\nlabel: A\nrunner_type: shell\nentry_point: actions/a.sh\nparameters: {size: {type: integer}}\n",
      "actions/a.sh": "true\n",
    });
    expect((await run("check", user(rule("lib.a", "action_params: {size: 3}\n")), "--with", lib)).code).toBe(0);
    const without = await run("check", user(rule("lib.a", "")));
    expect(without.code).toBe(1);
    expect(without.stdout).toContain('the pack "lib" is needed for the check');
    const wrong = await run("check", user(rule("lib.a", "action_params: {size: large}\n")), "--with", lib);
    expect(wrong).toMatchObject({ code: 1, stdout: expect.stringContaining("rules/r.yaml:5:23 action_params.size") });
    const open = await run(
      "check",
      user(rule("core.shell", 'action_params: {command: "echo {{ event.payload.body }}"}\n')),
      "--with",
      lib,
    );
    expect(open).toMatchObject({ code: 1, stdout: expect.stringContaining("rules/r.yaml:5:26 action_params.command") });
  });
});

describe("the check of several packs", () => {
  const pack = (ref: string, version: string, needed: string, more: Record<string, string> = {}) =>
    directories({
      "pack.yaml": `ref: ${ref}\nlabel: x\nversion: ${version}\ndependencies:\n${needed
        .split(" ")
        .map((each) => `  - "${each}"\n`)
        .join("")}`,
      ...more,
    });

  test("finds circles and versions that do not fit, all at once and at their places", async () => {
    const [hen, egg, nest] = [
      pack("hen", "1.0.0", "core egg"),
      pack("egg", "2.0.0", "hen@^1 core@~9.1"),
      pack("nest", "1.0.0", "egg@<2"),
    ];
    const { code, stdout } = await run("check", hen, egg, nest);
    expect(code).toBe(1);
    expect(stdout.split("\n").map((line) => line.replace(/ +/, " "))).toEqual([
      "PLACE FAULT",
      `${hen}/pack.yaml:6:5 dependencies.1  the packs would depend on each other: hen needs egg needs hen`,
      `${egg}/pack.yaml:6:5 dependencies.1  expected "core" in a version ~9.1, and it has the version 1.0.0`,
      `${egg}/pack.yaml:5:5 dependencies.0  the packs would depend on each other: egg needs hen needs egg`,
      `${nest}/pack.yaml:5:5 dependencies.0  expected "egg" in a version <2, and it has the version 2.0.0`,
      "",
    ]);
    const forPrograms = await run("check", hen, egg, "--output", "json");
    expect(JSON.parse(forPrograms.stdout)).toMatchObject([
      {
        directory: hen,
        ref: "hen",
        version: "1.0.0",
        valid: false,
        issues: [{ path: "pack.yaml:6:5 dependencies.1" }],
      },
      { directory: egg, ref: "egg", valid: false },
    ]);
    const one = await run("check", hen, "--with", egg);
    expect(one.stdout).toMatch(/\npack\.yaml:6:5 dependencies\.1 +the packs would depend on each other/);
    expect(await run("check", nest, pack("egg", "1.9.0", "core@^1"))).toMatchObject({
      ...{ code: 0, stdout: "", stderr: "nest 1.0.0, egg 1.9.0: no faults were found.\n" },
    });
  });

  test("names two of one ref, and does not miss one that has faults of its own", async () => {
    const [hen, twin, odd] = [
      pack("hen", "1.0.0", "odd"),
      pack("hen", "1.0.1", "core"),
      pack("odd", "one", "core@two"),
    ];
    const faults = await run("check", hen, twin, odd, "--output", "json");
    expect(JSON.parse(faults.stdout)).toMatchObject([
      { issues: [{ path: "pack.yaml:1:6 ref", message: `is the ref of the pack in ${twin} too` }] },
      { issues: [{ path: "pack.yaml:1:6 ref" }] },
      { issues: [{ path: "pack.yaml:3:10 version" }, { path: "pack.yaml:5:5 dependencies.0" }] },
    ]);
    expect(JSON.parse((await run("check", hen, odd, "--output", "json")).stdout)[0]).toMatchObject({ valid: true });
  });
});

test("the pack of examples passes the check and its tests, in Python and Node.js", async () => {
  expect((await run("check", "packs/examples")).code).toBe(0);
  const tested = await run("test", "./packs/examples");
  expect(tested.stdout).toMatch(
    /^RUNNER.*\nnode +node +1 +0 +0 +\d+\npython +unittest +2 +0 +0|^RUNNER.*\npython +unittest +2 +0 +0 +\d+\nnode +node +1 +0 +0/,
  );
  expect(tested.code).toBe(0);
});

test("an index of archives is built from what they contain, and names what is wrong with them", async () => {
  const archives = directories({});
  const archived = async (ref: string, name: string) => {
    const directory = join(scratch, `indexed-${name}`);
    await run("create", ref, directory);
    execFileSync("tar", ["-czf", join(archives, name), "-C", directory, "."]);
  };
  await archived("one", "one.tar.gz");
  await archived("two", "two.tar.gz");
  const { code, stdout } = await run("index", "build", archives, "--at", "https://example.org/packs");
  expect(code).toBe(0);
  const index = JSON.parse(stdout);
  expect(index.packs).toMatchObject([
    {
      ref: "one",
      version: "0.1.0",
      install_sources: [{ type: "archive", url: "https://example.org/packs/one.tar.gz" }],
    },
    { ref: "two" },
  ]);
  const validate = new Ajv2020({ strict: false, formats: { uri: true } }).compile(
    JSON.parse((await run("schema", "index")).stdout),
  );
  expect(validate(index)).toBe(true);
  await archived("one", "again.tar.gz");
  writeFileSync(join(archives, "text.zip"), "no archive");
  const wrong = await run("index", "build", archives, "--at", "https://example.org/packs");
  expect(wrong).toMatchObject({ code: 1, stdout: "" });
  expect(await run("index", "build", join(archives, "no"), "--at", "https://example.org/packs")).toMatchObject({
    ...{ code: 1, stdout: "", stderr: `error: there is no directory "${join(archives, "no")}"\n` },
  });
  expect((await run("index", "build", directories({}), "--at", "https://example.org/packs")).stderr).toMatch(
    /" has no archive: expected files that end in /,
  );
  expect(wrong.stderr).toMatch(/one\.tar\.gz: is a second archive of one 0\.1\.0\ntext\.zip: The archive/);
});

describe("the tests of a directory", () => {
  test("fail with the names of what failed, on stdout for programs too", async () => {
    const script = (text: string) => ({
      "pack.yaml":
        "ref: half\nlabel: Half\nversion: 1.0.0\ntesting: {runners: {shell: {type: script, entry_point: tests/run.sh, result_format: tap}}}\n",
      "tests/run.sh": text,
    });
    const directory = directories(script("echo 1..2; echo 'ok 1 - good'; echo 'not ok 2 - bad'; exit 1\n"));
    const { code, stdout, stderr } = await run("test", directory);
    expect(code).toBe(1);
    expect(stdout).toContain("\nshell: bad\n");
    expect(stderr).toContain("1 passed, 1 failed, 0 skipped. 1 of 2 tests failed: bad.");
    const forPrograms = await run("test", directory, "--output", "json");
    expect(forPrograms.code).toBe(1);
    expect(JSON.parse(forPrograms.stdout)).toMatchObject({ pack_ref: "half", passed: 1, failed: 1, succeeded: false });
    expect(await run("test", directory, "--runner", "shel")).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('did you mean "shell"'),
    });
    writeFileSync(join(directory, "pack.yaml"), "ref: half\nlabel: Half\nversion: 1.0.0\n");
    expect(await run("test", directory)).toMatchObject({ code: 1, stderr: expect.stringContaining("has no tests") });
  });

  test("use an environment that is built for them, and end with Ctrl-C", async () => {
    const directory = directories({
      "pack.yaml": `ref: equipped\nlabel: Equipped\nversion: 1.0.0\ntesting: {runners: {
        python: {type: unittest, entry_point: tests/test_a.py}, slow: {type: script, entry_point: tests/slow.sh}}}\n`,
      "requirements.txt": "--no-index\n--find-links wheels\nanswer==1.0\n",
      "tests/test_a.py":
        "import unittest\nfrom answer.late import value\nclass A(unittest.TestCase):\n  def test_value(self): self.assertEqual(value, 'wheel')\n",
      "tests/slow.sh": "echo waiting; sleep 300\n",
    });
    writeWheel(join(directory, "wheels"), "1.0", "wheel");
    expect(await run("test", directory, "--runner", "python")).toMatchObject({ code: 0 });
    const slow = startCommand(["pack", "test", directory, "--runner", "slow", "--follow"]);
    await until(() => slow.stderr().includes("slow | waiting"), "the runner", 60_000);
    slow.interrupt();
    expect((await slow.ended).code).toBe(130);
  }, 90_000);
});

describe("a watch of a directory", () => {
  /** Replaces a file as editors do that write a new one and rename it. */
  const replace = (path: string, text: string) => {
    writeFileSync(`${path}.new`, text);
    renameSync(`${path}.new`, path);
  };

  test("checks after each change, also of files that are replaced or moved away for a while, until Ctrl-C", async () => {
    const directory = join(scratch, "watched");
    await run("create", "watched", directory);
    const file = join(directory, "actions/greet.yaml");
    const right = readFileSync(file, "utf8");
    const watch = startCommand(["pack", "check", directory, "--watch", "--output", "json"]);
    const rounds = () =>
      watch
        .stdout()
        .trim()
        .split("\n")
        .filter(Boolean)
        .map((line) => JSON.parse(line));
    const round = (count: number, what: string) => until(() => rounds().length === count && rounds()[count - 1], what);
    expect(await round(1, "the first check")).toMatchObject({ ref: "watched", valid: true, issues: [] });
    replace(file, right.replace("runner_type: shell", "runner_type: shel"));
    expect(await round(2, "the check of the fault")).toMatchObject({
      valid: false,
      issues: [{ path: expect.stringMatching(/^actions\/greet\.yaml:\d+:\d+ runner_type$/) }],
    });
    for (const part of ["fail", "ing", "\n"]) writeFileSync(file, part, { flag: "a" }); // a burst is one change
    expect(await round(3, "the check of the burst")).toMatchObject({ valid: false });
    renameSync(directory, `${directory}-away`);
    mkdirSync(join(directory, "actions"), { recursive: true });
    rmSync(directory, { recursive: true });
    renameSync(`${directory}-away`, directory);
    replace(file, right);
    expect(await round(4, "the check of what is right again")).toMatchObject({ valid: true });
    mkdirSync(join(directory, "triggers"), { recursive: true });
    writeFileSync(join(directory, "triggers/new.yaml"), "ref: watched.new\nlabell: New\n");
    expect(await round(5, "the check of a new file")).toMatchObject({
      issues: [{ path: "triggers/new.yaml:1:1 label" }, { path: "triggers/new.yaml:2:1 labell" }],
    });
    watch.interrupt();
    expect(await watch.ended).toMatchObject({ code: 130 });
  });

  test("runs the tests after each change, and says what is not right meanwhile", async () => {
    const directory = join(scratch, "tested");
    await run("create", "tested", directory);
    const watch = startCommand(["pack", "test", directory, "--watch"]);
    await until(() => watch.stderr().includes("1 passed, 0 failed"), "the first run", 30_000);
    replace(join(directory, "tests/run.sh"), "echo 1..1; echo 'not ok 1 - broken'; exit 1\n");
    await until(() => watch.stdout().includes("shell: broken"), "the run of the broken test", 30_000);
    const manifest = join(directory, "pack.yaml");
    replace(manifest, readFileSync(manifest, "utf8").replace("version: ", "version: one."));
    await until(() => /error: pack\.yaml:\d+:\d+ version: /.test(watch.stderr()), "the fault", 30_000);
    watch.interrupt();
    expect((await watch.ended).code).toBe(130);
    expect(await run("test", "tested", "--watch")).toMatchObject({ code: 2 });
    expect(await run("check", join(scratch, "missing"), "--watch")).toMatchObject({
      code: 1,
      stderr: expect.stringContaining("there is no directory"),
    });
  }, 90_000);
});

describe("the tests of a pack of a server", () => {
  const local = join(scratch, "local");
  let server: RunningServer;
  beforeAll(async () => {
    await run("create", "local", local);
    server = await startInProcess(undefined, { ATTUNE__PACKS__DIRS: local });
  });
  afterAll(async () => {
    await server[Symbol.asyncDispose]();
  });
  const onServer = (...args: string[]) => runCommand(["pack", "test", ...args], { server });

  test("pass for the core pack, once for each release", async () => {
    const first = await onServer("core");
    expect(first).toMatchObject({
      code: 0,
      stderr: expect.stringContaining("actions: 7 passed, 0 failed, 0 skipped in "),
    });
    expect(first.stdout).toMatch(/\nactions +script +7 +0 +0 +\d+\n$/);
    expect((await onServer("core")).stderr).toContain("has passed its tests before");
    for (const option of ["--follow", "--verbose"]) {
      expect(await onServer("core", "--no-cache", option)).toMatchObject({
        code: 0,
        stdout: expect.stringContaining("actions | ok 1 - core.echo prints its message\n"),
      });
    }
    const part = await onServer("core", "--runtime", "actions", "--output", "json");
    expect(JSON.parse(part.stdout)).toMatchObject({ succeeded: true, passed: 7, message: null });
    expect(await onServer("default")).toMatchObject({
      code: 1,
      stderr: expect.stringContaining("only packs of files"),
    });
    expect(await onServer("nowhere")).toMatchObject({ code: 1, stderr: expect.stringContaining("nowhere") });
  });

  test("go with its installation from a directory, which uploads it; what would go is said before it is uninstalled", async () => {
    const directory = join(scratch, "visitors");
    await run("create", "visitors", directory);
    const pack = (...args: string[]) => runCommand(["pack", ...args], { server });
    const installed = await pack("install", directory);
    expect(installed).toMatchObject({ code: 0, stderr: expect.stringContaining("visitors 0.1.0 is installed\n") });
    expect(installed.stdout).toMatch(/^pack: +visitors\nversion: +0\.1\.0\nchanged: +yes\ntests:\n/);
    expect(await runCommand(["run", "visitors.greet", "name=reader", "--follow"], { server })).toMatchObject({
      ...{ code: 0, stdout: "Hello, reader.\n" },
    });
    expect(JSON.parse((await pack("install", directory, "--output", "json")).stdout)).toMatchObject({ changed: false });
    writeFileSync(join(directory, "tests/run.sh"), "echo 1..1; echo 'not ok 1 - broken'\n");
    const failed = await pack("install", directory);
    expect(failed).toMatchObject({
      code: 1,
      stdout: "",
      stderr: expect.stringContaining("1 of 1 tests failed: broken."),
    });
    expect(await pack("install", join(scratch, "nothing"))).toMatchObject({
      code: 2,
      stderr: expect.stringContaining("no file or directory"),
    });
    expect(await pack("install", "http://127.0.0.1:9/x.tar.gz")).toMatchObject({
      code: 1,
      stderr: expect.stringContaining("ATTUNE__PACKS__SOURCES"),
    });
    expect(await pack("uninstall", "visitors")).toMatchObject({
      code: 2,
      stderr:
        'visitors 0.1.0 goes, with 1 action, 1 trigger, 1 rule.\nerror: There is no terminal to ask on: "attune pack uninstall visitors --yes" goes on without asking.\n',
    });
    expect(await pack("uninstall", "visitors", "--yes")).toMatchObject({ code: 0, stdout: "visitors is deleted.\n" });
    expect(await pack("show", "visitors")).toMatchObject({ code: 1 });
  });

  describe("that the server loads from a directory", () => {
    const pack = (...args: string[]) => runCommand(["pack", ...args], { server });
    const write = (path: string, text: string) => writeFileSync(join(local, path), text);
    const say = (text: string) =>
      `touch ${scratch}/began\nwhile [ ! -e ${scratch}/go ]; do sleep 0.05; done\necho ${text}\n`;
    const greet = (...more: string[]) => runCommand(["run", "local.greet", "name=x", ...more], { server });

    test("is loaded again after a change; what runs keeps its release, and faults change nothing", async () => {
      expect(await pack("reload", "local")).toMatchObject({
        ...{ code: 0, stdout: `local 0.1.0 in ${local} has not changed.\n`, stderr: "" },
      });
      // A change of the directory alone changes nothing that runs.
      write("actions/greet.sh", say("first"));
      expect((await greet("--follow")).stdout).toBe("Hello, x.\n");
      expect(JSON.parse((await pack("reload", local, "--output", "json")).stdout)).toEqual({
        ...{ ref: "local", version: "0.1.0", changed: true, directory: local },
      });
      const first = greet("--follow");
      await until(() => existsSync(join(scratch, "began")), "the action");
      write("actions/greet.sh", say("second"));
      write("actions/other.sh", "true\n");
      write("actions/other.yaml", "ref: local.other\nlabel: O\nrunner_type: shel\nentry_point: actions/other.sh\n");
      const broken = await pack("reload", "local");
      expect(broken).toMatchObject({ code: 1, stdout: "" });
      expect(broken.stderr).toMatch(/actions\/other\.yaml:3:14 runner_type: .*did you mean "shell"/);
      write("actions/other.yaml", "ref: local.other\nlabel: O\nrunner_type: shell\nentry_point: actions/other.sh\n");
      write("rules/greet_visitors.yaml", "ref: local.r\nlabel: R\ntrigger_ref: local.visit\naction_ref: local.gret\n");
      expect((await pack("reload", "local")).stderr).toMatch(
        /rules\/greet_visitors\.yaml:4:13 action_ref: .*local\.greet/,
      );
      expect((await runCommand(["action", "show", "local.other"], { server })).code).toBe(1);
      rmSync(join(local, "rules/greet_visitors.yaml"));
      write("pack.yaml", readFileSync(join(local, "pack.yaml"), "utf8").replace("version: 0.1.0", "version: 0.2.0"));
      expect(await pack("reload", "local")).toMatchObject({ stdout: `local 0.2.0 is loaded from ${local}.\n` });
      expect((await runCommand(["action", "show", "local.other"], { server })).code).toBe(0);
      writeFileSync(join(scratch, "go"), "");
      expect((await first).stdout).toBe("first\n");
      expect((await greet("--follow")).stdout).toBe("second\n");
    });

    test("is checked, loaded and tested after each change by one process, which Ctrl-C ends", async () => {
      write("tests/run.sh", "echo 1..1; echo 'ok 1 - good'\n");
      const watch = spawnCommand(["pack", "reload", local, "--watch", "--test"], { server });
      watch.end();
      const printed = { stdout: "", stderr: "" };
      for (const name of ["stdout", "stderr"] as const) {
        watch.child[name].on("data", (chunk: Buffer) => {
          printed[name] += chunk.toString();
        });
      }
      await until(() => printed.stderr.includes("1 passed, 0 failed"), "the first tests", 30_000);
      write("tests/run.sh.new", "echo 1..1; echo 'not ok 1 - bad'\n");
      renameSync(join(local, "tests/run.sh.new"), join(local, "tests/run.sh"));
      await until(() => printed.stdout.includes("shell: bad"), "the tests that fail", 30_000);
      write("actions/other.yaml", "ref: local.other\nlabel: O\nrunner: shell\n");
      await until(() => printed.stderr.includes("actions/other.yaml:3:1 runner: "), "the fault", 30_000);
      const { packByRef: loaded } = await request<{ packByRef: { actions: { nodes: { ref: string }[] } } }>(
        server,
        `{ packByRef(ref: "local") { actions(first: 9) { nodes { ref } } } }`,
      );
      expect(loaded.actions.nodes.map(({ ref }) => ref).sort()).toEqual(["local.greet", "local.other"]);
      watch.child.kill("SIGINT");
      expect(await watch.ended).toMatchObject({ code: 130 });
    }, 90_000);

    test("is only loaded under its ref, and where a setting names it", async () => {
      expect((await pack("reload", "core")).stderr).toContain(
        'this server loads no pack "core" from ATTUNE__PACKS__DIRS',
      );
      expect((await pack("uninstall", "local")).stderr).toContain(
        "The next start of the server loads it again, unless it is taken out of ATTUNE__PACKS__DIRS.\n",
      );
      expect((await pack("reload", "locl")).stderr).toContain('did you mean "local"?');
      expect(await pack("reload", "local", "--watch")).toMatchObject({ code: 2 });
      for (const folder of ["actions", "triggers"]) rmSync(join(local, folder), { recursive: true });
      write("pack.yaml", "ref: renamed\nlabel: Renamed\nversion: 1.0.0\n");
      expect((await pack("reload", "local")).stderr).toMatch(/pack\.yaml:1:6 ref: .* was loaded as "local"/);
    });
  });
});
