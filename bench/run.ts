import { loadavg } from "node:os";
import { parseArgs } from "node:util";
import { type BenchDatabase, createPglite, createPostgres, whyUnreachable } from "./database.ts";
import { type FeedResult, measureFeed } from "./feed.ts";
import { type Load, measureLatency, newestEvent, type Pipeline, startPipeline, verify } from "./pipeline.ts";
import { measurePolicies, type PolicyRates } from "./policy.ts";
import { type RawQueue, startRawQueue } from "./queue.ts";
import { type DatabaseResult, formatResults, type Throughput, writeSection } from "./report.ts";
import { openStage, type Stage } from "./stage.ts";
import { percentile } from "./statistics.ts";

const { values: options } = parseArgs({ options: { quick: { type: "boolean" }, write: { type: "boolean" } } });
const quick = options.quick === true;

/** The loads for one database; embedded ones are slower and get smaller loads. */
interface Plan {
  loads: Load[];
  rounds: number;
  latencySeconds: number;
}

const scale = (count: number) => (quick ? Math.ceil(count / 10) : count);
const planOf = (batched: number, single: number): Plan => ({
  loads: [
    { batch: 50, emitters: 2, count: scale(batched) },
    { batch: 1, emitters: 8, count: scale(single) },
  ],
  rounds: quick ? 1 : 3,
  latencySeconds: quick ? 2 : 30,
});
const perSecond = 10;
const warmUp: Load = { batch: 50, emitters: 2, count: scale(500) };

function print(line: string): void {
  process.stderr.write(`${line}\n`);
}

/** Alternates the pipeline and the raw queue, so that other load on the machine affects both. */
async function measureThroughput(
  { stage, pipeline, raw }: { stage: Stage; pipeline: Pipeline; raw: RawQueue },
  load: Load,
  rounds: number,
): Promise<Throughput> {
  const pipelineRates: number[] = [];
  const rawRates: number[] = [];
  const cpuMs: number[] = [];
  for (let round = 0; round < rounds; round += 1) {
    const after = await newestEvent(stage);
    const cpu = process.cpuUsage();
    pipelineRates.push(await rateOf(load, () => pipeline.run(load)));
    const { user, system } = process.cpuUsage(cpu);
    cpuMs.push((user + system) / 1000 / load.count);
    await verify(stage, after, load.count);
    rawRates.push(await rateOf(load, () => raw.run(load)));
  }
  return { load, pipelineRates, rawRates, cpuMs: percentile(cpuMs, 50) };
}

async function rateOf({ count }: Load, work: () => Promise<void>): Promise<number> {
  const started = performance.now();
  await work();
  return (count * 1000) / (performance.now() - started);
}

async function measureDatabase(database: BenchDatabase, plan: Plan): Promise<DatabaseResult> {
  await using stage = await openStage(database);
  await using pipeline = await startPipeline(stage);
  await using raw = await startRawQueue(stage);
  await pipeline.run(warmUp);
  await raw.run(warmUp);
  const throughputs: Throughput[] = [];
  for (const load of plan.loads) {
    print(`${database.name}: ${plan.rounds} × ${load.count} events, ${load.batch} at a time`);
    throughputs.push(await measureThroughput({ stage, pipeline, raw }, load, plan.rounds));
  }
  const policies: PolicyRates[] = [];
  for (const load of plan.loads) {
    print(`${database.name}: under policies, ${load.batch} at a time`);
    policies.push(await measurePolicies({ stage, pipeline }, load, plan.rounds));
  }
  print(`${database.name}: ${perSecond} events/s for ${plan.latencySeconds} s`);
  const after = await newestEvent(stage);
  const latency = await measureLatency(pipeline, { perSecond, seconds: plan.latencySeconds });
  await verify(stage, after, latency.events);
  return { name: database.name, version: stage.version, throughputs, policies, latency };
}

/** The first two differ only in the subscribers; the third has twice the rate; the last has many subscribers at a low rate. */
const feedLoads = [
  { subscribers: 1, perSecond: 5 },
  { subscribers: 200, perSecond: 5 },
  { subscribers: 200, perSecond: 10 },
  { subscribers: 1000, perSecond: 1 },
];

async function measureSubscribers(): Promise<FeedResult[]> {
  const results: FeedResult[] = [];
  for (const load of feedLoads) {
    print(`feed: ${load.subscribers} subscribers, ${load.perSecond} executions/s`);
    await using database = await createPostgres();
    await using stage = await openStage(database);
    results.push(await measureFeed(database, stage, { ...load, seconds: quick ? 2 : 10 }));
  }
  return results;
}

async function main(): Promise<void> {
  const loadBefore = loadavg()[0] ?? 0;
  const started = performance.now();
  const databases: DatabaseResult[] = [];
  const feed: FeedResult[] = [];
  const skipped: string[] = [];
  const reason = await whyUnreachable();
  if (reason === null) {
    await using database = await createPostgres();
    databases.push(await measureDatabase(database, planOf(5000, 2000)));
    feed.push(...(await measureSubscribers()));
  } else {
    skipped.push(`PostgreSQL and the feed were skipped: no server at ATTUNE_BENCH_DATABASE_URL (${reason}).`);
  }
  for (const fsync of [true, false]) {
    await using database = createPglite(fsync);
    databases.push(await measureDatabase(database, planOf(1000, 300)));
  }
  const report = formatResults({
    databases,
    feed,
    skipped,
    quick,
    loadBefore,
    seconds: (performance.now() - started) / 1000,
  });
  process.stdout.write(report);
  if (options.write) writeSection("results", report);
}

await main();
