import type { JsonObject } from "../lib/json.ts";
import { cut, type Fault, type Report, type TestCase } from "./report.ts";

/** Why a runner has not passed, whatever its tests say: it could not be run, did not end by itself, or reported nothing readable. */
export interface RunFault {
  kind: Fault["kind"] | "not_started" | "timed_out" | "crashed";
  message: string;
}

/** What one runner of a pack did. With a fault, one test that ended in an error has the fault's message, and counts as one more. */
export interface Suite {
  name: string;
  runnerType: string;
  total: number;
  passed: number;
  failed: number;
  skipped: number;
  durationMs: number;
  fault: RunFault | null;
  cases: TestCase[];
}

/** The end of what a program wrote, beside its report. */
export interface Tails {
  stdout: string;
  stderr: string;
}

/** Of all texts of a result together, in characters: a row is read as a whole. */
const mostText = 2 * 1024 * 1024;
const longestTail = 8192;

/**
 * Returns the suite of a runner from the reports of its programs, one for each. A suite without a test that ran has a fault: nothing was
 * shown to work.
 */
export function suiteOf(
  { name, runnerType }: Pick<Suite, "name" | "runnerType">,
  reports: readonly Report[],
  { durationMs, fault, tails }: { durationMs: number; fault: RunFault | null; tails: Tails },
): Suite {
  const sum = (count: (report: Report) => number) => reports.reduce((total, report) => total + count(report), 0);
  const counts = {
    total: sum((each) => each.total),
    passed: sum((each) => each.passed),
    failed: sum((each) => each.failed),
    skipped: sum((each) => each.skipped),
  };
  const cases = reports.flatMap((each) => each.cases);
  const found = fault ?? reports.find((each) => each.fault !== null)?.fault ?? idleFault(counts);
  if (found === null) return { name, runnerType, ...counts, durationMs, fault: null, cases };
  const broken: TestCase = { name: `(${name})`, status: "error", durationMs, errorMessage: found.message };
  for (const stream of ["stdout", "stderr"] as const) {
    const text = tails[stream].slice(-longestTail);
    if (text !== "") broken[stream] = text;
  }
  const withFault = { ...counts, total: counts.total + 1, failed: counts.failed + 1 };
  return { name, runnerType, ...withFault, durationMs, fault: found, cases: [broken, ...cases] };
}

function idleFault({ total, skipped }: Pick<Suite, "total" | "skipped">): RunFault | null {
  if (total > skipped) return null;
  return { kind: "no_tests", message: `No test ran: ${total === 0 ? "there is none" : `all ${total} were skipped`}.` };
}

/** A run of a pack's tests, as it is stored. */
export interface RunResult {
  totalTests: number;
  passed: number;
  failed: number;
  skipped: number;
  /** Of the tests that were not skipped, from 0 to 1. */
  passRate: number;
  durationMs: number;
  /** Whether no runner has a fault, and enough tests passed. */
  succeeded: boolean;
  suites: readonly Suite[];
}

/** Returns the run of these suites; `minPassRate` is from 0 to 1. */
export function resultOf(suites: readonly Suite[], durationMs: number, minPassRate: number): RunResult {
  const sum = (count: (suite: Suite) => number) => suites.reduce((total, suite) => total + count(suite), 0);
  const [passed, failed] = [sum((each) => each.passed), sum((each) => each.failed)];
  const passRate = passed + failed === 0 ? 0 : passed / (passed + failed);
  return {
    totalTests: sum((each) => each.total),
    passed,
    failed,
    skipped: sum((each) => each.skipped),
    passRate,
    durationMs,
    succeeded: suites.length > 0 && suites.every(({ fault }) => fault === null) && passRate >= minPassRate,
    suites,
  };
}

/** Returns why a run did not succeed. */
function failureOf({ suites, failed, totalTests, passRate }: RunResult, minPassRate: number): string {
  const faults = suites.flatMap(({ name, fault }) => (fault ? [`${name}: ${fault.message}`] : []));
  if (faults.length > 0) return faults.join(" ");
  const names = suites.flatMap(({ cases }) => cases.filter(isBroken).map((each) => each.name));
  const shown = names.slice(0, 5).join(", ");
  const listed = shown === "" ? "" : `: ${shown}${names.length > 5 ? " …" : ""}`;
  const share = minPassRate === 1 ? "" : ` The pass rate is ${percent(passRate)}, less than ${percent(minPassRate)}.`;
  return `${failed} of ${totalTests} tests failed${cut(listed, 1000)}.${share}`;
}

const percent = (rate: number) => `${Math.floor(rate * 1000) / 10} %`;

const isBroken = ({ status }: TestCase) => status === "failed" || status === "error";

/**
 * Returns the whole result with its suites and their tests, in the form in which it is stored, at most 2 Mi characters of text: the output of
 * tests that passed is left out first, then that of the others, then the tests themselves. What was left out is said in `truncated`.
 */
export function storedResult(pack: { ref: string; version: string }, run: RunResult, minPassRate: number): JsonObject {
  const steps: ((test: TestCase) => TestCase | null)[] = [
    (test) => test,
    (test) => (isBroken(test) ? test : withoutOutput(test)),
    withoutOutput,
    (test) => (isBroken(test) ? withoutOutput(test) : null),
    () => null,
  ];
  const step = steps.find((reduce) => sizeOf(run.suites, reduce) <= mostText) ?? (() => null);
  return {
    pack_ref: pack.ref,
    pack_version: pack.version,
    total_tests: run.totalTests,
    passed: run.passed,
    failed: run.failed,
    skipped: run.skipped,
    pass_rate: run.passRate,
    duration_ms: run.durationMs,
    min_pass_rate: minPassRate,
    succeeded: run.succeeded,
    message: run.succeeded ? null : failureOf(run, minPassRate),
    truncated: step !== steps[0],
    test_suites: run.suites.map((suite) => ({
      name: suite.name,
      runner_type: suite.runnerType,
      total: suite.total,
      passed: suite.passed,
      failed: suite.failed,
      skipped: suite.skipped,
      duration_ms: suite.durationMs,
      ...(suite.fault ? { fault: { kind: suite.fault.kind, message: suite.fault.message } } : {}),
      test_cases: suite.cases.flatMap((test) => storedCase(step(test))),
    })),
  };
}

const withoutOutput = ({ stdout: _stdout, stderr: _stderr, ...test }: TestCase): TestCase => test;

function sizeOf(suites: readonly Suite[], reduce: (test: TestCase) => TestCase | null): number {
  const size = (test: TestCase | null) =>
    test === null
      ? 0
      : 60 + [test.name, test.errorMessage, test.stdout, test.stderr].reduce((sum, text = "") => sum + text.length, 0);
  return suites.reduce((sum, { cases }) => sum + cases.reduce((each, test) => each + size(reduce(test)), 0), 0);
}

function storedCase(test: TestCase | null): JsonObject[] {
  if (test === null) return [];
  const { name, status, durationMs, errorMessage, stdout, stderr } = test;
  const texts = Object.entries({ error_message: errorMessage, stdout, stderr }).filter(([, text]) => text);
  return [
    {
      name: storable(name),
      status,
      duration_ms: durationMs,
      ...Object.fromEntries(texts.map(([key, text]) => [key, storable(text ?? "")])),
    },
  ];
}

/** PostgreSQL stores neither NUL nor halves of surrogate pairs. */
const storable = (text: string) => text.toWellFormed().replaceAll("\0", "\ufffd");
