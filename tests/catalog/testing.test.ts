import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { readPack } from "../../src/catalog/read.ts";
import { InvalidInputError } from "../../src/errors.ts";

const directories: string[] = [];
afterEach(() => {
  for (const directory of directories.splice(0)) rmSync(directory, { recursive: true });
});

/** Reads a pack with that section, given as JSON, which is YAML, and with these files. */
function packOf(testing: object, files = ["tests/run.sh", "tests/test_a.py", "tests/unit/a.test.js"]) {
  const directory = mkdtempSync(join(tmpdir(), "attune-pack-"));
  directories.push(directory);
  const manifest = `ref: demo\nlabel: Demo\nversion: 1.0.0\ntesting: ${JSON.stringify(testing)}\n`;
  for (const [path, content] of [["pack.yaml", manifest] as const, ...files.map((file) => [file, ""] as const)]) {
    mkdirSync(dirname(join(directory, path)), { recursive: true });
    writeFileSync(join(directory, path), content);
  }
  return readPack(directory);
}

const faultsOf = async (testing: object, files?: string[]) => {
  const error = await packOf(testing, files).then(
    () => null,
    (cause: unknown) => cause,
  );
  if (!(error instanceof InvalidInputError)) throw new Error("expected an InvalidInputError", { cause: error });
  return error.issues.map(({ path, message }) => `${path}: ${message}`);
};

const script = { type: "script", entry_point: "tests/run.sh" };

test("the section is read with its defaults", async () => {
  const { pack } = await packOf({
    runners: {
      shell: script,
      python: { type: "pytest", entry_point: "tests/" },
      js: { type: "node", entry_point: "tests/**/*.test.js" },
      jest: { type: "jest", entry_point: "tests/unit" },
    },
  });
  expect(pack.testing).toEqual({
    enabled: true,
    discovery: { method: "directory", path: "tests" },
    runners: {
      shell: { ...script, timeout: 300, result_format: "simple" },
      python: { type: "pytest", entry_point: "tests/", timeout: 300, result_format: "simple" },
      js: { type: "node", entry_point: "tests/**/*.test.js", timeout: 300, result_format: "tap" },
      jest: { type: "jest", entry_point: "tests/unit", timeout: 300, result_format: "json" },
    },
    min_pass_rate: 1,
    on_failure: "block",
  });
});

test("every field is kept as it is given", async () => {
  const section = {
    enabled: true,
    discovery: { method: "executable", path: "tests/run.sh" },
    runners: { unit: { type: "pytest", entry_point: "tests/test_a.py", timeout: 60, result_format: "junit-xml" } },
    result_path: "tests/results/",
    min_pass_rate: 0.8,
    on_failure: "warn",
  };
  expect((await packOf(section)).pack.testing).toEqual(section);
});

test("a disabled section needs neither runners nor files", async () => {
  expect((await packOf({ enabled: false }, [])).pack.testing).toMatchObject({ enabled: false, runners: {} });
});

test.each<[string, object, RegExp]>([
  ["enabled", { enabled: "perhaps", runners: { a: script } }, /enabled: expected true or false/],
  [
    "method",
    { discovery: { method: "luck", path: "tests" }, runners: { a: script } },
    /discovery\.method: .*directory/,
  ],
  ["type", { runners: { a: { ...script, type: "mocha" } } }, /runners\.a\.type: .*script/],
  ["timeout", { runners: { a: { ...script, timeout: 0 } } }, /runners\.a\.timeout: /],
  ["format", { runners: { a: { ...script, result_format: "html" } } }, /runners\.a\.result_format: .*simple/],
  ["pass rate", { runners: { a: script }, min_pass_rate: 17 }, /min_pass_rate: /],
  ["on_failure", { runners: { a: script }, on_failure: "explode" }, /on_failure: .*block/],
  ["name", { runners: { "A b": script } }, /runners.*: .*begins with a letter/],
  ["unknown field", { runners: { a: script }, retries: 1 }, /retries/],
  [
    "path outside",
    { runners: { a: { ...script, entry_point: "../x.sh" } } },
    /runners\.a\.entry_point: expected a path within the pack/,
  ],
  [
    "absolute path",
    { runners: { a: script }, result_path: "/tmp/results" },
    /result_path: expected a path within the pack/,
  ],
  ["no runner", { enabled: true }, /runners: expected at least one runner/],
  [
    "format of another type",
    { runners: { a: { type: "node", entry_point: "tests/unit/a.test.js", result_format: "simple" } } },
    /runners\.a\.result_format: expected tap or junit-xml: a runner of the type node writes no simple/,
  ],
])("a wrong field is refused at its place: %s", async (_what, section, expected) => {
  const faults = await faultsOf(section);
  expect(faults).toHaveLength(1);
  expect(faults[0]).toMatch(/^pack\.yaml:4:\d+ testing/);
  expect(faults[0]).toMatch(expected);
});

test("paths that name no file are faults, all at once", async () => {
  const runners = {
    a: { ...script, entry_point: "tests/absent.sh" },
    b: { type: "node", entry_point: "tests/*.test.js" },
    c: script,
  };
  expect(
    (await faultsOf({ discovery: { method: "manifest", path: "tests" }, runners })).map((fault) =>
      fault.replace(/^\S+ /, ""),
    ),
  ).toEqual([
    'testing.discovery.path: the pack has no file "tests"',
    'testing.runners.a.entry_point: the pack has no file or directory "tests/absent.sh"',
    'testing.runners.b.entry_point: no file of the pack matches "tests/*.test.js"',
  ]);
});
