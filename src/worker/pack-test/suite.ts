import { constants, createReadStream } from "node:fs";
import { chown, mkdir, open, readdir, realpath, rm, symlink } from "node:fs/promises";
import { join, sep } from "node:path";
import type { Testing } from "../../catalog/testing.ts";
import { type ResultFormat, readReport } from "../../pack-test/parse.ts";
import { Collector, type Report } from "../../pack-test/report.ts";
import { type RunFault, type Suite, suiteOf } from "../../pack-test/result.ts";
import { EnvironmentError } from "../../process/environments/environments.ts";
import { copyRelease, type Setting } from "../../process/environments/recipe.ts";
import { type ProcessResult, runProcess } from "../../process/process.ts";
import type { RunAs } from "../../process/start.ts";
import { type Command, commandsOf } from "./command.ts";
import { entriesOf, PlanError, type Runner } from "./discover.ts";

const graceMs = 5000;

/** How programs are started in a runtime of this host and the pack's environments for it. */
export type Entered = Pick<Setting, "command" | "variables" | "links">;

/** What the suites of a run share. */
export interface SuiteHost {
  /** The directory of the release's files, and their paths. */
  release: string;
  paths: ReadonlySet<string>;
  testing: Testing;
  /** The directory for copies of the release. */
  scratch: string;
  /** The variables of every process. */
  variables: Readonly<Record<string, string>>;
  runAs: RunAs | null;
  signal: AbortSignal;
  /**
   * Returns how programs are started in a runtime; null: programs that name their interpreters themselves. Throws EnvironmentError.
   */
  enter(runtime: string | null): Promise<Entered>;
  onOutput(suite: string, stream: "stdout" | "stderr" | "system", text: string): void;
}

/** A runner, and the files that it tests. Null: those that its entry point names. */
export interface PlannedSuite {
  name: string;
  runner: Runner;
  entries: readonly string[] | null;
}

const most = 64 * 1024;

/**
 * Runs a runner in a copy of the release, which it may change, and returns what it reported. It never rejects for what the pack does: then the
 * suite has a fault. Processes end with it.
 */
export async function runSuite({ name, runner, entries }: PlannedSuite, host: SuiteHost): Promise<Suite> {
  const started = performance.now();
  const reports: Report[] = [];
  const tails = { stdout: "", stderr: "" };
  const directory = join(host.scratch, name);
  const fail = (kind: RunFault["kind"], message: string): RunFault => ({ kind, message });
  const work = async (): Promise<RunFault | null> => {
    await copyFor(host, directory);
    const commands = await commandsOf(runner, entries ?? entriesOf(runner, host.paths), directory);
    for (const command of commands) {
      const setting = await host.enter(command.runtime);
      await link(directory, setting);
      const leftMs = runner.timeout * 1000 - (performance.now() - started);
      const fault = await runCommand(
        { command, setting, directory, name, runner, timeoutMs: leftMs, tails, reports },
        host,
      );
      if (fault) return fault;
    }
    return null;
  };
  try {
    const fault = await work().catch((error: unknown) => {
      if (!(error instanceof PlanError || error instanceof EnvironmentError)) throw error;
      return fail("not_started", error.message);
    });
    const durationMs = Math.round(performance.now() - started);
    return suiteOf({ name, runnerType: runner.type }, reports, { durationMs, fault, tails });
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

/** Copies the release; what earlier results are in it is not taken for new ones. */
async function copyFor({ release, testing, runAs }: SuiteHost, directory: string): Promise<void> {
  await copyRelease(release, directory);
  if (testing.result_path !== undefined) {
    const results = join(directory, testing.result_path);
    await rm(results, { recursive: true, force: true });
    await mkdir(results, { recursive: true });
  }
  if (runAs !== null) await giveAll(directory, runAs);
}

async function giveAll(directory: string, { uid, gid }: RunAs): Promise<void> {
  await chown(directory, uid, gid);
  for (const entry of await readdir(directory, { withFileTypes: true, recursive: true })) {
    await chown(join(entry.parentPath, entry.name), uid, gid);
  }
}

async function link(directory: string, { links }: Entered): Promise<void> {
  for (const [name, target] of Object.entries(links)) {
    await symlink(target, join(directory, name)).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== "EEXIST") throw error;
    });
  }
}

interface Running {
  command: Command;
  setting: Entered;
  directory: string;
  name: string;
  runner: Runner;
  timeoutMs: number;
  tails: { stdout: string; stderr: string };
  reports: Report[];
}

