import { existsSync } from "node:fs";
import { join } from "node:path";
import { atEachChange } from "../changes.ts";
import { mutate } from "../client.ts";
import type { Context } from "../context.ts";
import { define, type Group, groupOf, option } from "../define.ts";
import { Failure, UsageFailure } from "../failure.ts";
import { withoutControls } from "../terminal.ts";
import { followTests, type PackTestResult, readEnded, suitesOf } from "../tests.ts";

const issueColumns = [
  ["PLACE", "path"],
  ["FAULT", "message"],
] as const;

interface TestOptions {
  runner?: string[];
  /** Another name of the option. */
  runtime?: string[];
  cache: boolean;
  follow?: boolean;
  watch?: boolean;
}

/** Prints a value for programs. */
type Print = (value: unknown) => Promise<void>;

/** Adds `pack test`, `pack check`, `pack schema` and `pack create`. All but the test of a ref work without a server. */
export function addPacks(above: Group): void {
  const commands = groupOf(above, "pack");
  define<TestOptions>(commands, {
    name: "test <pack>",
    description: "run the tests of a pack of the server, by its ref, or of one in a directory, by a path with a slash",
    options: [
      option("--runner <names...>", "only these of its runners"),
      option("--runtime <names...>", "the same").conflicts("runner"),
      option("--no-cache", "also when the release has passed them before"),
      option("--follow", "print what the runners write"),
      option("--verbose", "the same, and say what is asked of the server"),
      option("--watch", "run them again after each change in the directory, until Ctrl-C"),
    ],
    examples: [
      "test core",
      "test core --no-cache --follow",
      "test ./packs/core --runner actions",
      "test core --output json",
    ],
    names: "pack",
    run: test,
  });
  define<CheckOptions>(commands, {
    name: "check <directories...>",
    description:
      "find every fault in the files of packs, and between them, each with its file, line and column; fails if there are any",
    options: [
      option("--with <directories...>", "packs that they need or whose actions and triggers their rules use"),
      option("--watch", "check one directory again after each change of its files, until Ctrl-C"),
    ],
    examples: ["check ./packs/core", "check ./packs/core ./packs/greetings", "check ./packs/core --output json"],
    run: async (context, directories, options) => {
      const [directory = "", ...more] = directories;
      if (!options.watch) return await check(context, directories, options, (value) => context.printValue(value));
      if (more.length > 0) throw new UsageFailure("--watch is for one directory: name the others by --with.");
      return await atEachChange(context, directory, () =>
        check(context, directories, options, (value) => context.printNext(value, [])),
      );
    },
  });
  define(commands, {
    name: "schema <kind>",
    description:
      "print the JSON Schema of a kind of file for editors: pack, action, trigger, sensor, rule, runtime, permission_set or index",
    examples: ["schema action"],
    run: async (context, [kind = ""]) => {
      const schema = await context.terminal.author.schema(kind);
      if (schema) return await context.write(`${JSON.stringify(schema, null, 2)}\n`);
      throw new UsageFailure(
        `"${kind}" is no kind of file: write one of ${(await context.terminal.author.kinds()).join(", ")}.`,
      );
    },
  });
  define(commands, {
    name: "create <ref> [directory]",
    description: "write a new pack with an action, a rule and a test, by default into a directory of its name",
    examples: ["create greetings ./packs/greetings"],
    run: async (context, [ref = "", directory = ref]) => {
      const files = await context.terminal.author.create(ref, directory);
      if (context.options.output !== "table") return await context.printValue({ directory, files });
      await context.write(files.map((file) => `${directory}/${file}\n`).join(""));
      const path = isPath(directory) ? directory : `./${directory}`;
      context.note(
        `Next: "attune pack check ${path}", "attune pack test ${path}", then "attune pack install ${path}".`,
      );
    },
  });
  addImport(commands);
}

function addImport(commands: Group): void {
  define<ImportOptions>(commands, {
    name: "import-st2 <directory>",
    description: "import the pack of StackStorm in a directory as a new pack, and say what became of each of its parts",
    options: [
      option("--into <directory>", "the directory of the new pack; by default its ref"),
      option("--with <directories...>", "the packs whose actions and triggers its rules use"),
      option("--force", "replace the directory of an earlier import"),
    ],
    examples: ["import-st2 ./stackstorm-greetings --into ./packs/imported"],
    run: importSt2,
  });
}

interface ImportOptions {
  into?: string;
  with?: string[];
  force?: boolean;
}

const componentColumns = [
  ["KIND", "kind"],
  ["NAME", "name"],
  ["RESULT", "result"],
  ["NOTE", "note"],
] as const;

async function importSt2(context: Context, [directory = ""]: string[], options: ImportOptions): Promise<void> {
  const { into = null, with: others = [], force = false } = options;
  const report = await context.terminal.author.importSt2(directory, { into, force, others });
  if (context.options.output !== "table") return await context.printValue(report);
  const rows = report.components.map(({ notes, result, ...each }) => ({
    ...each,
    result: result.replace("_", " "),
    note: notes.join("; "),
  }));
  await context.printRows(rows, componentColumns, "Nothing was imported.");
  for (const [kind, { carried = 0, changed = 0, not_carried = 0 }] of Object.entries(report.counts)) {
    context.note(`${kind}: ${carried} carried, ${changed} changed, ${not_carried} not carried.`);
  }
  context.note(`${report.ref} ${report.version} is in ${report.directory}.`);
}

