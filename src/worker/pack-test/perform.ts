import { chmodSync, chownSync, mkdtempSync } from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { readFiles } from "../../catalog/files.ts";
import type { ExecutionOutcome } from "../../execution/finish.ts";
import type { SuiteProgress, TestedRelease } from "../../execution/test-pack.ts";
import { globalId } from "../../lib/global-id.ts";
import { isObject, type Json, type JsonObject } from "../../lib/json.ts";
import { type Suite, storedResult } from "../../pack-test/result.ts";
import { buildLimitMs } from "../../process/environments/build.ts";
import { type Deadline, startDeadline } from "../deadline.ts";
import { actionEnvironment } from "../parameters.ts";
import { actionError, type HostEnvironment, outcome, type Run, stopped, timedOut } from "../runtimes/runtime.ts";
import { entrance } from "./enter.ts";
import { prefixed } from "./prefix.ts";
import { runTests } from "./run.ts";
import type { SuiteHost } from "./suite.ts";

/** Runs the tests of a release. The execution takes one slot, however many of its runners run at once; its time-out ends them all. */
export async function performTests(run: Run, host: HostEnvironment): Promise<ExecutionOutcome> {
  const { claim, tests } = run;
  using deadline = startDeadline(claim.timeoutMs);
  const signal = AbortSignal.any([run.signal, deadline.signal]);
  const ended = () => (run.signal.aborted ? stopped(claim) : timedOut(claim, null));
  try {
    const release = await tests.find();
    const pack = String(claim.config["pack"]);
    if (release === null) return failed(run, "NO_SUCH_RELEASE", `The release of the pack "${pack}" no longer exists.`);
    if (release.run !== null) return concluded(run, release.run);
    const directory = host.releases.get(release.digest) ?? release.path;
    const files = await readFiles(directory, () => false).catch(() => null);
    if (files?.digest !== release.digest) {
      const reason = files === null ? "cannot be read" : "have changed since they were loaded";
      return failed(
        run,
        "RELEASE_CHANGED",
        `The files of the pack "${pack}" in ${directory} ${reason}: load it again.`,
      );
    }
    const only = Array.isArray(claim.config["runners"]) ? claim.config["runners"].map(String) : null;
    const found = await inScratch(host, async (scratch) => {
      const tested = { release, directory, paths: files.paths, scratch, deadline };
      return await runTests(suiteHostOf({ ...run, signal }, host, tested), only, follow(run, release));
    });
    if (signal.aborted) return ended();
    const result = storedResult({ ref: pack, version: release.version }, found, release.testing.min_pass_rate);
    // A part of the tests says nothing about the release.
    const id = only === null ? await tests.store(release, found, result) : null;
    return concluded(run, { id, result });
  } catch (error) {
    return signal.aborted ? ended() : actionError(claim, error);
  }
}

const failed = ({ claim }: Run, code: string, message: string) =>
  outcome(claim, "failed", { error: { code, message } });

