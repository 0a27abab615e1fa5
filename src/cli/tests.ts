import type { Context } from "./context.ts";
import { type Piece, pieceFields, printPiece, readEnd } from "./ended.ts";
import { Failure } from "./failure.ts";

interface TestCase {
  name: string;
  status: string;
  error_message?: string;
  stdout?: string;
  stderr?: string;
}

interface Suite {
  name: string;
  test_cases: TestCase[];
}

/** The result of a pack's tests, as it is stored. */
export interface PackTestResult {
  succeeded: boolean;
  message: string | null;
  passed: number;
  failed: number;
  skipped: number;
  test_suites: Suite[];
}

/** Returns the suites without their tests, and the tests that failed with what they wrote. */
export function suitesOf({ test_suites: suites }: PackTestResult) {
  return {
    suites: suites.map(({ test_cases: _cases, ...suite }) => suite),
    broken: suites.flatMap(({ name: suite, test_cases: cases }) =>
      cases
        .filter(({ status }) => status === "failed" || status === "error")
        .map(({ name, error_message: message, stdout, stderr }) => ({
          ...{ suite, name },
          text: [message, stdout, stderr].filter(Boolean).join("\n"),
        })),
    ),
  };
}

const progress = /^::progress \d+ (.*)$/gm;

/** Waits for the end of an execution that runs tests. Says on stderr how each runner ended, or prints all that they write. */
export async function followTests(context: Context, id: string, all: boolean): Promise<void> {
  const document = `subscription($id: ID!, $after: Cursor) { executionLog(id: $id, after: $after) { ${pieceFields} } }`;
  for await (const piece of context.follow<Piece>({ document, variables: { id }, after: null })) {
    if (all) await printPiece(context, piece);
    else for (const [, line = ""] of piece.text.matchAll(progress)) context.note(line);
  }
}

/** Returns the result of an execution of tests that has ended. Throws Failure when it ended without one. */
export async function readEnded(context: Context, id: string): Promise<PackTestResult> {
  const { status, reason, result } = await readEnd(context, id);
  const data = (result as { data?: PackTestResult & { run?: string | null } } | null)?.data;
  if (!data)
    throw new Failure(`The tests have ended without a result: ${status}${reason === null ? "" : ` (${reason})`}.`);
  if (!data.run) return { ...data, message: data.succeeded ? null : reason };
  const { packTestExecution } = await context.ask<{ packTestExecution: { result: PackTestResult } | null }>(
    "query($id: ID!) { packTestExecution(id: $id) { result } }",
    { id: data.run },
  );
  return packTestExecution?.result ?? data;
}
