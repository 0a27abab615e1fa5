import { sql } from "drizzle-orm";
import { expect, test } from "vitest";
import { rows } from "../../src/db/client.ts";
import { write } from "../../src/db/tx.ts";
import { finishExecutions } from "../../src/execution/finish.ts";
import { createServices } from "../support/database.ts";

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