async function inScratch<T>({ scratch, runAs }: HostEnvironment, work: (directory: string) => Promise<T>): Promise<T> {
  const directory = mkdtempSync(join(scratch, "tests-"));
  if (runAs !== null) {
    chmodSync(scratch, 0o711);
    chownSync(directory, runAs.uid, runAs.gid);
  }
  try {
    return await work(directory);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

/** Reports each runner that starts or ends, in the log and to subscribers. */
function follow({ onOutput, tests }: Run, release: TestedRelease) {
  const all = Object.keys(release.testing.runners).length;
  let ended = 0;
  return (name: string, suite: Suite | null) => {
    tests.note(release, progressOf(name, suite));
    if (suite === null) return onOutput("system", `${name}: started\n`);
    ended += 1;
    if (suite.fault) onOutput("system", `${name}: ${suite.fault.message}\n`);
    const counts = `${suite.passed} passed, ${suite.failed} failed, ${suite.skipped} skipped in ${suite.durationMs} ms`;
    onOutput("stdout", `::progress ${Math.floor((100 * ended) / Math.max(ended, all))} ${name}: ${counts}\n`);
  };
}

const progressOf = (runner: string, suite: Suite | null): SuiteProgress => ({
  runner,
  status: suite === null ? "running" : suite.failed === 0 ? "passed" : "failed",
  total: suite?.total ?? 0,
  passed: suite?.passed ?? 0,
  failed: suite?.failed ?? 0,
  skipped: suite?.skipped ?? 0,
  durationMs: suite?.durationMs ?? 0,
});

/** Returns the outcome of an execution whose run is stored with that id; null: it is not stored. */
function concluded({ claim }: Run, { id, result }: { id: string | null; result: JsonObject }): ExecutionOutcome {
  const succeeded = result["succeeded"] === true;
  const { test_suites: suites, message, ...counts } = result;
  const data = {
    ...counts,
    run: id === null ? null : globalId("PackTestExecution", id),
    test_suites: Array.isArray(suites) ? suites.map(withBrokenOnly) : [],
  };
  const ended = { exit_code: succeeded ? 0 : 1, duration_ms: Number(result["duration_ms"]), data };
  if (succeeded) return outcome(claim, "completed", { result: ended });
  return outcome(claim, "failed", { result: ended, error: { code: "TESTS_FAILED", message: String(message) } });
}

const mostShown = 100;

/** The whole result is in the stored run. */
function withBrokenOnly(suite: Json): Json {
  if (!isObject(suite)) return suite;
  const cases = Array.isArray(suite["test_cases"]) ? suite["test_cases"] : [];
  const broken = cases.filter((test) => isObject(test) && ["failed", "error"].includes(String(test["status"])));
  return { ...suite, test_cases: broken.slice(0, mostShown) };
}

/** What is tested, and where. */
interface Tested {
  release: TestedRelease;
  directory: string;
  paths: ReadonlySet<string>;
  scratch: string;
  deadline: Deadline;
}

/** Returns what the suites need of the host. */
function suiteHostOf(run: Run, host: HostEnvironment, given: Tested): SuiteHost {
  const { claim, signal, onOutput } = run;
  const { release, directory, paths, scratch } = given;
  const variables = actionEnvironment({
    // The home of the worker's own user is closed to another one.
    base: host.runAs === null ? host.base : { ...host.base, HOME: scratch },
    executionId: BigInt(claim.id),
    action: claim.actionRef,
    packRef: String(claim.config["pack"]),
    apiUrl: host.apiUrl,
    ...{
      parameterFile: null,
      tokenFile: null,
      artifactsDir: null,
      rule: null,
      trigger: null,
      cause: run.cause(),
      traceparent: claim.traceContext,
    },
  });
  return {
    ...{ release: directory, paths, scratch, signal, testing: release.testing, runAs: host.runAs },
    variables: { ...variables, PYTHONUNBUFFERED: "1", PYTHONDONTWRITEBYTECODE: "1" },
    enter: inEnvironmentsOf(run, host, given),
    onOutput: prefixed(onOutput),
  };
}

/** Returns how programs are started in the environments of a release, which are built first if they are missing. */
function inEnvironmentsOf(
  { claim, signal, onOutput, restartTime }: Run,
  { interpreters, environments, base }: HostEnvironment,
  { release, directory, deadline }: Tested,
): SuiteHost["enter"] {
  const packRef = String(claim.config["pack"]);
  const find = async (runtimeRef: string, checksum: string) => {
    using pauses = new DisposableStack();
    const wait = async () => {
      pauses.use(deadline.pause());
      onOutput("system", `Waiting for the environment of the pack "${packRef}" in ${runtimeRef}.\n`);
      await restartTime(2 * buildLimitMs);
    };
    const wanted = { packRef, runtimeRef, checksum, release: { digest: release.digest, path: directory } };
    return await environments.enter(wanted, { signal, wait });
  };
  return entrance({ interpreters, base, environments: release.environments, find });
}
