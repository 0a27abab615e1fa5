import { readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { type RunResult, resultOf, type Suite, suiteOf } from "../../pack-test/result.ts";
import { EnvironmentError } from "../../process/environments/environments.ts";
import { copyRelease } from "../../process/environments/recipe.ts";
import { runProcess } from "../../process/process.ts";
import { PlanError, readPlan, runtimeOfScript } from "./discover.ts";
import { type PlannedSuite, runSuite, type SuiteHost } from "./suite.ts";

/** How many runners run at once. */
const together = 4;
const discoveryMs = 60_000;

/** Is called when a runner starts, and when it has ended with its suite. */
export type OnSuite = (name: string, ended: Suite | null) => void;

/**
 * Runs the tests of a release with all of its runners, or those that are named, up to four at once. What the pack does wrong is in the
 * result: it rejects only when the host fails. Aborted, it ends early, and the result means nothing.
 */
export async function runTests(host: SuiteHost, only: readonly string[] | null, onSuite: OnSuite): Promise<RunResult> {
  const started = performance.now();
  const planned = await planOf(host, only);
  const suites: Suite[] = [];
  const waiting = [...planned.entries()];
  const take = async () => {
    for (let next = waiting.shift(); next !== undefined && !host.signal.aborted; next = waiting.shift()) {
      const [index, suite] = next;
      onSuite(suite.name, null);
      const ended = "total" in suite ? suite : await runSuite(suite, host);
      suites[index] = ended;
      onSuite(suite.name, ended);
    }
  };
  await Promise.all(Array.from({ length: together }, take));
  const durationMs = Math.round(performance.now() - started);
  return resultOf(suites.filter(Boolean), durationMs, host.testing.min_pass_rate);
}

/** Returns the runners and their files; a discovery that fails is a suite of its own with that fault. */
async function planOf(host: SuiteHost, only: readonly string[] | null): Promise<(PlannedSuite | Suite)[]> {
  const { discovery, runners } = host.testing;
  const chosen = Object.entries(runners).filter(([name]) => only === null || only.includes(name));
  const all = chosen.map(([name, runner]) => ({ name, runner, entries: null }));
  if (discovery.method === "directory") return all;
  try {
    const plan = readPlan(await readList(host), runners, host.paths);
    return all.flatMap((each) => {
      const entries = plan.get(each.name);
      return entries ? [{ ...each, entries }] : [];
    });
  } catch (error) {
    if (!(error instanceof PlanError || error instanceof EnvironmentError)) throw error;
    const fault = { kind: "not_started" as const, message: error.message };
    const end = { durationMs: 0, fault, tails: { stdout: "", stderr: "" } };
    return [suiteOf({ name: "discovery", runnerType: discovery.method }, [], end)];
  }
}

/** Returns the list of tests: the file, or what the program prints. Throws PlanError. */
async function readList(host: SuiteHost): Promise<string> {
  const { release, testing, scratch, variables, runAs, signal } = host;
  const { method, path } = testing.discovery;
  if (method === "manifest") return await readFile(join(release, path), "utf8");
  const directory = join(scratch, ".discovery");
  await copyRelease(release, directory);
  try {
    const runtime = await runtimeOfScript(directory, path);
    const setting = await host.enter(runtime);
    const [command = "", ...args] = runtime === null ? [`./${path}`] : [setting.command, path];
    const ended = await runProcess(
      {
        ...{ command, args, cwd: directory, runAs, signal, stdin: null, timeoutMs: discoveryMs, graceMs: 5000 },
        env: { ...variables, ...setting.variables },
      },
      { onOutput: (stream, text) => stream !== "stdout" && host.onOutput("discovery", stream, text) },
    );
    if (ended.ended === "exited" && ended.exitCode === 0) return ended.stdout;
    throw new PlanError(
      `The program "${path}", which lists the tests, failed: ${ended.message ?? `it exited with code ${ended.exitCode}.`}`,
    );
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}
