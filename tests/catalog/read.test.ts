import { execFile } from "node:child_process";
import { mkdir, mkdtemp, rm, symlink, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { afterEach, describe, expect, test } from "vitest";
import { runtimeRef } from "../../src/catalog/manifest.ts";
import { readPack } from "../../src/catalog/read.ts";
import { InvalidInputError, type Issue } from "../../src/errors.ts";

const CORE = join(import.meta.dirname, "../../packs/core");
const PACK = "ref: demo\nlabel: Demo\nversion: 1.0.0\n";
const ECHO = "ref: demo.echo\nlabel: Echo\nrunner_type: shell\nentry_point: actions/echo.sh\n";
const directories: string[] = [];

afterEach(async () => {
  for (const directory of directories.splice(0)) await rm(directory, { recursive: true });
});

/** Writes the files into a new directory, by default with `pack.yaml` and an entry file; removed after the test. */
async function packOf(files: Record<string, string | Buffer>): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), "attune-pack-"));
  directories.push(directory);
  for (const [path, content] of Object.entries({ "pack.yaml": PACK, "actions/echo.sh": "", ...files })) {
    await mkdir(dirname(join(directory, path)), { recursive: true });
    await writeFile(join(directory, path), content);
  }
  return directory;
}

async function faultsOf(directory: string): Promise<Issue[]> {
  const error = await readPack(directory).then(
    () => null,
    (cause: unknown) => cause,
  );
  if (!(error instanceof InvalidInputError)) throw new Error("expected an InvalidInputError", { cause: error });
  return error.issues;
}

const lines = (issues: Issue[]) => issues.map(({ path, message }) => `${path}: ${message}`);

describe("a valid pack", () => {
  test("the core pack is valid and has its documented contents", async () => {
    const core = await readPack(CORE);
    expect(core.pack).toMatchObject({ ref: "core", system: true, enabled: true, tags: ["core"], conf_schema: {} });
    expect(
      core.actions.map(({ ref, runner_type, on_worker_loss }) => [ref, runtimeRef(runner_type), on_worker_loss]),
    ).toEqual([
      ["core.echo", "core.action.shell", "requeue"],
      ["core.fail", "core.action.shell", "abandon"],
      ["core.http_request", "core.action.builtin", "abandon"],
      ["core.inquire", "core.action.builtin", "requeue"],
      ["core.install_pack", "core.action.pack", "requeue"],
      ["core.noop", "core.action.builtin", "requeue"],
      ["core.send_cloud_event", "core.action.builtin", "requeue"],
      ["core.shell", "core.action.shell", "abandon"],
      ["core.sleep", "core.action.shell", "requeue"],
      ["core.test_pack", "core.action.pack", "requeue"],
    ]);
    expect(core.triggers.map(({ ref }) => ref)).toEqual([
      "core.alert",
      "core.crontimer",
      "core.datetimetimer",
      "core.execution_ended",
      "core.inquiry_opened",
      "core.intervaltimer",
      "core.key_changed",
      "core.pack_loaded",
      "core.rruletimer",
      "core.sensor_crashed",
      "core.webhook",
      "core.worker_lost",
    ]);
    expect(core.permissionSets.map(({ ref }) => ref)).toEqual([
      "core.admin",
      "core.editor",
      "core.executor",
      "core.viewer",
    ]);
    expect(core.runtimes.map(({ ref }) => ref)).toEqual([
      "core.action.bash",
      "core.action.builtin",
      "core.action.container",
      "core.action.nodejs",
      "core.action.pack",
      "core.action.python",
      "core.action.shell",
      "core.sensor.builtin",
      "core.sensor.nodejs",
      "core.sensor.python",
      "core.sensor.shell",
    ]);
    expect(core.path).toBe(CORE);
    expect(core.digest).toMatch(/^[0-9a-f]{64}$/);
  });

  test("the core pack contains every runtime that an action can need", async () => {
    const { runtimes } = await readPack(CORE);
    const refs = runtimes.map(({ ref }) => ref);
    for (const runner of ["builtin", "shell", "bash", "python", "node", "container"] as const) {
      expect(refs).toContain(runtimeRef(runner));
    }
    expect(runtimeRef("workflow")).toBeNull();
  });

  test("defaults are filled in, keywords are tags, rules and retries are read", async () => {
    const { pack, actions, rules } = await readPack(
      await packOf({
        "pack.yaml": `${PACK}keywords: [a, b]\n`,
        "actions/echo.yaml": `${ECHO}retry: {max: 3, backoff: exponential}\n`,
        "rules/on_push.yaml":
          "ref: demo.on_push\nlabel: On push\ntrigger_ref: core.webhook\naction_ref: demo.echo\n" +
          "conditions:\n  - {field: body.ref, operator: equals, value: main}\naction_params: {message: hi}\n",
      }),
    );
    expect(pack.tags).toEqual(["a", "b"]);
    expect(pack).not.toHaveProperty("keywords");
    expect(actions[0]).toMatchObject({
      enabled: true,
      timeout: null,
      parameter_delivery: "stdin",
      retry: { max: 3, delay: 0, backoff: "exponential", max_delay: null, on: ["failed", "timeout", "abandoned"] },
    });
    expect(rules[0]).toMatchObject({ condition: "all", conditions: [{ operator: "equals" }], trigger_params: {} });
  });

  test("an anchor may be referenced", async () => {
    const { pack } = await readPack(await packOf({ "pack.yaml": `${PACK}meta: {a: &x {k: 1}, b: *x}\n` }));
    expect(pack.meta).toEqual({ a: { k: 1 }, b: { k: 1 } });
  });
});

