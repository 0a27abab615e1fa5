import { type FinalResults, Parser, type Result } from "tap-parser";
import { eachLine } from "./input.ts";
import { type Collector, ReportFault } from "./report.ts";

const mostTests = 500_000;
/** The tests whose diagnostics are read, and the lines of each. */
const mostExplained = 10_000;
const mostLines = 200;
const deepest = 100;

/**
 * Reads TAP 13 and 14. Of a test with subtests only these count, unless it failed and none of them did. Throws ReportFault where there is
 * no TAP, and where it ends before the last test of a plan or bails out.
 */
export async function readTap(pieces: AsyncIterable<string>, tests: Collector): Promise<void> {
  const seen = { hasTap: false };
  const faults: string[] = [];
  const parser = new Parser({ omitVersion: true });
  watch(parser, { tests, faults, path: [] });
  const ended = new Promise<FinalResults>((resolve) => parser.on("complete", resolve));
  const relevant = filter();
  await eachLine(pieces, (line) => {
    seen.hasTap ||= /^(TAP version \d+|\s*(not )?ok\b|\s*\d+\.\.\d+)/.test(line);
    if (relevant(line)) parser.write(`${line}\n`);
    if (tests.total > mostTests) throw new ReportFault("unreadable", `The TAP has more than ${mostTests} tests.`);
  });
  parser.end();
  const { bailout } = await ended;
  if (bailout) {
    throw new ReportFault("truncated", `The tests bailed out${typeof bailout === "string" ? `: ${bailout}` : ""}.`);
  }
  if (!seen.hasTap) throw new ReportFault("unreadable", "The output has no TAP: no plan and no test.");
  if (faults.length > 0 && tests.total > 0) throw new ReportFault("truncated", `The TAP is incomplete: ${faults[0]}.`);
}

/** Returns whether the parser needs a line: it would keep all comments, and diagnostics of any length, in memory. */
function filter(): (line: string) => boolean {
  let diagnostics: { indent: string; lines: number } | null = null;
  let explained = 0;
  return (line) => {
    if (diagnostics) {
      diagnostics.lines += 1;
      const { indent, lines } = diagnostics;
      const isEnd = line === `${indent}...`;
      if (isEnd) diagnostics = null;
      return explained <= mostExplained && (isEnd || lines < mostLines);
    }
    const [, indent] = /^( +)---$/.exec(line) ?? [];
    if (indent !== undefined) {
      diagnostics = { indent, lines: 0 };
      explained += 1;
      return explained <= mostExplained;
    }
    return /^\s*(ok\b|not ok\b|\d+\.\.\d+|# Subtest\b|Bail out!|TAP version|\})/.test(line);
  };
}

interface Watch {
  tests: Collector;
  faults: string[];
  path: string[];
}

/** Collects the tests of a parser and of the parsers of its subtests. */
function watch(parser: Parser, { tests, faults, path }: Watch): void {
  if (path.length > deepest) throw new ReportFault("unreadable", `Subtests are nested over ${deepest} deep.`);
  let inner: { failedBefore: number } | null = null;
  parser.on("child", (child: Parser) => {
    inner = { failedBefore: tests.failed };
    watch(child, { tests, faults, path: [...path, child.name] });
  });
  parser.on("assert", (result: Result) => {
    const isParent = inner !== null;
    const isExplained = inner !== null && tests.failed > inner.failedBefore;
    inner = null;
    if (!isParent || !(result.ok || isExplained || isSet(result.todo))) tests.add(caseOf(result, path));
    harvest(parser, faults);
    result.diag = null;
  });
  parser.on("complete", () => harvest(parser, faults));
}

/** Takes the parser's own complaints, and what it has kept of the tests so far out of its memory. */
function harvest(parser: Parser, faults: string[]): void {
  for (const failure of parser.failures.splice(0)) {
    if (typeof failure.tapError === "string" && faults.length < 10) faults.push(failure.tapError);
  }
}

const isSet = (directive: unknown) => directive !== undefined && directive !== false;

function caseOf({ ok, name, skip, todo, diag, time }: Result, path: readonly string[]) {
  const isSkipped = isSet(skip) || isSet(todo);
  const details: Readonly<Record<string, unknown>> = typeof diag === "object" && diag !== null ? diag : {};
  const duration = details["duration_ms"] ?? time;
  const message = details["error"] ?? details["message"];
  const stack = details["stack"];
  return {
    name: [...path, name].filter(Boolean).join(" > ") || "(unnamed)",
    status: isSkipped ? ("skipped" as const) : ok ? ("passed" as const) : ("failed" as const),
    durationMs: typeof duration === "number" && duration >= 0 && duration < 1e12 ? duration : 0,
    ...(ok ? {} : { errorMessage: [message, stack].filter((text) => typeof text === "string").join("\n") }),
  };
}
