import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { cpus, totalmem } from "node:os";
import { fileURLToPath } from "node:url";
import type { FeedResult } from "./feed.ts";
import type { Load } from "./pipeline.ts";
import type { PolicyRates } from "./policy.ts";
import { percentile } from "./statistics.ts";

/** Events and jobs per second, a rate for each round. */
export interface Throughput {
  load: Load;
  pipelineRates: number[];
  rawRates: number[];
  /** Processor time of this process per pipeline, in milliseconds. */
  cpuMs: number;
}

/** The measurements on one database. */
export interface DatabaseResult {
  name: string;
  version: string;
  throughputs: Throughput[];
  policies: PolicyRates[];
  latency: { p50: number; p99: number; max: number; events: number };
}

/** The measurements of one run. */
export interface Results {
  databases: DatabaseResult[];
  feed: FeedResult[];
  /** One sentence for each part that was not measured, with the reason. */
  skipped: string[];
  quick: boolean;
  /** The machine's load average before the run. */
  loadBefore: number;
  seconds: number;
}

const file = fileURLToPath(new URL("../docs/benchmarks.md", import.meta.url));

/** Formats a number without decimals. */
export const whole = (value: number) => Math.round(value).toLocaleString("en");
/** Formats milliseconds, with one decimal below 10. */
export const ms = (value: number) => `${value < 10 ? value.toFixed(1) : Math.round(value)} ms`;
const median = (values: readonly number[]) => percentile(values, 50);

/** Formats a table in Markdown. */
export function table(head: string[], body: string[][]): string {
  const line = (cells: string[]) => `| ${cells.join(" | ")} |`;
  return [line(head), line(head.map(() => "---")), ...body.map(line)].join("\n");
}

/** Formats the run as Markdown. */
export function formatResults(results: Results): string {
  const versions = new Map(results.databases.map(({ name, version }) => [name.split(",")[0] ?? name, version]));
  const parts = [
    describeMachine({
      ...results,
      command: `npm run bench${results.quick ? " -- --quick --write" : " -- --write"}`,
      versions: [...versions].map((each) => each.join(" ")),
    }),
    ...results.skipped.map((line) => `**${line}**`),
    "### Pipeline: throughput",
    throughputTable(results.databases),
    "### Pipeline: under a policy",
    policyTable(results.databases),
    "### Pipeline: from event to completed, at 10 events/s",
    latencyTable(results.databases),
    ...(results.feed.length > 0 ? ["### Feed: from commit to client", feedTable(results.feed)] : []),
    "### Requirements",
    verdicts(results),
  ];
  return `${parts.join("\n\n")}\n`;
}

/** Formats where, when and how a report was measured. */
export function describeMachine({
  command,
  versions,
  loadBefore,
  seconds,
}: {
  command: string;
  versions: string[];
  loadBefore: number;
  seconds: number;
}): string {
  const [cpu] = cpus();
  return table(
    ["", ""],
    [
      ["date", new Date().toISOString().slice(0, 10)],
      ["commit", commit()],
      ["command", `\`${command}\` (${whole(seconds)} s)`],
      ["machine", `${cpu?.model ?? "unknown"}, ${cpus().length} cores, ${whole(totalmem() / 2 ** 30)} GiB`],
      ["load before", `${loadBefore.toFixed(2)} (0: an idle machine)`],
      ["versions", [`Node ${process.versions.node}`, ...versions].join(", ")],
    ],
  );
}

function commit(): string {
  const git = (...args: string[]) => execFileSync("git", args, { encoding: "utf8" }).trim();
  const changed = git("status", "--porcelain", "--", "src", "drizzle", "packs", "bench") !== "";
  return `${git("rev-parse", "HEAD")}${changed ? " and uncommitted changes" : ""}`;
}

function throughputTable(databases: readonly DatabaseResult[]): string {
  return table(
    ["database", "events", "pipelines/s", "lowest–highest", "raw pg-boss jobs/s", "ratio", "CPU of Node per pipeline"],
    databases.flatMap(({ name, throughputs }) =>
      throughputs.map(({ load, pipelineRates, rawRates, cpuMs }) => [
        name,
        `${pipelineRates.length} × ${whole(load.count)}, ${load.batch === 1 ? "singly" : `${load.batch} at a time`}, ${load.emitters} emitters`,
        `**${whole(median(pipelineRates))}**`,
        `${whole(Math.min(...pipelineRates))}–${whole(Math.max(...pipelineRates))}`,
        whole(median(rawRates)),
        (median(pipelineRates) / median(rawRates)).toFixed(2),
        `${cpuMs.toFixed(2)} ms`,
      ]),
    ),
  );
}