/** Whether a pack is named by the path of its directory, and not by its ref. */
export const isPath = (text: string): boolean => text === "." || text === ".." || text.includes("/");

/** Says how to name a directory, where there is one with the name of something else. */
export function noteDirectory(context: Context, name: string, what: string): void {
  if (existsSync(join(name, "pack.yaml"))) {
    context.note(`"${name}" is taken for ${what}; the directory of that name is "./${name}".`);
  }
}

interface CheckOptions {
  with?: string[];
  watch?: boolean;
}

async function check(
  context: Context,
  directories: readonly string[],
  options: Pick<CheckOptions, "with">,
  print: Print,
): Promise<number> {
  const checks = await context.terminal.author.check(directories, options.with ?? []);
  const isValid = checks.every(({ issues }) => issues.length === 0);
  if (context.options.output !== "table") {
    const found = checks.map(({ issues, ...of }) => ({ ...of, valid: issues.length === 0, issues }));
    await print(found.length === 1 ? found[0] : found);
    return isValid ? 0 : 1;
  }
  // Of several packs each place begins with the directory, so that it can be opened.
  const placeOf = (directory: string, path: string) => (checks.length === 1 ? path : join(directory, path));
  const rows = checks.flatMap(({ directory, issues }) =>
    issues.map(({ path, message }) => ({ path: placeOf(directory, path), message })),
  );
  const names = checks.map(({ ref, version }) => `${ref} ${version}`).join(", ");
  await context.printRows(rows, issueColumns, `${names}: no faults were found.`);
  return isValid ? 0 : 1;
}

async function test(context: Context, [pack = ""]: string[], given: TestOptions): Promise<number> {
  const runner = given.runner ?? given.runtime;
  const follow = given.follow === true || context.options.verbose === true;
  const options = { ...given, follow, ...(runner === undefined ? {} : { runner }) };
  if (!isPath(pack)) {
    noteDirectory(context, pack, "the ref of a pack of the server");
    if (options.watch) throw new UsageFailure("--watch is for a pack in a directory: name it by a path with a slash.");
    return await printResult(context, await testOnServer(context, pack, options), (value) => context.printValue(value));
  }
  if (!options.watch) return await testDirectory(context, pack, options, (value) => context.printValue(value));
  return await atEachChange(context, pack, () =>
    testDirectory(context, pack, options, (value) => context.printNext(value, [])),
  );
}

async function testDirectory(
  context: Context,
  directory: string,
  { runner: runners, follow }: TestOptions,
  print: Print,
): Promise<number> {
  const result = (await context.terminal.author.test(directory, {
    runners: runners ?? null,
    signal: context.terminal.signal,
    onOutput: (stream, text) => {
      if (follow || stream === "system") context.terminal.stderr.write(withoutControls(text));
    },
  })) as PackTestResult;
  return await printResult(context, result, print);
}

/** Runs the tests on a worker of the server, and returns their result when they have ended. */
export async function testOnServer(
  context: Context,
  pack: string,
  { runner: runners, cache, follow }: Omit<TestOptions, "watch">,
): Promise<PackTestResult> {
  const input = { pack, noCache: !cache, ...(runners === undefined ? {} : { runners }) };
  const selection = "execution { id } run { id result }";
  const started = await mutate<{ execution: { id: string } | null; run: { result: PackTestResult } | null }>(
    context.ask,
    "testPack",
    input,
    selection,
  );
  if (started.run) {
    context.note("The release has passed its tests before; --no-cache runs them again.");
    return started.run.result;
  }
  if (!started.execution) throw new Failure("You may not read the execution that runs the tests.");
  await followTests(context, started.execution.id, follow === true);
  return await readEnded(context, started.execution.id);
}

/** Prints the result of tests. Returns the exit code. */
export async function printResult(context: Context, result: PackTestResult, print: Print): Promise<number> {
  if (context.options.output === "table") await printSuites(context, result);
  else await print(result);
  return result.succeeded ? 0 : 1;
}

async function printSuites(context: Context, result: PackTestResult): Promise<void> {
  const { suites, broken } = suitesOf(result);
  await context.printRows(suites, suiteColumns, "No runner was run.");
  for (const { suite, name, text } of broken) {
    await context.write(`\n${withoutControls(`${suite}: ${name}`)}\n${indented(text)}`);
  }
  const { passed, failed, skipped, message } = result;
  context.note(`${passed} passed, ${failed} failed, ${skipped} skipped.${message ? ` ${message}` : ""}`);
}

const suiteColumns = [
  ["RUNNER", "name"],
  ["TYPE", "runner_type"],
  ["PASSED", "passed"],
  ["FAILED", "failed"],
  ["SKIPPED", "skipped"],
  ["MS", "duration_ms"],
] as const;

const indented = (text: string) => (text === "" ? "" : `${withoutControls(text.trimEnd()).replaceAll(/^/gm, "  ")}\n`);