describe("the digest", () => {
  test("ignores file times, and changes with a byte, a name, and the boundary between files", async () => {
    const directory = await packOf({ "data/a": "12", "data/b": "3" });
    const { digest, size } = await readPack(directory);
    expect(size).toBe(PACK.length + 3);

    await utimes(join(directory, "data/a"), 1, 1);
    expect((await readPack(directory)).digest).toBe(digest);
    expect((await readPack(await packOf({ "data/b": "3", "data/a": "12" }))).digest).toBe(digest);

    const others: Record<string, string>[] = [
      { "data/a": "12", "data/b": "4" },
      { "data/a": "1", "data/b": "23" },
      { "data/a": "12", "data/c": "3" },
    ];
    for (const other of others) {
      expect((await readPack(await packOf(other))).digest).not.toBe(digest);
    }
  });

  test("excludes files that tools generate", async () => {
    const { digest } = await readPack(await packOf({}));
    const directory = await packOf({
      ".git/config": "x",
      "node_modules/a/index.js": "x",
      "actions/__pycache__/a.pyc": "x",
    });
    await symlink("/etc/passwd", join(directory, "node_modules/link"));
    expect((await readPack(directory)).digest).toBe(digest);
  });
});

const anchors = Array.from({ length: 9 }, (_, i) => `  l${i + 1}: &l${i + 1} [${`*l${i}, `.repeat(9)}]`).join("\n");

