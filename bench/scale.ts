import { loadavg } from "node:os";
import { parseArgs } from "node:util";
import { sql } from "drizzle-orm";
import postgres from "postgres";
import { rows } from "../src/db/client.ts";
import type { RetentionName } from "../src/lib/retention.ts";
import { removeAll } from "../src/retention/pass.ts";
import { createPostgres } from "./database.ts";
import { measureLatency, startPipeline } from "./pipeline.ts";
import { ms, table, whole } from "./report.ts";
import { openStage, type Stage } from "./stage.ts";

// Measures what an event leaves in the database, how fast retention removes it, and what partitions would change:
// `npm run bench:scale`, with `--quick` over a tenth of the rows, which the
// executor may have removed before their removal without pauses is measured. docs/scale.md has the figures.

const { values: options } = parseArgs({ options: { quick: { type: "boolean" } } });
const events = 5000;
const copies = options.quick === true ? 3 : 30;
const partitions = 14;

/** The tables that grow with each event, and their columns that contain ids, of which table. */
const grown = {
  event: { id: "event" },
  enforcement: { id: "enforcement", event: "event" },
  execution: { id: "execution", enforcement: "enforcement" },
  execution_transition: { id: "execution_transition", execution: "execution" },
  notification: { id: "notification" },
} as const;
/** A stage on PostgreSQL. */
type Measured = Stage & { url: string };
type Grown = keyof typeof grown;
const tables = Object.keys(grown) as Grown[]; // its keys

async function one<T>({ services }: Measured, text: string): Promise<T> {
  const [row] = await rows<{ value: T }>(services.db, sql.raw(text));
  if (!row) throw new Error(`no row: ${text}`);
  return row.value;
}
const countOf = (stage: Measured, name: Grown) =>
  one<number>(stage, `select count(*)::int as value from attune.${name}`);
const bytesOf = (stage: Measured, name: string) =>
  one<number>(stage, `select pg_total_relation_size('attune.${name}')::float8 as value`);
const walOf = (stage: Measured) =>
  one<number>(stage, `select pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::float8 as value`);

async function secondsOf(work: () => Promise<unknown>): Promise<number> {
  const started = performance.now();
  await work();
  return (performance.now() - started) / 1000;
}

/** Runs a statement that may take minutes, on a connection without the server's limits. */
async function maintain({ url }: Pick<Measured, "url">, statement: string): Promise<void> {
  const connection = postgres(url, { max: 1, onnotice: () => {}, connection: { statement_timeout: 0 } });
  await connection.unsafe(statement);
  await connection.end();
}

/** Runs the events. Returns the seconds that they took, and the bytes that they wrote to the write-ahead log. */
async function runEvents(stage: Measured): Promise<{ seconds: number; wal: number }> {
  await using pipeline = await startPipeline(stage);
  const before = await walOf(stage);
  const seconds = await secondsOf(() => pipeline.run({ batch: 50, emitters: 2, count: events }));
  return { seconds, wal: (await walOf(stage)) - before };
}

/** Replaces the rows that the events left by copies with ids of their own that are 400 days older. */
async function multiply(stage: Measured): Promise<void> {
  const steps = new Map<string, number>();
  for (const name of tables) steps.set(name, await one(stage, `select max(id)::int as value from attune.${name}`));
  for (const name of tables) {
    const columns = await rows<{ name: string; type: string }>(
      stage.services.db,
      sql`select attname as name, format_type(atttypid, null) as type from pg_attribute
        where attrelid = ${`attune.${name}`}::regclass and attnum > 0 and not attisdropped and attgenerated = ''`,
    );
    const ids: Readonly<Record<string, string>> = grown[name];
    const values = columns.map(({ name: column, type }) => {
      const other = ids[column];
      if (other !== undefined) return `${column} + n * ${steps.get(other)}`;
      return type.startsWith("timestamp") ? `"${column}" - interval '400 days'` : `"${column}"`;
    });
    await stage.services.db.transaction(async (db) => {
      await db.execute(sql`set local session_replication_role = replica`);
      for (let copy = 1; copy <= copies; copy += 1) {
        await db.execute(
          sql.raw(`insert into attune.${name} (${columns.map((column) => `"${column.name}"`)}) overriding system value
          select ${values} from attune.${name}, (values (${copy})) v(n) where id <= ${steps.get(name)} order by id`),
        );
      }
      await db.execute(sql.raw(`delete from attune.${name} where id <= ${steps.get(name)}`));
    });
    await one(
      stage,
      `select setval(pg_get_serial_sequence('attune.${name}', 'id'), max(id))::text as value from attune.${name}`,
    );
  }
  for (const name of tables) await maintain(stage, `vacuum (analyze) attune.${name}`);
  await maintain(stage, "checkpoint");
}

/** Removes by retention what the rules remove, and then vacuums the table. */
async function remove(stage: Measured, rule: RetentionName, name: Grown): Promise<string[]> {
  const before = await bytesOf(stage, name);
  const wal = await walOf(stage);
  let removed = 0;
  const seconds = await secondsOf(async () => {
    removed = await removeAll(stage.services, rule);
  });
  const written = (await walOf(stage)) - wal;
  const vacuum = await secondsOf(() => maintain(stage, `vacuum attune.${name}`));
  const after = await bytesOf(stage, name);
  const perSecond = removed / seconds;
  return [rule, whole(removed), whole(perSecond), whole(written / removed), vacuum.toFixed(1), mb(before), mb(after)];
}
const mb = (bytes: number) => whole(bytes / 2 ** 20);