/** Runs a command, adds its reports and the ends of its outputs, and returns why it failed; null: its reports say all. */
async function runCommand(
  { command, setting, directory, name, runner, timeoutMs, tails, reports }: Running,
  host: SuiteHost,
): Promise<RunFault | null> {
  const [program = "", ...rest] = command.runtime === null ? command.args : [setting.command, ...command.args];
  const written: string[] = [];
  const ended = await runProcess(
    {
      command: program,
      args: rest,
      cwd: directory,
      // Python finds modules beside the started file only: a test in a directory of tests imports those of its pack.
      env: { ...host.variables, PYTHONPATH: directory, ...setting.variables },
      runAs: host.runAs,
      stdin: null,
      timeoutMs: Math.max(1, timeoutMs),
      graceMs,
      signal: host.signal,
    },
    {
      onOutput: (stream, text) => {
        if (stream !== "system") tails[stream] = `${tails[stream]}${text}`.slice(-most);
        if (stream !== "system" && command.report === "both") written.push(text);
        host.onOutput(name, stream, text);
      },
    },
  );
  const before = reports.length;
  const found = await readFound(host.testing, directory, { runner, command });
  if (found.length > 0) reports.push(...found);
  else {
    const texts = command.report === "both" ? written : [ended.stdout];
    const report = await readReport(
      runner.result_format,
      texts.map((text) => Buffer.from(text)),
    );
    reports.push(byExitCode(report, { ended, runner, command }));
  }
  return faultOf(ended, runner, reports.slice(before));
}

/** A script that counts nothing is one test, which its exit code decides. */
function byExitCode(
  report: Report,
  { ended, runner, command }: { ended: ProcessResult; runner: Runner; command: Command },
): Report {
  if (report.fault?.kind !== "uncounted" || runner.type !== "script") return report;
  if (ended.ended !== "exited" || ended.exitCode === null) return report;
  const test = { name: command.args.at(-1) ?? "", durationMs: report.durationMs };
  const tests = new Collector();
  if (ended.exitCode === 0) tests.add({ ...test, status: "passed" });
  else tests.add({ ...test, status: "failed", errorMessage: `It exited with code ${ended.exitCode}.` });
  return tests.report(null);
}

/** Returns the reports in files: of the file that the command writes, or of all in `result_path`. */
async function readFound(
  { result_path }: Testing,
  directory: string,
  { runner, command: { report } }: { runner: Runner; command: Command },
): Promise<Report[]> {
  const read = async (path: string) => await readFileReport(directory, path, runner.result_format);
  if (typeof report === "object") return await read(report.file);
  if (result_path === undefined || runner.type !== "script") return [];
  const ending = endings[runner.result_format];
  const names = await readdir(join(directory, result_path), { recursive: true }).catch(() => []);
  const reports: Report[] = [];
  for (const name of names
    .filter((each) => each.endsWith(ending))
    .sort()
    .slice(0, 1000)) {
    reports.push(...(await read(join(result_path, name))));
  }
  return reports;
}

const endings = { simple: ".txt", "junit-xml": ".xml", tap: ".tap", json: ".json" };

/** Tests may leave links: only a regular file in the copy is read. A file that does not exist has no report. */
async function readFileReport(directory: string, path: string, format: ResultFormat): Promise<Report[]> {
  const file = join(directory, path);
  const real = await realpath(file).catch(() => null);
  if (real === null || !real.startsWith(`${await realpath(directory)}${sep}`)) return [];
  const handle = await open(real, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  try {
    if (!(await handle.stat()).isFile()) return [];
    return [await readReport(format, createReadStream(real, { fd: handle, autoClose: false }))];
  } finally {
    await handle.close();
  }
}

/** Returns the fault of a program's end. An exit code other than 0 is no fault where a test has failed. */
function faultOf(ended: ProcessResult, runner: Runner, reports: readonly Report[]): RunFault | null {
  const hasFailed = reports.some((report) => report.failed > 0);
  switch (ended.ended) {
    case "spawn_failed":
      return { kind: "not_started", message: ended.message ?? "The runner could not be started." };
    case "timed_out":
      return { kind: "timed_out", message: `The runner did not end within ${runner.timeout} s and was stopped.` };
    case "stopped":
      return { kind: "crashed", message: "The runner was stopped." };
    case "exited":
      if (ended.exitCode === null) return { kind: "crashed", message: `The runner was ended by ${ended.signalName}.` };
      if (ended.truncated.stdout && reports.some(({ fault }) => fault !== null)) {
        return {
          kind: "unreadable",
          message: "The runner wrote more than 10 MiB: let it write its report to result_path.",
        };
      }
      if (ended.exitCode === 0 || hasFailed) return null;
      return { kind: "crashed", message: `The runner exited with code ${ended.exitCode}: ${reasonOf(reports)}` };
    default:
      throw new Error(ended.ended satisfies never);
  }
}

const reasonOf = (reports: readonly Report[]) =>
  reports.find(({ fault }) => fault !== null)?.fault?.message ?? "it reported no failed test.";