function policyTable(databases: readonly DatabaseResult[]): string {
  const cell = (rates: readonly number[], without: readonly number[]) =>
    `${whole(median(rates))} (**${(median(rates) / median(without)).toFixed(2)}**)`;
  return table(
    ["database", "events", "pipelines/s without", "under a limit that is never reached", "under a limit of 5"],
    databases.flatMap(({ name, policies }) =>
      policies.map(({ load, without, wide, narrow }) => [
        name,
        load.batch === 1 ? "singly" : `${load.batch} at a time`,
        whole(median(without)),
        cell(wide, without),
        cell(narrow, without),
      ]),
    ),
  );
}

function latencyTable(databases: readonly DatabaseResult[]): string {
  return table(
    ["database", "events", "p50", "p99", "longest"],
    databases.map(({ name, latency: { events, p50, p99, max } }) => [
      name,
      whole(events),
      `**${ms(p50)}**`,
      `**${ms(p99)}**`,
      ms(max),
    ]),
  );
}

function feedTable(feed: readonly FeedResult[]): string {
  return table(
    [
      "subscribers",
      "changes/s",
      "changes",
      "messages",
      "lost or duplicate",
      "p50",
      "p99",
      "longest",
      "SQL statements",
      "server's memory",
    ],
    feed.map(({ subscribers, perSecond, changes, messages, p50, p99, max, statements, rss }) => [
      whole(subscribers),
      whole(perSecond * 5),
      whole(changes),
      whole(messages),
      "0",
      ms(p50),
      `**${ms(p99)}**`,
      ms(max),
      `**${whole(statements)}**`,
      `${whole(rss)} MiB`,
    ]),
  );
}

function verdicts({ databases, feed }: Results): string {
  const lines: string[] = [];
  const verdict = (holds: boolean, what: string) => lines.push(`- ${holds ? "met" : "**not met**"}: ${what}`);
  const server = databases.find(({ name }) => name === "PostgreSQL");
  const [batched] = server?.throughputs ?? [];
  if (server && batched) {
    const rate = median(batched.pipelineRates);
    verdict(rate >= 500, `at least 500 pipelines/s on PostgreSQL (${whole(rate)})`);
    const [policies] = server.policies;
    const cost = policies ? 1 - median(policies.wide) / median(policies.without) : Number.NaN;
    verdict(cost <= 0.25, `a policy costs at most 25 % of the throughput (${whole(100 * cost)} %)`);
    verdict(server.latency.p50 <= 25, `p50 of at most 25 ms at 10 events/s on PostgreSQL (${ms(server.latency.p50)})`);
  }
  const [one, many] = feed;
  if (one && many) {
    const flat = many.statements <= one.statements * 1.2;
    verdict(
      flat,
      `statements do not grow with subscribers (${whole(one.statements)} for 1, ${whole(many.statements)} for ${many.subscribers})`,
    );
  }
  const [synced, unsynced] = databases.filter(({ name }) => name.startsWith("PGlite"));
  const rateOf = (database: DatabaseResult | undefined) =>
    median(database?.throughputs[0]?.pipelineRates ?? [Number.NaN]);
  if (synced && unsynced) {
    const slower = 100 * (1 - rateOf(synced) / rateOf(unsynced));
    const later = synced.latency.p50 - unsynced.latency.p50;
    lines.push(
      `- the cost of fsync on PGlite: ${slower.toFixed(0)} % of the throughput, ${later.toFixed(1)} ms at p50`,
    );
  }
  return lines.join("\n");
}

/** Writes a report into docs/benchmarks.md between the two marks of its section. Throws when a mark is missing. */
export function writeSection(name: "results" | "history" | "warm" | "rules" | "windows", report: string): void {
  const [begin, end] = [`<!-- ${name}: begin -->`, `<!-- ${name}: end -->`];
  const [before, rest] = readFileSync(file, "utf8").split(begin);
  const after = rest?.split(end)[1];
  if (before === undefined || after === undefined) throw new Error(`${file} lacks the marks ${begin} and ${end}`);
  writeFileSync(file, `${before}${begin}\n\n${report}\n${end}${after}`);
}