const BROKEN: Record<string, { files: Record<string, string | Buffer>; faults: string[] }> = {
  "an unknown field": {
    files: { "actions/echo.yaml": `${ECHO}paramters:\n  a: {type: string}\n` },
    faults: ['actions/echo.yaml:5:1 paramters: unknown field "paramters"; did you mean "parameters"?'],
  },
  "two unknown fields, each at its key": {
    files: { "triggers/t.yaml": "ref: demo.t\nlabel: T\nenabeld: true\nx_completely_other: 1\n" },
    faults: [
      'triggers/t.yaml:3:1 enabeld: unknown field "enabeld"; did you mean "enabled"?',
      'triggers/t.yaml:4:1 x_completely_other: unknown field "x_completely_other"; expected one of ref, label, description, enabled, parameters, output, webhook',
    ],
  },
  "an unknown field of an inner map": {
    files: { "actions/echo.yaml": `${ECHO}retry:\n  max: 3\n  dela: 5\n` },
    faults: ['actions/echo.yaml:7:3 retry.dela: unknown field "dela"; did you mean "delay"?'],
  },
  "a required field left out": {
    files: { "actions/echo.yaml": "# an action\nref: demo.echo\nrunner_type: builtin\n" },
    faults: ["actions/echo.yaml:2:1 label: is required: expected a string"],
  },
  "wrong types and values": {
    files: {
      "actions/echo.yaml": `${ECHO}enabled: "yes"\ntimeout: 0\ntags: fast\nretry: {max: 1.5}\non_worker_loss: retry\n`,
    },
    faults: [
      "actions/echo.yaml:5:10 enabled: expected true or false, not a string",
      "actions/echo.yaml:6:10 timeout: expected a number of more than 0",
      "actions/echo.yaml:8:14 retry.max: expected a whole number, not 1.5",
      "actions/echo.yaml:9:17 on_worker_loss: expected one of abandon, requeue",
      "actions/echo.yaml:7:7 tags: expected a list, not a string",
    ],
  },
  "an item of a list": {
    files: { "pack.yaml": `${PACK}tags:\n  - ok\n  - 7\n` },
    faults: ["pack.yaml:6:5 tags.1: expected a string, not a number"],
  },
  "parameters: a type, a name, a keyword, a default": {
    files: {
      "actions/echo.yaml": `${ECHO}parameters:\n  message:\n    type: text\n  2nd: {type: string}\n  count:\n    type: integer\n    minimun: 1\n`,
      "triggers/t.yaml": "ref: demo.t\nlabel: T\nparameters:\n  n:\n    type: integer\n    default: many\n",
    },
    faults: [
      expect.stringMatching(/^actions\/echo\.yaml:7:11 parameters\.message\.type: .*expected one of string, /),
      expect.stringMatching(/^actions\/echo\.yaml:8:3 parameters\.2nd: must be letters/),
      'actions/echo.yaml:11:5 parameters.count.minimun: unknown field "minimun"; did you mean "minimum"?',
      "triggers/t.yaml:6:14 parameters.n.default: expected a whole number, not a string",
    ],
  },
  "a grant with a constraint, a resource and a key that do not exist": {
    files: {
      "permission_sets/ops.yaml":
        "ref: demo.ops\nlabel: Ops\ngrants:\n  - {resource: rule, actions: [read], constraints: {packs: [ops]}}\n" +
        "  - {resource: rules, actions: [read]}\n  - {resource: rule, actions: [read], constraint: {}}\n",
    },
    faults: [
      'permission_sets/ops.yaml:4:53 grants.0.constraints.packs: unknown field "packs"; expected one of pack_refs, refs, except_refs, owner',
      expect.stringMatching(/^permission_sets\/ops\.yaml:5:16 grants\.1\.resource: expected one of .*execution/),
      'permission_sets/ops.yaml:6:39 grants.2.constraint: unknown field "constraint"; did you mean "constraints"?',
    ],
  },
  "tags under both names": {
    files: { "pack.yaml": `${PACK}tags: [a]\nkeywords: [b]\n` },
    faults: ["pack.yaml:5:11 keywords: is another name of tags; use one"],
  },
  "a version that is not semantic": {
    files: { "pack.yaml": "ref: demo\nlabel: Demo\nversion: '1.0'\n" },
    faults: ['pack.yaml:3:10 version: expected a semantic version such as "1.2.3"'],
  },
  "an upper-case ref of another pack": {
    files: { "triggers/t.yaml": "ref: other.T\nlabel: T\n" },
    faults: [
      'triggers/t.yaml:1:6 ref: expected a ref such as "my_pack.my_name" (lower case, exactly one dot)',
      'triggers/t.yaml:1:6 ref: expected a ref that begins with "demo."',
    ],
  },
  "a pack whose ref only shares a prefix": {
    files: { "triggers/t.yaml": "ref: demo2.t\nlabel: T\n" },
    faults: ['triggers/t.yaml:1:6 ref: expected a ref that begins with "demo."'],
  },
  "the same ref twice": {
    files: { "triggers/a.yaml": "ref: demo.t\nlabel: T\n", "triggers/b.yaml": "ref: demo.t\nlabel: T\n" },
    faults: ["triggers/b.yaml:1:6 ref: is the ref of triggers/a.yaml already"],
  },
  "a runtime whose type is not that of its ref": {
    files: { "runtimes/r.yaml": "ref: demo.action.r\nname: R\nruntime_type: sensor\ndistributions: {commands: []}\n" },
    faults: ["runtimes/r.yaml:3:15 runtime_type: expected the type in the ref"],
  },
  "a pattern that cannot be compiled": {
    files: {
      "runtimes/r.yaml":
        "ref: demo.action.r\nname: R\nruntime_type: action\ndistributions:\n  commands:\n    - command: r\n      pattern: '('\n",
    },
    faults: [
      expect.stringMatching(
        /^runtimes\/r\.yaml:7:16 distributions\.commands\.0\.pattern: the pattern cannot be compiled/,
      ),
    ],
  },
  "entry points": {
    files: {
      "actions/a.yaml": ECHO.replace("actions/echo.sh", "echo.sh"),
      "actions/b.yaml": ECHO.replace("demo.echo", "demo.b").replace("actions/echo.sh", "../../etc/passwd"),
      "actions/c.yaml": ECHO.replace("demo.echo", "demo.c").replace("entry_point: actions/echo.sh\n", ""),
      "actions/d.yaml": ECHO.replace("demo.echo", "demo.d").replace("actions/echo.sh", "actions"),
    },
    faults: [
      'actions/a.yaml:4:14 entry_point: there is no file "echo.sh" in the pack; did you mean "actions/echo.sh"?',
      'actions/b.yaml:4:14 entry_point: there is no file "../../etc/passwd" in the pack; expected a path below the pack\'s directory',
      'actions/c.yaml:1:1 entry_point: is required: expected the script\'s path, as the runner type is "shell"',
      'actions/d.yaml:4:14 entry_point: there is no file "actions" in the pack; expected a path below the pack\'s directory',
    ],
  },
  "features that this version lacks": {
    files: {
      "policies/p.yaml": "",
      "actions/workflows/w.workflow.yaml": "",
      "actions/w.yaml": "ref: demo.w\nlabel: W\nrunner_type: workflow\n",
    },
    faults: [
      "policies: policies are not supported by this version",
      "actions/workflows: workflows are not supported by this version",
      "actions/w.yaml:3:14 runner_type: workflows are not supported by this version",
    ],
  },
  "a sensor's program, triggers and settings": {
    files: {
      "triggers/t.yaml": "ref: demo.seen\nlabel: T\n",
      "sensors/run.sh": "",
      "sensors/a.yaml":
        "ref: demo.a\nlabel: A\nrunner_type: shell\nentry_point: run.sh\ntrigger_types: [demo.seen, demo.sen]\nparameters: {n: {type: integer, required: true}}\n",
      "sensors/b.yaml":
        "ref: demo.b\nlabel: B\nrunner_type: shell\nentry_point: sensors/run.sh\ntrigger_types: [demo.seen]\nparameters: {n: {type: integer}}\nconfig: {n: one, m: 1}\n",
      "sensors/c.yaml": "ref: demo.c\nlabel: C\nrunner_type: bash\nentry_point: sensors/run.sh\ntrigger_types: []\n",
    },
    faults: [
      'sensors/a.yaml:4:14 entry_point: there is no file "run.sh" in the pack; did you mean "sensors/run.sh"?',
      'sensors/a.yaml:5:28 trigger_types.1: there is no trigger "demo.sen" in the pack; did you mean "demo.seen"?',
      "sensors/a.yaml:1:1 config.n: is required",
      'sensors/b.yaml:5:17 trigger_types.0: is emitted by the sensor "demo.a" already',
      'sensors/b.yaml:7:21 config.m: there is no parameter of this name; did you mean "n"?',
      "sensors/b.yaml:7:13 config.n: expected a whole number, not a string",
      "sensors/c.yaml:3:14 runner_type: expected one of shell, python, node",
      "sensors/c.yaml:5:16 trigger_types: expected at least 1 item",
    ],
  },
  "a file that would be ignored": {
    files: { "rules/r.yml": "" },
    faults: ["rules/r.yml: expected the file name to end in .yaml"],
  },
  "syntax: a tab, a duplicate key, an open quote, two documents": {
    files: {
      "rules/a.yaml": "ref: demo.a\n\tlabel: A\n",
      "rules/b.yaml": "ref: demo.b\nlabel: A\nref: demo.b\n",
      "rules/c.yaml": 'ref: demo.c\nlabel: "A\n',
      "rules/d.yaml": "ref: demo.d\n---\nref: demo.d\n",
    },
    faults: [
      "rules/a.yaml:2:1: Tabs are not allowed as indentation",
      'rules/b.yaml:3:1: the key "ref" is repeated',
      'rules/c.yaml:3:1: Missing closing "quote',
      "rules/d.yaml:2:1: Source contains multiple documents; please use YAML.parseAllDocuments()",
    ],
  },
  "not a map": {
    files: { "triggers/a.yaml": "", "triggers/b.yaml": "- ref: demo.b\n" },
    faults: ["triggers/a.yaml:1:1: expected a map, not nothing", "triggers/b.yaml:1:1: expected a map, not a list"],
  },
  "bytes that are not text": {
    files: { "triggers/a.yaml": Buffer.from([0x72, 0xff]) },
    faults: ["triggers/a.yaml:1:1: expected at most 131072 bytes of UTF-8"],
  },
  "an alias bomb, a recursive alias, an undefined alias": {
    files: {
      "pack.yaml": `${PACK}meta:\n  l0: &l0 [x]\n${anchors}\n`,
      "rules/a.yaml": "ref: demo.a\naction_params: &a {b: *a}\n",
      "rules/b.yaml": "ref: demo.b\naction_params: *b\n",
    },
    faults: [
      ...Array.from({ length: 10 }, () =>
        expect.stringMatching(/^pack\.yaml:[78]:\d+: the anchor &l[12] contains aliases/),
      ),
      "rules/a.yaml:2:23: the anchor &a contains aliases itself, which is not supported",
      "rules/b.yaml:2:16: there is no anchor &b before this alias",
    ],
  },
  "too many aliases": {
    files: { "pack.yaml": `${PACK}meta:\n  a: &a x\n  b: [${"*a, ".repeat(101)}]\n` },
    faults: ["pack.yaml:6:407: expected at most 100 aliases"],
  },
  "unlimited nesting, tags, numbers that JSON lacks": {
    files: {
      "rules/a.yaml": `action_params: ${"[".repeat(20_000)}`,
      "rules/b.yaml": `action_params: ${"[".repeat(150)}${"]".repeat(150)}\n`,
      "rules/c.yaml":
        'ref: !!binary aGk=\nlabel: !own x\naction_params: {a: .nan, b: "\\0", c: 12345678901234567890}\n',
    },
    faults: [
      expect.stringMatching(/^rules\/a\.yaml:1:\d+: is nested too deeply$/),
      "rules/b.yaml:1:114: is nested too deeply",
      "rules/c.yaml:1:15: the tag tag:yaml.org,2002:binary is not supported",
      "rules/c.yaml:2:13: the tag !own is not supported",
      "rules/c.yaml:3:20: .nan is not a JSON number",
      "rules/c.yaml:3:29: expected text without NUL and lone surrogates",
      expect.stringMatching(/^rules\/c.yaml:3:38: the number 12345678901234567890 would lose digits/),
    ],
  },
};

