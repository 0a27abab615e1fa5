import { loadavg } from "node:os";
import { parseArgs } from "node:util";
import { sql } from "drizzle-orm";
import postgres from "postgres";
import { issueApiToken } from "../src/access/token.ts";
import { rows } from "../src/db/client.ts";
import { write } from "../src/db/tx.ts";
import { startApiProcess } from "./api.ts";
import { type BenchDatabase, createPostgres } from "./database.ts";
import { measureLatency, startPipeline } from "./pipeline.ts";
import { describeMachine, ms, table, whole, writeSection } from "./report.ts";
import { openStage, type Stage } from "./stage.ts";
import { percentile } from "./statistics.ts";

// Compares reads, and the latency from event to completion, on a database with a long history and on one with a short one, in
// alternating rounds: `node bench/history.ts`, with `--quick` over a tenth of the rows, with `--write` into docs/benchmarks.md.

const { values: options } = parseArgs({ options: { quick: { type: "boolean" }, write: { type: "boolean" } } });
const quick = options.quick === true;
const large = quick ? 200_000 : 2_000_000;
const small = 2000;
const rounds = quick ? 10 : 60;
const latencyRounds = quick ? 1 : 6;
const latencySeconds = quick ? 3 : 10;

/** The number of oldest rows, fewer than a page: a scan for them that begins with the newest row reads the whole table. */
const oldest = 40;

/**
 * Inserts executions of 25 actions, one for each tenth of a second; half of them have an enforcement and an event. The oldest
 * ones timed out, and are of another pack.
 */
async function fill({ services }: Stage, count: number): Promise<void> {
  const action = `case when n <= ${oldest} then 26 else 1 + n % 25 end`;
  const at = `timestamptz '2026-01-01' + make_interval(secs => n / 10.0)`;
  const statements = [
    `insert into attune.pack (ref, label, version) values ('bench', 'b', '1.0.0'), ('rare', 'r', '1.0.0')`,
    `insert into attune.action (ref, pack, pack_ref, label, entrypoint) select p.ref || '.a' || n, p.id, p.ref, 'a', 'x'
      from generate_series(1, 26) n join attune.pack p on p.ref = case n when 26 then 'rare' else 'bench' end`,
    `insert into attune.trigger (ref, pack, pack_ref, label) select 'bench.t' || n, id, ref, 't'
      from attune.pack, generate_series(1, 10) n where ref = 'bench'`,
    `insert into attune.rule (ref, pack, pack_ref, label, action_ref, trigger_ref) select 'bench.r' || n, id, ref, 'r', 'bench.a1', 'bench.t1'
      from attune.pack, generate_series(1, 10) n where ref = 'bench'`,
    `insert into attune.worker (name, worker_type, status) values ('gone', 'local', 'inactive')`,
    `insert into attune.event (trigger, trigger_ref, trace_tag, payload, created, evaluated_at)
      select t.id, t.ref, 't' || n, '{"number": 1}', ${at}, ${at} from generate_series(1, ${count / 2}) n
      join attune.trigger t on t.ref = 'bench.t' || 1 + n % 10`,
    `insert into attune.enforcement (rule, rule_ref, trigger_ref, event, status, created)
      select r.id, r.ref, e.trigger_ref, e.id, 'processed', e.created from attune.event e join attune.rule r on r.ref = 'bench.r' || 1 + e.id % 10`,
    `insert into attune.execution (action, action_ref, rule_ref, trigger_ref, enforcement, worker, worker_name, status, finished_at,
        on_worker_loss, trace_tag, created, config, result)
      select a.id, a.ref, f.rule_ref, f.trigger_ref, f.id, w.id, w.name,
        case when n <= ${oldest} then 'timeout' when n % 20 = 0 then 'failed' else 'completed' end::attune.execution_status, ${at},
        'abandon', 't' || n / 2, ${at}, '{"message": "hello"}', '{"exit_code": 0}'
      from generate_series(1, ${count}) n
        join (select a.id, a.ref, row_number() over (order by a.id) as place from attune.action a where pack_ref in ('bench', 'rare')) a on a.place = ${action}
        left join attune.enforcement f on n % 2 = 0 and f.id = n / 2 cross join (select id, name from attune.worker where name = 'gone') w`,
  ];
  // A client of its own: no statement of the server may take as long.
  const loader = postgres(services.database.url ?? "", {
    max: 1,
    onnotice: () => {},
    connection: { search_path: "attune, public" },
  });
  await loader.begin(async (tx) => {
    await tx`set local session_replication_role = replica`;
    const indexes = await tx<{ name: string; definition: string }[]>`
      select i.indexrelid::regclass::text as name, pg_get_indexdef(i.indexrelid) as definition from pg_index i
      where i.indrelid = any (array['attune.event', 'attune.enforcement', 'attune.execution']::regclass[])
        and not exists (select from pg_constraint k where k.conindid = i.indexrelid)`;
    for (const { name } of indexes) await tx.unsafe(`drop index ${name}`);
    for (const statement of statements) await tx.unsafe(statement);
    for (const { definition } of indexes) await tx.unsafe(definition);
  });
  await loader`vacuum (analyze)`;
  await loader`checkpoint`; // otherwise the loaded rows are written to the disk while events are measured
  await loader.end();
}