/** Compares the notification log as it is with one in partitions by ranges of ids. */
async function comparePartitions({ services: { db } }: Measured): Promise<string[][]> {
  const statement = (text: string) => db.execute(sql.raw(text));
  const [found] = await rows<{ from: string; to: string; step: string }>(
    db,
    sql`select min(id)::text as "from", max(id)::text as "to", ((max(id) - min(id)) / ${partitions}::bigint + 1)::text as step from attune.notification`,
  );
  const { from = "0", to = "0", step = "1" } = found ?? {};
  await statement(`create table whole (like attune.notification including all)`);
  await statement(`create table split (like attune.notification including all) partition by range (id)`);
  const ranges = Array.from({ length: partitions }, (_, part) => {
    const begin = BigInt(from) + BigInt(part) * BigInt(step);
    return { part, begin, end: begin + BigInt(step) };
  });
  for (const { part, begin, end } of ranges) {
    await statement(`create table split_${part} partition of split for values from (${begin}) to (${end})`);
  }
  const result: string[][] = [];
  for (const name of ["whole", "split"]) {
    const insert = await secondsOf(async () => {
      for (const { begin, end } of ranges) {
        await statement(
          `insert into ${name} overriding system value select * from attune.notification where id >= ${begin} and id < ${end}`,
        );
      }
    });
    await statement(`analyze ${name}`);
    const page = `select * from ${name} where id > ${(BigInt(from) + BigInt(to)) / 2n} order by id limit 500`;
    const pages = await secondsOf(async () => {
      for (let turn = 0; turn < 200; turn += 1) await statement(page);
    });
    const goes = `${BigInt(from) + BigInt(step)}`;
    const drop = await secondsOf(() =>
      statement(name === "whole" ? `delete from whole where id < ${goes}` : `drop table split_0`),
    );
    result.push([
      name,
      ((Number(step) * partitions) / insert).toFixed(0),
      ((pages / 200) * 1000).toFixed(2),
      (drop * 1000).toFixed(0),
    ]);
  }
  return result;
}

/** Measures the latency of events while the executor removes old notifications with its pauses, and while they are also removed without. */
async function measureMeanwhile(stage: Measured, removed: string[][]): Promise<string[][]> {
  const load = { perSecond: 10, seconds: 5 };
  await using pipeline = await startPipeline(stage);
  await measureLatency(pipeline, { perSecond: 10, seconds: 1 });
  const line = (name: string, { p50, p99, max }: { p50: number; p99: number; max: number }) => [
    name,
    ms(p50),
    ms(p99),
    ms(max),
  ];
  const paused = line("retention with its pauses", await measureLatency(pipeline, load));
  const removing = remove(stage, "notifications", "notification");
  const meanwhile = line("and without pauses", await measureLatency(pipeline, load));
  removed.push(await removing);
  return [paused, meanwhile];
}

async function main(): Promise<void> {
  const loadBefore = loadavg()[0] ?? 0;
  const started = performance.now();
  const print = (text: string) => process.stdout.write(`${text}\n\n`);
  await using database = await createPostgres();
  await using opened = await openStage(database);
  const stage = { ...opened, url: database.url ?? "" };
  const empty = new Map<Grown, number>();
  for (const name of tables) empty.set(name, await countOf(stage, name));
  const { seconds, wal } = await runEvents(stage);
  print(`${whole(events / seconds)} events/s, ${whole(wal / events)} bytes of write-ahead log for each`);
  const perEvent = new Map<Grown, number>();
  for (const name of tables) perEvent.set(name, ((await countOf(stage, name)) - (empty.get(name) ?? 0)) / events);
  const loading = await secondsOf(() => multiply(stage));
  const sizes: string[][] = [];
  for (const name of tables) {
    const [count, bytes] = [await countOf(stage, name), await bytesOf(stage, name)];
    const [rowsEach = 0, bytesEach] = [perEvent.get(name), bytes / count];
    sizes.push([name, rowsEach.toFixed(1), whole(count), whole(bytesEach), whole(rowsEach * bytesEach)]);
  }
  print(table(["table", "rows per event", "rows", "bytes per row with indexes", "bytes per event"], sizes));
  print(
    table(
      ["notification log", "rows/s inserted", "a page of 500 (ms)", "a 14th removed (ms)"],
      await comparePartitions(stage),
    ),
  );
  const removed: string[][] = [];
  for (const name of ["executions", "enforcements", "events"] as const) {
    removed.push(await remove(stage, name, name.slice(0, -1) as Grown)); // the table of the rule
  }
  print(table(["events completed", "p50", "p99", "longest"], await measureMeanwhile(stage, removed)));
  print(table(["rule", "rows", "rows/s", "log bytes per row", "vacuum (s)", "MiB before", "MiB after"], removed));
  print(
    `loading ${loading.toFixed(0)} s, all ${((performance.now() - started) / 1000).toFixed(0)} s, load before ${loadBefore.toFixed(1)}`,
  );
}

await main();
