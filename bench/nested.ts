import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { sql } from "drizzle-orm";
import { issueApiToken } from "../src/access/token.ts";
import { write } from "../src/db/tx.ts";
import { type ServerProcess, startApiProcess, startServer } from "./api.ts";
import { type BenchDatabase, createPostgres } from "./database.ts";
import { formatProfile } from "./profile.ts";
import { openStage, type Stage } from "./stage.ts";
import { percentile } from "./statistics.ts";

// Requests one nested document from Attune and from PostGraphile 5 over the same rows of the same database, in alternating rounds.
// `npm --prefix bench/postgraphile ci` once, then `node bench/nested.ts`; `--profile` prints where Attune spends its time.

const { values: options } = parseArgs({ options: { quick: { type: "boolean" }, profile: { type: "boolean" } } });
const quick = options.quick === true;
const rounds = quick ? 1 : 3;
const seconds = quick ? 2 : 8;
const clients = 8;
const postgraphileServer = fileURLToPath(new URL("postgraphile/server.js", import.meta.url));

/** More of each than a request reads. */
const perParent = 25;

async function fill({ services }: Stage): Promise<void> {
  await services.db.execute(sql`insert into attune.pack (ref, label, version)
    select 'bench' || lpad(n::text, 2, '0'), 'Pack ' || n, '1.0.0' from generate_series(1, ${perParent}::int) n`);
  await services.db.execute(sql`insert into attune.action (ref, pack, pack_ref, label, entrypoint)
    select p.ref || '.a' || lpad(n::text, 2, '0'), p.id, p.ref, 'Action ' || n, 'x'
    from attune.pack p, generate_series(1, ${perParent}::int) n where p.ref like 'bench%'`);
  await services.db.execute(sql`insert into attune.execution (action, action_ref, on_worker_loss, trace_tag, status, finished_at, created)
    select a.id, a.ref, 'abandon', 'trace' || n, 'failed', now(), timestamptz '2026-01-01' + make_interval(secs => n)
    from attune.action a, generate_series(1, ${perParent}::int) n where a.pack_ref like 'bench%'`);
  await services.db.execute(sql`analyze`);
}

interface Contender {
  name: string;
  server: ServerProcess;
  query: string;
  headers: Record<string, string>;
  rates: number[];
  latencies: number[];
  cpuMs: number[];
}

/** The same document in both schemas; `n` of each. */
const documents = {
  attune: (n: number) => `{ packs(first: ${n}, orderBy: {field: REF, direction: ASC}) { nodes { ref label
    actions(first: ${n}, orderBy: {field: REF, direction: ASC}) { nodes { ref
      executions(first: ${n}, orderBy: {field: CREATED, direction: DESC}) { nodes { traceTag } } } } } } }`,
  postgraphile: (n: number) => `{ packs: allPacks(first: ${n}, orderBy: [REF_ASC, ROW_ID_ASC]) { nodes { ref label
    actions: actionsByPack(first: ${n}, orderBy: [REF_ASC, ROW_ID_ASC]) { nodes { ref
      executions: executionsByAction(first: ${n}, orderBy: [CREATED_DESC, ROW_ID_DESC]) { nodes { traceTag } } } } } } }`,
};

async function send({ server, query, headers }: Contender): Promise<string> {
  const response = await fetch(`${server.url}/graphql`, {
    method: "POST",
    headers: { "content-type": "application/json", ...headers },
    body: JSON.stringify({ query }),
  });
  return await response.text();
}

/** Returns the length of the response. Throws unless both servers return the same. */
async function compare(contenders: readonly Contender[], n: number): Promise<number> {
  const responses = await Promise.all(contenders.map(send));
  const [first, ...others] = responses.map((response) => JSON.stringify(JSON.parse(response).data));
  if (first === undefined || !first.includes("traceTag") || others.some((other) => other !== first)) {
    throw new Error(
      `the responses differ for ${n} of each: ${responses.map((text) => text.slice(0, 300)).join(" | ")}`,
    );
  }
  return first.length;
}

