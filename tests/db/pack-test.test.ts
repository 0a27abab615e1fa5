import { sql } from "drizzle-orm";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { rows } from "../../src/db/client.ts";
import { createServices, type TestServices } from "../support/database.ts";

let services: TestServices;
let pack: string;
let number = 0;
beforeAll(async () => {
  services = await createServices();
});
afterAll(() => services[Symbol.asyncDispose]());
beforeEach(async () => {
  number += 1;
  pack = await one<string>(
    sql`insert into attune.pack (ref, label, version, meta) values (${`tested${number}`}, 'Tested', '1.0.0', '{"team": "ops"}') returning id::text`,
  );
});

/** Returns the first column of the first row. */
async function one<T>(query: ReturnType<typeof sql>): Promise<T> {
  const [row] = await rows<Record<string, T>>(services.db, query);
  return Object.values(row ?? {})[0] as T;
}

interface Run {
  of?: string;
  hoursAgo?: number;
  total?: number;
  failed?: number;
  skipped?: number;
  durationMs?: number;
}

/** Stores a run of the tests of a pack. Returns its id. */
const insertRun = ({ of = pack, hoursAgo = 0, total = 4, failed = 0, skipped = 0, durationMs = 100 }: Run = {}) => {
  const passed = total - failed - skipped;
  const rate = total === 0 ? 0 : passed / Math.max(1, total - skipped);
  return one<string>(
    sql`insert into attune.pack_test_execution (pack_id, pack_version, execution_time, trigger_reason, total_tests, passed, failed, skipped,
        pass_rate, duration_ms, result)
      values (${of}::bigint, '1.0.0', now() - make_interval(hours => ${hoursAgo}::int), 'manual', ${total}, ${passed}, ${failed}, ${skipped},
        ${rate}, ${durationMs}, '{"test_suites": []}') returning id::text`,
  );
};

const stats = async () =>
  (await rows<Record<string, unknown>>(services.db, sql`select * from attune.get_pack_test_stats(${pack}::bigint)`))[0];
const hasPassing = (hours?: number) =>
  one<boolean>(
    hours === undefined
      ? sql`select attune.pack_has_passing_tests(${pack}::bigint)`
      : sql`select attune.pack_has_passing_tests(${pack}::bigint, ${hours}::int)`,
  );
const meta = () => one<Record<string, unknown>>(sql`select meta from attune.pack where id = ${pack}::bigint`);

test("the table has the columns and indexes of the model", async () => {
  const columns = await one<string[]>(
    sql`select array_agg(column_name::text order by ordinal_position) from information_schema.columns
      where table_schema = 'attune' and table_name = 'pack_test_execution'`,
  );
  expect([...columns].sort()).toEqual(
    [
      ...["id", "pack_id", "pack_version", "execution_time", "trigger_reason", "total_tests", "passed", "failed"],
      ...["skipped", "pass_rate", "duration_ms", "result", "created"],
      ...["execution", "release"], // where it comes from
    ].sort(),
  );
  const indexes = await rows<{ definition: string }>(
    services.db,
    sql`select substring(indexdef from 'INDEX .*') as definition from pg_indexes
      where schemaname = 'attune' and tablename = 'pack_test_execution' and indexname like 'idx%' order by indexname`,
  );
  const on = "ON attune.pack_test_execution USING btree";
  expect(indexes.map(({ definition }) => definition)).toEqual([
    `INDEX idx_pack_test_execution_created ${on} (created)`,
    `INDEX idx_pack_test_execution_pack_id ${on} (pack_id)`,
    `INDEX idx_pack_test_execution_pass_rate ${on} (pass_rate)`,
    `INDEX idx_pack_test_execution_time ${on} (execution_time DESC)`,
    `INDEX idx_pack_test_execution_trigger ${on} (trigger_reason)`,
  ]);
});