/** Whose token a request has: that of an administrator, or of a user who may read two packs, both with few executions. */
type Reader = "admin" | "constrained";
interface Read {
  name: string;
  query: string;
  as?: Reader;
}

const page = "nodes { id status actionRef created }";
const reads: readonly Read[] = [
  { name: "`executions(first: 50)`", query: `{ executions(first: 50) { ${page} } }` },
  {
    name: "by a status that most executions have",
    query: `{ executions(first: 50, where: {status: {eq: COMPLETED}}) { ${page} } }`,
  },
  {
    name: "by a status of few, old executions",
    query: `{ executions(first: 50, where: {status: {eq: TIMEOUT}}) { ${page} } }`,
  },
  {
    name: "by two statuses, one of few, old executions",
    query: `{ executions(first: 50, where: {status: {in: [TIMEOUT, FAILED]}}) { ${page} } }`,
  },
  { name: "by action", query: `{ executions(first: 50, where: {action: {eq: "bench.a7"}}) { ${page} } }` },
  {
    name: "by a pack with few, old executions",
    query: `{ executions(first: 50, where: {pack: {eq: "rare"}}) { ${page} } }`,
  },
  { name: "by rule", query: `{ executions(first: 50, where: {rule: {eq: "bench.r3"}}) { ${page} } }` },
  { name: "by trace tag", query: `{ executions(first: 50, where: {traceTag: {eq: "t500"}}) { ${page} } }` },
  { name: "a page in the middle", query: `{ executions(first: 50, after: "AFTER") { ${page} } }` },
  { name: "`executions` for a reader of two packs", query: `{ executions(first: 50) { ${page} } }`, as: "constrained" },
  { name: "`action → executions`", query: `{ actionByRef(ref: "bench.a7") { executions(first: 50) { ${page} } } }` },
  {
    name: "`trigger → events`",
    query: `{ triggerByRef(ref: "bench.t3") { events(first: 50) { nodes { id created } } } }`,
  },
  {
    name: "`rule → enforcements`",
    query: `{ ruleByRef(ref: "bench.r3") { enforcements(first: 50) { nodes { id created } } } }`,
  },
  {
    name: "`worker → executions`",
    query: `{ workers(where: {name: {eq: "gone"}}) { nodes { executions(first: 50) { ${page} } } } }`,
  },
  { name: "`totalCount`", query: "{ executions { totalCount { count precision } } }" },
  {
    name: "`totalCount` by status",
    query: "{ executions(where: {status: {eq: COMPLETED}}) { totalCount { count precision } } }",
  },
];

/** A server over one of the databases. */
interface Contender extends AsyncDisposable {
  /** Sends the request. Throws when the response contains errors. */
  send(read: Read): Promise<void>;
}