/** Measures one server with clients that send the next request as soon as they have a response. */
async function measure(contender: Contender): Promise<void> {
  const ends = performance.now() + seconds * 1000;
  const cpu = contender.server.cpuMs();
  const started = performance.now();
  let count = 0;
  const client = async () => {
    while (performance.now() < ends) {
      const sent = performance.now();
      await send(contender);
      contender.latencies.push(performance.now() - sent);
      count += 1;
    }
  };
  await Promise.all(Array.from({ length: clients }, client));
  contender.rates.push((count * 1000) / (performance.now() - started));
  contender.cpuMs.push((contender.server.cpuMs() - cpu) / count);
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

async function contest(contenders: Contender[], n: number): Promise<void> {
  const size = await compare(contenders, n);
  for (const contender of contenders) await Promise.all(Array.from({ length: 40 }, () => send(contender))); // warm
  for (let round = 0; round < rounds; round += 1) for (const contender of contenders) await measure(contender);
  print(`\n${n} of each (${Math.round(size / 1024)} KiB), ${rounds} × ${seconds} s, ${clients} clients\n`);
  print("| server | requests/s | lowest–highest | p50 | p99 | CPU per request | memory |");
  print("| --- | --- | --- | --- | --- | --- | --- |");
  for (const { name, server, rates, latencies, cpuMs } of contenders) {
    const rate = (value: number) => value.toFixed(1);
    print(
      `| ${name} | **${rate(percentile(rates, 50))}** | ${rate(Math.min(...rates))}–${rate(Math.max(...rates))} | ${Math.round(percentile(latencies, 50))} ms | ${Math.round(percentile(latencies, 99))} ms | ${percentile(cpuMs, 50).toFixed(1)} ms | ${Math.round(server.rss())} MiB |`,
    );
  }
}

/** Runs only Attune, under Node.js's profiler, which writes the profile when the process ends. */
async function profile(database: BenchDatabase, headers: Record<string, string>, n: number): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), "attune-profile-"));
  try {
    const started = performance.now();
    let skipMs = 0;
    {
      const nodeOptions = ["--cpu-prof", "--cpu-prof-dir", directory];
      await using server = await startApiProcess(database, { logStatements: false, nodeOptions });
      const contender = { ...empty("Attune", server), query: documents.attune(n), headers };
      for (let round = 0; round < 20; round += 1) await send(contender); // warm
      skipMs = performance.now() - started;
      await measure(contender);
    }
    const [file] = readdirSync(directory);
    print(`\n${formatProfile(readFileSync(join(directory, file ?? ""), "utf8"), skipMs)}`);
  } finally {
    rmSync(directory, { recursive: true });
  }
}

const empty = (name: string, server: ServerProcess): Contender => ({
  name,
  server,
  query: "",
  headers: {},
  rates: [],
  latencies: [],
  cpuMs: [],
});

async function main(): Promise<void> {
  print(`load before: ${loadavg()[0]?.toFixed(2)}`);
  await using database = await createPostgres();
  await using stage = await openStage(database);
  await fill(stage);
  const token = await write(stage.services, (tx) => issueApiToken(tx, String(stage.session.identityId), "bench"));
  const headers = { authorization: `Bearer ${token}` };
  if (options.profile) {
    await profile(database, headers, 20);
    return;
  }
  await using attune = await startApiProcess(database, { logStatements: false, nodeOptions: [] });
  await using postgraphile = await startServer([postgraphileServer], {
    environment: { DATABASE_URL: database.url ?? "", NODE_ENV: "production", GRAPHILE_ENV: "production" },
    address: /^PostGraphile listens on (\S+)/,
  });
  for (const n of [20, 5]) {
    await contest(
      [
        { ...empty("Attune", attune), query: documents.attune(n), headers },
        { ...empty("PostGraphile", postgraphile), query: documents.postgraphile(n) },
      ],
      n,
    );
  }
}

await main();
