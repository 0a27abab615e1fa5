import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { createLog } from "../src/log.ts";
import { createMetrics } from "../src/metrics.ts";
import { runProcess } from "../src/process/process.ts";
import { type Starter, startCold } from "../src/process/start.ts";
import { createInterpreters } from "../src/worker/warm/warm.ts";
import { describeMachine, ms, table, writeSection } from "./report.ts";
import { percentile } from "./statistics.ts";

// Compares the starts of actions in a new process and by an interpreter that has started before, by turns: `node bench/warm.ts`, with `--quick`
// fewer of them, with `--write` into docs/benchmarks.md.

const { values: options } = parseArgs({ options: { quick: { type: "boolean" }, write: { type: "boolean" } } });
const rounds = options.quick ? 10 : 100;
const pauseMs = 100;

interface Contender {
  name: string;
  runtime: string;
  command: string;
  file: string;
  script: string;
  variables: Record<string, string>;
  limit: number;
}

const python = 'import json, sys\nprint(json.dumps({"got": json.load(sys.stdin)}))\n';
const module =
  'import { readFileSync } from "node:fs";\nconsole.log(JSON.stringify({ got: JSON.parse(readFileSync(0, "utf8")) }));\n';
const common = 'console.log(JSON.stringify({ got: JSON.parse(require("node:fs").readFileSync(0, "utf8")) }));\n';
const ofPython = {
  ...{ runtime: "core.action.python", file: "say.py", script: python, variables: { PYTHONUNBUFFERED: "1" } },
  limit: 1 / 10,
};
const ofNode = { runtime: "core.action.nodejs", command: "node", variables: {}, limit: 1 / 3 };
const contenders: Contender[] = [
  { name: "`python3` of PATH", command: "python3", ...ofPython },
  { name: "`/usr/bin/python3`", command: "/usr/bin/python3", ...ofPython },
  { name: "`node`, a module", file: "say.mjs", script: module, ...ofNode },
  { name: "`node`, CommonJS", file: "say.cjs", script: common, ...ofNode },
];

/** Runs the action by turns in both ways and returns the times in milliseconds. */
async function measure(contender: Contender, start: Starter, directory: string) {
  const path = join(directory, contender.file);
  writeFileSync(path, contender.script);
  const spec = {
    ...{ command: contender.command, args: [path], cwd: directory, stdin: '{"a": [1, 2, 3]}\n' },
    env: { PATH: process.env["PATH"] ?? "", ATTUNE_EXEC_ID: "bench", ...contender.variables },
    ...{ timeoutMs: 60_000, graceMs: 1000, signal: new AbortController().signal },
  };
  let isWarm = false;
  const observed: Starter = async (each) => {
    const started = await start(each);
    isWarm = started.isWarm;
    return started;
  };
  const run = async (starter: Starter) => {
    const from = performance.now();
    const { stdout, message } = await runProcess(spec, { onOutput: () => {} }, starter);
    const time = performance.now() - from;
    if (!stdout.includes("got")) throw new Error(`${contender.name}: ${message ?? stdout}`);
    await sleep(pauseMs);
    return time;
  };
  for (let tries = 0; !isWarm && tries < 100; tries += 1) await run(observed);
  const times = { cold: [] as number[], warm: [] as number[] };
  for (let round = 0; round < rounds; round += 1) {
    times.cold.push(await run(startCold));
    const time = await run(observed);
    if (!isWarm) throw new Error(`${contender.name} was started cold`);
    times.warm.push(time);
  }
  return times;
}

async function main(): Promise<void> {
  const loadBefore = loadavg()[0] ?? 0;
  const started = performance.now();
  const directory = mkdtempSync(join(tmpdir(), "attune-bench-"));
  const metrics = createMetrics();
  const log = createLog({ level: "error", format: "json" });
  using interpreters = await createInterpreters({ log, metrics }, { isOn: true, scratch: directory, runAs: null });
  const lines: string[][] = [];
  for (const contender of contenders) {
    const { cold, warm } = await measure(contender, interpreters.starterOf(contender.runtime), directory);
    const ratio = percentile(warm, 50) / percentile(cold, 50);
    lines.push([
      ...[contender.name, `${ms(percentile(cold, 50))}, ${ms(percentile(cold, 99))}`],
      `**${ms(percentile(warm, 50))}**, ${ms(percentile(warm, 99))}`,
      ...[ratio.toFixed(2), `${contender.limit.toFixed(2)}: ${ratio <= contender.limit ? "yes" : "**no**"}`],
    ]);
  }
  const memory = (await metrics.render()).split("\n").filter((line) => line.startsWith("attune_worker_interpreter"));
  const report = [
    describeMachine({
      command: `npm run bench:warm${options.quick ? " -- --quick" : ""}${options.write ? " -- --write" : ""}`,
      ...{ versions: [], loadBefore, seconds: (performance.now() - started) / 1000 },
    }),
    table(["action", "cold: p50, p99", "warm: p50, p99", "ratio of p50", "within the limit"], lines),
    `\`\`\`\n${memory.join("\n")}\n\`\`\``,
  ].join("\n\n");
  rmSync(directory, { recursive: true, force: true });
  process.stdout.write(`${report}\n`);
  if (options.write) writeSection("warm", report);
}

await main();
