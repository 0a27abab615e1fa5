import { type Chunks, texts } from "./input.ts";
import { readJson } from "./json.ts";
import { readJunit } from "./junit.ts";
import { Collector, type Report, ReportFault } from "./report.ts";
import { readSimple } from "./simple.ts";
import { readTap } from "./tap.ts";

const MiB = 1024 * 1024;
/** The readers, and the bytes that each reads at most: JSON is in memory as a whole. */
const readers = {
  simple: { read: readSimple, limit: 64 * MiB },
  "junit-xml": { read: readJunit, limit: 64 * MiB },
  tap: { read: readTap, limit: 64 * MiB },
  json: { read: readJson, limit: 16 * MiB },
};

/** The formats of results. */
export type ResultFormat = keyof typeof readers;

/**
 * Reads what a runner reported, in bounded memory. It never rejects for what was written: zero tests, unreadable and truncated results
 * are reports with a fault.
 */
export async function readReport(format: ResultFormat, chunks: Chunks): Promise<Report> {
  const { read, limit } = readers[format];
  const tests = new Collector();
  try {
    await read(texts(chunks, limit), tests);
    return tests.report(null);
  } catch (error) {
    if (!(error instanceof ReportFault)) throw error;
    return tests.report({ kind: error.kind, message: error.message });
  }
}
