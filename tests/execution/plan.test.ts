import { sql } from "drizzle-orm";
import { expect, test } from "vitest";
import { rows, rowsOfText } from "../../src/db/client.ts";
import { write } from "../../src/db/tx.ts";
import { finishExecutions } from "../../src/execution/finish.ts";
import { createServices } from "../support/database.ts";
import { until } from "../support/until.ts";
import { createWorld } from "../support/world.ts";

test("a result is written by the execution's id, though its statement was first planned over an empty table", async () => {
  await using services = await createServices();
  await write(services, async (tx) => {
    const [worker] = await rows<{ id: string }>(
      tx.db,
      sql`insert into attune.worker (name, worker_type) values ('w', 'local') returning id::text`,
    );
    const finish = (id: string) =>
      finishExecutions(tx, [{ id, attempt: 1, status: "completed", result: {}, error: null, reason: null }]);
    const add = async (count: number) => {
      await tx.db.execute(
        sql`insert into attune.execution (action_ref, trace_tag, on_worker_loss, status)
          select 'core.noop', 'plan', 'abandon', 'scheduled' from generate_series(1, ${count}::int)`,
      );
      return await rows<{ id: string }>(
        tx.db,
        sql`update attune.execution set status = 'running', worker = ${worker?.id}::bigint, started_at = now(), attempt = 1
          where status = 'scheduled' returning id::text`,
      );
    };
    const read = async () => {
      const [counts] = await rows<{ sequentially: number; byIndex: number }>(
        tx.db,
        sql`select seq_tup_read::float8 as "sequentially", idx_scan::float8 as "byIndex" from pg_stat_xact_user_tables
          where relid = 'attune.execution'::regclass`,
      );
      return counts ?? { sequentially: Number.NaN, byIndex: Number.NaN };
    };
    // Often enough for the database to choose a generic plan.
    for (let round = 0; round < 10; round += 1) {
      const [only] = await add(1);
      expect(await finish(only?.id ?? "")).toEqual([true]);
    }
    const many = await add(1000);
    const before = await read();
    for (const { id } of many.slice(-20)) expect(await finish(id)).toEqual([true]);
    const after = await read();
    expect(after.byIndex - before.byIndex).toBeGreaterThanOrEqual(20);
    expect(after.sequentially - before.sequentially).toBe(0);
  });
});

test("executions of a batch are found by their ids, not among all that had their status since the last vacuum", async () => {
  await using world = await createWorld();
  const { db, queries } = world.services;
  await world.all(
    sql`insert into attune.execution (action_ref, status, finished_at) select 'core.noop', 'cancelled', now() from generate_series(1, 2000)`,
  );
  await world.all(sql`analyze attune.execution`); // the other statuses count as rare: their entries of the index seem few
  queries.length = 0;
  const trigger = await world.trigger();
  await world.rule(trigger);
  const parts = [world.startExecutor(), await world.startWorker()];
  for (const n of Array(20).keys()) await world.event(trigger, { n });
  const done = sql`select count(*)::int as done from attune.execution where status = 'completed'`;
  await until(async () => (await world.one<{ done: number }>(done)).done === 20, "the executions to end");
  for (const part of parts) await part.stop();
  const batches = queries.filter(({ text }) => /attune\.execution\b/.test(text) && /id = any \(\$/.test(text));
  const kinds = { claim: /set status = 'running'/, end: /finished_at = clock_timestamp\(\)/ };
  for (const [name, kind] of Object.entries(kinds))
    expect(
      batches.some(({ text }) => kind.test(text)),
      name,
    ).toBe(true);
  for (const { text, params } of batches) {
    const plan = (await rowsOfText(db, `explain ${text}`, params)).map((line) => Object.values(line)[0]).join("\n");
    expect(plan, text).not.toContain("execution_status_idx");
  }
});
