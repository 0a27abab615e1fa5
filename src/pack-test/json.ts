import { z } from "zod";
import { explain, firstFault } from "../lib/wording.ts";
import { type Collector, ReportFault, type TestCase, type TestStatus } from "./report.ts";

const duration = z.number().nonnegative().max(1e12).nullish();
const text = z.string().nullish();
const status = z.enum(["passed", "failed", "skipped", "error"]);

const ownCase = z.object({
  name: z.string(),
  status,
  duration_ms: duration,
  error_message: text,
  stdout: text,
  stderr: text,
});
/** Attune's own shape. */
const own = z.object({
  duration_ms: duration,
  test_suites: z.array(z.object({ name: text, test_cases: z.array(ownCase) })),
});
const jestCase = z.object({
  fullName: z.string(),
  status: z.string(),
  duration,
  failureMessages: z.array(z.string()).nullish(),
});
/** The shape of Jest and Vitest. A file that could not be loaded has no tests, and fails. */
const jest = z.object({
  testResults: z.array(
    z.object({ name: text, status: z.string(), message: text, assertionResults: z.array(jestCase) }),
  ),
});
const mochaCase = z.object({
  fullTitle: z.string(),
  duration,
  err: z.object({ message: text, stack: text }).nullish(),
});
/** The shape of Mocha. */
const mocha = z.object({
  stats: z.object({ duration }),
  passes: z.array(mochaCase),
  failures: z.array(mochaCase),
  pending: z.array(mochaCase),
});

/** Reads a JSON report: Attune's own (`test_suites` with `test_cases`), or that of Jest, Vitest or Mocha. Throws ReportFault. */
export async function readJson(pieces: AsyncIterable<string>, tests: Collector): Promise<void> {
  const parts: string[] = [];
  for await (const piece of pieces) parts.push(piece);
  const value = parse(parts.join("").trim());
  const ofOwn = own.safeParse(value, { error: explain });
  const [ofJest, ofMocha] = [jest.safeParse(value), mocha.safeParse(value)];
  if (ofOwn.success) readOwn(ofOwn.data, tests);
  else if (ofJest.success) readJest(ofJest.data, tests);
  else if (ofMocha.success) readMocha(ofMocha.data, tests);
  else {
    const place = firstFault(ofOwn.error);
    throw new ReportFault(
      "unreadable",
      `The JSON is neither Attune's shape (${place}) nor one of Jest, Vitest or Mocha.`,
    );
  }
}

function parse(content: string): unknown {
  if (content === "") throw new ReportFault("unreadable", "The result is empty: it has no JSON.");
  try {
    return JSON.parse(content);
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    const isCut = /^[[{]/.test(content) && /end of JSON input|Unterminated|Expected .* after/.test(error.message);
    if (isCut && !/[\]}]$/.test(content)) throw new ReportFault("truncated", "The JSON ends early.");
    throw new ReportFault("unreadable", `The result is no JSON: ${error.message.slice(0, 200)}.`);
  }
}

const given = (texts: Partial<Record<"errorMessage" | "stdout" | "stderr", string | null | undefined>>) =>
  Object.fromEntries(Object.entries(texts).filter(([, value]) => value)) as Partial<TestCase>; // texts only

function readOwn({ duration_ms, test_suites }: z.output<typeof own>, tests: Collector): void {
  if (typeof duration_ms === "number") tests.durationMs = duration_ms;
  for (const suite of test_suites) {
    for (const { name, status, error_message, stdout, stderr, ...each } of suite.test_cases) {
      const path = suite.name ? `${suite.name} > ${name}` : name;
      const texts = given({ errorMessage: error_message, stdout, stderr });
      tests.add({ name: path, status, durationMs: each.duration_ms ?? 0, ...texts });
    }
  }
}

const jestStatus: Readonly<Record<string, TestStatus>> = { passed: "passed", failed: "failed" };

function readJest({ testResults }: z.output<typeof jest>, tests: Collector): void {
  for (const file of testResults) {
    const isBroken = file.status === "failed" && !file.assertionResults.some((test) => test.status === "failed");
    if (isBroken) {
      tests.add({
        name: file.name ?? "(file)",
        status: "error",
        durationMs: 0,
        ...given({ errorMessage: file.message }),
      });
    }
    for (const { fullName, status, duration, failureMessages } of file.assertionResults) {
      const texts = given({ errorMessage: failureMessages?.join("\n") });
      tests.add({ name: fullName, status: jestStatus[status] ?? "skipped", durationMs: duration ?? 0, ...texts });
    }
  }
}

function readMocha({ stats, passes, failures, pending }: z.output<typeof mocha>, tests: Collector): void {
  if (typeof stats.duration === "number") tests.durationMs = stats.duration;
  for (const [status, list] of [
    ["passed", passes] as const,
    ["failed", failures] as const,
    ["skipped", pending] as const,
  ]) {
    for (const { fullTitle, duration, err } of list) {
      const texts = given({ errorMessage: err?.stack ?? err?.message });
      tests.add({ name: fullTitle, status, durationMs: duration ?? 0, ...texts });
    }
  }
}