test("the summary has every run with its pack, the latest view the newest of each pack", async () => {
  const other = await one<string>(
    sql`insert into attune.pack (ref, label, version) values (${`other${number}`}, 'Other', '1.0.0') returning id::text`,
  );
  const newest = await insertRun({ hoursAgo: 1, failed: 1 });
  const oldest = await insertRun({ hoursAgo: 5 });
  const others = await insertRun({ of: other, total: 0 });
  const read = (view: string) =>
    rows(
      services.db,
      sql`select test_execution_id::text as id, pack_ref, pack_label, has_passed from ${sql.raw(`attune.${view}`)}
        where pack_id in (${pack}::bigint, ${other}::bigint) order by pack_id, execution_time desc`,
    );
  const tested = { pack_ref: `tested${number}`, pack_label: "Tested" };
  const untested = { id: others, pack_ref: `other${number}`, pack_label: "Other", has_passed: false };
  expect(await read("pack_test_summary")).toEqual([
    { ...tested, id: newest, has_passed: false },
    { ...tested, id: oldest, has_passed: true },
    untested,
  ]);
  expect(await read("pack_latest_test")).toEqual([{ ...tested, id: newest, has_passed: false }, untested]);
});

test("the statistics count passed and failed runs; without a run there is no average and no last one", async () => {
  const none = { avg_pass_rate: null, avg_duration_ms: null, last_test_time: null, last_test_passed: null };
  const counts = (all: number, passed: number) =>
    Object.fromEntries(
      Object.entries({ total: all, successful: passed, failed: all - passed }).map(([name, count]) => [
        `${name}_executions`,
        expect.toSatisfy((value) => Number(value) === count),
      ]),
    );
  expect(await stats()).toEqual({ ...none, ...counts(0, 0) });
  await insertRun({ hoursAgo: 3, durationMs: 100 });
  await insertRun({ hoursAgo: 2, durationMs: 200, skipped: 2 });
  await insertRun({ hoursAgo: 1, durationMs: 300, failed: 2 });
  await insertRun({ hoursAgo: 4, durationMs: 400, total: 0 });
  expect(await stats()).toMatchObject({
    ...counts(4, 2),
    avg_pass_rate: 0.625,
    avg_duration_ms: 250,
    last_test_passed: false,
  });
  expect(
    await one<boolean>(
      sql`select last_test_time = (select max(execution_time) from attune.pack_test_execution where pack_id = ${pack}::bigint)
        from attune.get_pack_test_stats(${pack}::bigint)`,
    ),
  ).toBe(true);
});

test("a pack has passing tests if a run within the hours passed: 24 by default", async () => {
  expect(await hasPassing()).toBe(false);
  await insertRun({ total: 0 });
  await insertRun({ failed: 1 });
  expect(await hasPassing()).toBe(false);
  await insertRun({ hoursAgo: 25 });
  expect([await hasPassing(), await hasPassing(26), await hasPassing(25)]).toEqual([false, true, false]);
  await insertRun({ hoursAgo: 23 });
  expect([await hasPassing(), await hasPassing(22)]).toEqual([true, false]);
});

test("a run stamps its pack with the newest, beside the pack's other data", async () => {
  const first = await insertRun({ hoursAgo: 1, failed: 1 });
  const stamped = await meta();
  expect(stamped).toEqual({ team: "ops", last_test: { id: Number(first), passed: false, at: expect.any(String) } });
  const entries = () =>
    one<number>(
      sql`select count(*)::int from attune.notification where channel = 'pack' and activity = 'updated' and entity = ${pack}::bigint`,
    );
  const before = await entries();
  await insertRun({ hoursAgo: 2 }); // a run that began earlier and ends later
  expect(await meta()).toEqual(stamped);
  expect(await entries(), "an unchanged stamp is no change of the pack").toBe(before);
  const second = await insertRun();
  expect(await meta()).toMatchObject({ last_test: { id: Number(second), passed: true } });
  expect(await entries()).toBe(before + 1);
});

test("only runs write the stamp: other changes of the pack's data keep it", async () => {
  const set = (value: object) =>
    services.db.execute(
      sql`update attune.pack set meta = ${JSON.stringify(value)}::text::jsonb where id = ${pack}::bigint`,
    );
  await set({ team: "web", last_test: "none yet" });
  expect(await meta()).toEqual({ team: "web" });
  await insertRun();
  const { last_test } = await meta();
  await set({ team: "db" });
  expect(await meta()).toEqual({ team: "db", last_test });
  await set({ last_test: { id: 1, passed: true } });
  expect(await meta()).toEqual({ last_test });
});

test("the runs of a pack are deleted with it", async () => {
  const run = await insertRun();
  await services.db.execute(sql`delete from attune.pack where id = ${pack}::bigint`);
  expect(await one<number>(sql`select count(*)::int from attune.pack_test_execution where id = ${run}::bigint`)).toBe(
    0,
  );
});