describe("an invalid pack is refused with the position of each error", () => {
  test.each(Object.entries(BROKEN))("%s", async (_name, { files, faults }) => {
    expect(lines(await faultsOf(await packOf(files)))).toEqual(faults);
  });

  test("errors of several files are reported together", async () => {
    const faults = await faultsOf(await packOf({ "pack.yaml": "ref: demo\n", "rules/r.yaml": "ref: 1\n" }));
    expect(faults.map(({ path }) => path)).toEqual([
      "pack.yaml:1:1 label",
      "pack.yaml:1:1 version",
      "rules/r.yaml:1:6 ref",
      "rules/r.yaml:1:1 label",
      "rules/r.yaml:1:1 trigger_ref",
      "rules/r.yaml:1:1 action_ref",
    ]);
  });

  test("the number of errors is limited", async () => {
    const unknown = Array.from({ length: 80 }, (_, i) => `x${i}: 1\n`).join("");
    const faults = await faultsOf(await packOf({ "pack.yaml": PACK + unknown, "rules/r.yaml": unknown }));
    expect(faults).toHaveLength(101);
    expect(faults.at(-1)?.message).toMatch(/^and \d+ more faults$/);
  });

  test("no pack.yaml, no directory", async () => {
    const directory = await packOf({});
    await rm(join(directory, "pack.yaml"));
    expect(lines(await faultsOf(directory))).toEqual(["pack.yaml: is missing: every pack needs this file"]);
    expect(lines(await faultsOf(join(directory, "nowhere")))).toEqual([
      expect.stringContaining("there is no directory"),
    ]);
  });

  test("links to files and directories, and pipes", async () => {
    const directory = await packOf({ "actions/echo.yaml": ECHO });
    await symlink("/etc/passwd", join(directory, "actions/passwd"));
    await symlink("/etc", join(directory, "data"));
    await symlink("echo.yaml", join(directory, "actions/linked.yaml"));
    await promisify(execFile)("mkfifo", [join(directory, "pipe")]);
    const faults = await faultsOf(directory);
    const link = "a symbolic link cannot be part of a pack; expected regular files and directories";
    expect(faults.toSorted((a, b) => (a.path < b.path ? -1 : 1))).toEqual([
      { path: "actions/linked.yaml", message: link },
      { path: "actions/passwd", message: link },
      { path: "data", message: link },
      { path: "pipe", message: link.replace("symbolic link", "special file") },
    ]);
  });
});