async function startContender(
  database: BenchDatabase,
  { services, session }: Stage,
  count: number,
): Promise<Contender> {
  const [reader] = await rows<{ id: string }>(
    services.db,
    sql`with i as (insert into attune.identity (login) values ('reader') returning id),
        s as (insert into attune.permission_set (ref, grants) values ('default.reader',
          '[{"resource": "execution", "actions": ["read"], "constraints": {"pack_refs": ["rare", "core"]}}]') returning id)
      insert into attune.permission_assignment (identity, permission_set) select i.id, s.id from i, s returning identity::text as id`,
  );
  const tokens = await write(services, async (tx) => ({
    admin: await issueApiToken(tx, String(session.identityId), "bench"),
    constrained: await issueApiToken(tx, reader?.id ?? "", "bench"),
  }));
  const server = await startApiProcess(database, { logStatements: false });
  const middle = Buffer.from(`DC:T:["D:${Date.UTC(2026, 0, 1) + count * 50}","I:${count / 2}"]`).toString("base64");
  return {
    send: async ({ query, as = "admin" }) => {
      const response = await fetch(`${server.url}/graphql`, {
        method: "POST",
        headers: { "content-type": "application/json", authorization: `Bearer ${tokens[as]}` },
        body: JSON.stringify({ query: query.replace("AFTER", middle) }),
      });
      const text = await response.text();
      if (text.includes('"errors"')) throw new Error(`${query}: ${text.slice(0, 300)}`);
    },
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}

/** Times in milliseconds, on the small and on the large database. */
interface Pair {
  name: string;
  small: number[];
  large: number[];
}

async function measureReads(contenders: { small: Contender; large: Contender }): Promise<Pair[]> {
  const pairs: Pair[] = reads.map(({ name }) => ({ name, small: [], large: [] }));
  for (let round = -5; round < rounds; round += 1) {
    for (const [index, read] of reads.entries()) {
      for (const size of ["small", "large"] as const) {
        const started = performance.now();
        await contenders[size].send(read);
        if (round >= 0) pairs[index]?.[size].push(performance.now() - started); // the first rounds warm up
      }
    }
  }
  return pairs;
}

async function measureEvents(stages: { small: Stage; large: Stage }): Promise<Pair[]> {
  await using smallPipeline = await startPipeline(stages.small);
  await using largePipeline = await startPipeline(stages.large);
  const found = { small: [] as { p50: number; p99: number }[], large: [] as { p50: number; p99: number }[] };
  const load = { perSecond: 10, seconds: latencySeconds };
  for (let round = 0; round < latencyRounds; round += 1) {
    found.small.push(await measureLatency(smallPipeline, load));
    found.large.push(await measureLatency(largePipeline, load));
  }
  return (["p50", "p99"] as const).map((key) => ({
    name: `event to completed, ${key}`,
    small: found.small.map((each) => each[key]),
    large: found.large.map((each) => each[key]),
  }));
}

/** Formats a table of medians; `holds` returns whether a pair is within its limit, null where it has none. */
function formatPairs(
  pairs: readonly Pair[],
  holds: (few: number, many: number, name: string) => boolean | null,
): string {
  const verdict = (held: boolean | null) => (held === null ? "–" : held ? "yes" : "**no**");
  return table(
    ["", `${whole(small)} executions`, `${whole(large)}`, "ratio", "within the limit"],
    pairs.map((pair) => {
      const [few, many] = [percentile(pair.small, 50), percentile(pair.large, 50)];
      return [pair.name, ms(few), `**${ms(many)}**`, (many / few).toFixed(2), verdict(holds(few, many, pair.name))];
    }),
  );
}

function print(line: string): void {
  process.stderr.write(`${line}\n`);
}

async function main(): Promise<void> {
  const loadBefore = loadavg()[0] ?? 0;
  const started = performance.now();
  await using smallDatabase = await createPostgres();
  await using largeDatabase = await createPostgres();
  await using smallStage = await openStage(smallDatabase);
  await using largeStage = await openStage(largeDatabase);
  print(`loading ${whole(large)} executions`);
  await fill(smallStage, small);
  await fill(largeStage, large);
  print(`reading, after ${whole((performance.now() - started) / 1000)} s`);
  let readPairs: Pair[];
  {
    await using smallServer = await startContender(smallDatabase, smallStage, small);
    await using largeServer = await startContender(largeDatabase, largeStage, large);
    readPairs = await measureReads({ small: smallServer, large: largeServer });
  }
  print("events");
  const eventPairs = await measureEvents({ small: smallStage, large: largeStage });
  const report = [
    describeMachine({
      command: `npm run bench:history${quick ? " -- --quick" : ""}${options.write ? " -- --write" : ""}`,
      versions: [`PostgreSQL ${largeStage.version}`],
      loadBefore,
      seconds: (performance.now() - started) / 1000,
    }),
    `Medians of ${rounds} requests over HTTP each. The limit is 15 ms or twice the time on the small database.`,
    formatPairs(readPairs, (few, many) => many <= Math.max(15, 2 * few)),
    `Medians of ${latencyRounds} rounds of ${latencySeconds} s at 10 events/s. The limit of p50 is 1.3 times that on the small database.`,
    formatPairs(eventPairs, (few, many, name) => (name.endsWith("p50") ? many <= 1.3 * few : null)),
  ].join("\n\n");
  process.stdout.write(`${report}\n`);
  if (options.write) writeSection("history", report);
}

await main();
