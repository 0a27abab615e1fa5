/** The outcomes of a test: `failed` by what it expects, `error` when it could not be run to its end. */
export const testStatuses = ["passed", "failed", "skipped", "error"] as const;
export type TestStatus = (typeof testStatuses)[number];

/** One test. Long texts are cut. */
export interface TestCase {
  name: string;
  status: TestStatus;
  durationMs: number;
  errorMessage?: string;
  stdout?: string;
  stderr?: string;
}

/** Why a report does not count as passed, whatever tests it has. */
export interface Fault {
  /** `uncounted`: nothing at all says how many tests there were. */
  kind: "unreadable" | "truncated" | "no_tests" | "uncounted";
  message: string;
}

/**
 * What a runner reported. The counts are of all tests, and `failed` includes errors; `cases` are those that the format names, at most
 * 5,000 that passed or were skipped and 5,000 others. With a fault the counts are of what was readable.
 */
export interface Report {
  total: number;
  passed: number;
  failed: number;
  skipped: number;
  durationMs: number;
  cases: TestCase[];
  fault: Fault | null;
}

/** The parser cannot or will not go on. */
export class ReportFault extends Error {
  readonly kind: Fault["kind"];
  constructor(kind: Fault["kind"], message: string) {
    super(message);
    this.kind = kind;
  }
}

const mostCases = 5000;
const longest = 8192;
/** Of all texts together. */
const mostText = 8 * 1024 * 1024;

/** Returns the text, or its beginning and a note of how much is missing. The copy does not keep the whole text in memory. */
export function cut(text: string, limit = longest): string {
  if (text.length <= limit) return text;
  const begin = Buffer.from(text.slice(0, limit)).toString();
  return `${begin}… (${text.length - limit} more characters)`;
}

/** Collects a runner's tests in bounded memory. */
export class Collector {
  readonly #counts: Record<TestStatus, number> = { passed: 0, failed: 0, skipped: 0, error: 0 };
  readonly #cases: TestCase[] = [];
  readonly #kept = { quiet: 0, broken: 0 };
  #text = 0;
  #durationMs = 0;
  /** The duration of the whole run where the format has it, else the sum of the tests. */
  durationMs: number | null = null;

  /** The tests that failed or ended in an error so far. */
  get failed(): number {
    return this.#counts.failed + this.#counts.error;
  }

  get total(): number {
    return this.failed + this.#counts.passed + this.#counts.skipped;
  }

  /** Counts a test, and keeps it while there is room. */
  add(test: TestCase): void {
    this.count(test.status, 1);
    this.#durationMs += test.durationMs;
    this.name(test);
  }

  /** Counts tests of which nothing else is known. */
  count(status: TestStatus, number: number): void {
    this.#counts[status] += number;
  }

  /** Keeps a test that is counted elsewhere. */
  name({ name, status, durationMs, ...texts }: TestCase): void {
    const kind = status === "failed" || status === "error" ? "broken" : "quiet";
    if (this.#kept[kind] >= mostCases) return;
    this.#kept[kind] += 1;
    const test: TestCase = { name: this.#take(name, 1000), status, durationMs: Math.round(durationMs) };
    for (const field of ["errorMessage", "stdout", "stderr"] as const) {
      const text = texts[field];
      if (text) test[field] = this.#take(text, longest);
    }
    this.#cases.push(test);
  }

  #take(text: string, limit: number): string {
    const kept = cut(text, Math.min(limit, Math.max(200, mostText - this.#text)));
    this.#text += kept.length;
    return kept;
  }

  /** Returns the report. One without tests or with a fault has not passed. */
  report(fault: Fault | null): Report {
    return {
      total: this.total,
      passed: this.#counts.passed,
      failed: this.failed,
      skipped: this.#counts.skipped,
      durationMs: Math.round(this.durationMs ?? this.#durationMs),
      cases: this.#cases,
      fault: fault ?? (this.total === 0 ? { kind: "no_tests", message: "The runner reported no tests." } : null),
    };
  }
}
