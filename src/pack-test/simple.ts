import { stripVTControlCharacters } from "node:util";
import { eachLine } from "./input.ts";
import { type Collector, ReportFault } from "./report.ts";

type Counts = { passed: number; failed: number; error: number; skipped: number; durationMs: number };

/** The counts of Attune's own format, the last of each name. */
interface Own {
  total?: number;
  passed?: number;
  failed?: number;
  skipped?: number;
}

const ownLine = /^\s*(Total Tests|Passed|Failed|Skipped):\s*(\d{1,9})\s*$/i;
const ownNames: Readonly<Record<string, keyof Own>> = {
  "total tests": "total",
  passed: "passed",
  failed: "failed",
  skipped: "skipped",
};
const unittestRan = /^Ran (\d{1,9}) tests? in ([\d.]+)s$/;
const unittestVerdict = /^(OK|FAILED|NO TESTS RAN)(?: \((.*)\))?$/;
const pytestSummary = /^(?:=+ )?((?:\d{1,9} [a-z]+(?:, )?)+|no tests ran) in ([\d.]+)s(?: \([\d:]+\))?(?: =+)?$/;
const brokenTest = /^(FAIL|ERROR): (.+)$|^(FAILED|ERROR) ([^ ]+::[^ ]+)(?: - (.*))?$/;

/**
 * Reads the counts that a script prints (`Total Tests:`, `Passed:`, `Failed:`, `Skipped:`), or the summary of unittest or pytest. Throws
 * ReportFault where they are missing, contradict each other, or end early.
 */
export async function readSimple(pieces: AsyncIterable<string>, tests: Collector): Promise<void> {
  const own: Own = {};
  let ran: { total: number; durationMs: number } | null = null;
  let counts: Counts | null = null;
  await eachLine(pieces, (line) => {
    const text = stripVTControlCharacters(line);
    const [, name = "", number] = ownLine.exec(text) ?? [];
    const field = ownNames[name.toLowerCase()];
    if (field) own[field] = Number(number);
    const [, total, seconds] = unittestRan.exec(text) ?? [];
    if (total) ran = { total: Number(total), durationMs: Number(seconds) * 1000 };
    const verdict = ran && unittestVerdict.exec(text);
    if (ran && verdict) counts = ofUnittest(ran, verdict);
    const summary = pytestSummary.exec(text);
    if (summary) counts = ofPytest(summary);
    const broken = brokenTest.exec(text);
    if (broken) tests.name(named(broken));
  });
  counts ??= ofOwn(own, ran !== null);
  for (const status of ["passed", "failed", "error", "skipped"] as const) tests.count(status, counts[status]);
  if (counts.durationMs > 0) tests.durationMs = counts.durationMs;
}

const named = ([, unittest, test, pytest, node, message]: RegExpExecArray) => ({
  name: test ?? node ?? "",
  status: (unittest ?? pytest) === "ERROR" ? ("error" as const) : ("failed" as const),
  durationMs: 0,
  ...(message ? { errorMessage: message } : {}),
});

function ofOwn({ total, passed, failed, skipped = 0 }: Own, hasRan: boolean): Counts {
  if (hasRan) throw new ReportFault("truncated", 'The output ends after "Ran … tests", before OK or FAILED.');
  if (total === undefined && passed === undefined && failed === undefined) {
    throw new ReportFault("uncounted", 'The output has no line "Total Tests: N" and no summary of unittest or pytest.');
  }
  const missing = Object.entries({ "Total Tests": total, Passed: passed, Failed: failed }).filter(
    ([, number]) => number === undefined,
  );
  if (total === undefined || passed === undefined || failed === undefined) {
    throw new ReportFault("truncated", `The output has no line ${missing.map(([name]) => `"${name}: N"`).join(", ")}.`);
  }
  if (passed + failed + skipped !== total) {
    const sum = `${passed} passed, ${failed} failed and ${skipped} skipped`;
    throw new ReportFault("unreadable", `The counts do not add up: ${sum} of ${total} tests.`);
  }
  return { passed, failed, skipped, error: 0, durationMs: 0 };
}

/** Errors of fixtures are not among the tests that ran; neither are classes that were skipped. */
function ofUnittest({ total, durationMs }: { total: number; durationMs: number }, [, , list]: RegExpExecArray): Counts {
  const number = (name: string) => Number(new RegExp(`(?:^|, )${name}=(\\d{1,9})`).exec(list ?? "")?.[1] ?? 0);
  const failed = number("failures") + number("unexpected successes");
  const [error, skipped] = [number("errors"), number("skipped")];
  return { failed, error, skipped, durationMs, passed: Math.max(0, total - failed - error - skipped) };
}

function ofPytest([, list = "", seconds]: RegExpExecArray): Counts {
  const number = (name: string) => Number(new RegExp(`(?:^|, )(\\d+) ${name}(?:,|$)`).exec(list)?.[1] ?? 0);
  return {
    passed: number("passed") + number("xpassed"),
    failed: number("failed"),
    error: number("errors?"),
    skipped: number("skipped") + number("xfailed"),
    durationMs: Number(seconds) * 1000,
  };
}
