import { sql } from "drizzle-orm";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Db, rows } from "../../src/db/client.ts";
import { createServices, onPostgres, type TestServices } from "../support/database.ts";

let services: TestServices;
beforeAll(async () => {
  services = await createServices();
});
afterAll(() => services[Symbol.asyncDispose]());

/** How often the transaction's connection has run a prepared statement whose text contains `part`. */
async function uses(tx: Db, part: string): Promise<number> {
  const [found] = await rows<{ uses: number }>(
    tx,
    sql`select coalesce(sum(generic_plans + custom_plans), 0)::int as uses from pg_prepared_statements
      where strpos(statement, ${part}) > 0 and strpos(statement, 'pg_prepared_statements') = 0`,
  );
  return found?.uses ?? 0;
}

describe("a statement", () => {
  test("accepts and returns every kind of value, repeatedly", async () => {
    const bytes = Buffer.from([0, 1, 92, 255]);
    const object = { text: "ä'\"\\", list: [1, null, true], none: null };
    for (let round = 0; round < 7; round += 1) {
      const [row] = await rows(
        services.db,
        sql`select ${round}::int as int, ${"9007199254740993"}::bigint::text as big, ${1.5}::float8 as float, ${round % 2 === 0}::bool as bool,
          ${JSON.stringify(object)}::text::jsonb as object, ${"null"}::text::jsonb as nothing, ${bytes}::bytea as bytes,
          ${null}::text as missing, ${"ä \u{1f600} \\ '"}::text as text, array['a', 'b']::text[] as texts, array[1, 2]::int[] as ints,
          timestamptz '2026-02-03 04:05:06.789+00' at time zone 'utc' = ${"2026-02-03T04:05:06.789Z"}::timestamptz at time zone 'utc' as same`,
      );
      expect(row).toMatchObject({ int: round, big: "9007199254740993", float: 1.5, bool: round % 2 === 0, object });
      expect(row).toMatchObject({ nothing: null, missing: null, text: "ä \u{1f600} \\ '", same: true });
      expect(row).toMatchObject({ texts: ["a", "b"], ints: [1, 2] });
      expect(Buffer.from((row as { bytes: Uint8Array }).bytes)).toEqual(bytes);
    }
  });

  test("that fails affects nothing else outside a transaction, and fails the transaction within one", async () => {
    const { db } = services;
    const divide = (by: number) => rows<{ quotient: number }>(db, sql`select 6 / ${by}::int as quotient`);
    for (let round = 0; round < 3; round += 1) {
      await expect(divide(0)).rejects.toMatchObject({ cause: { code: "22012" } });
      expect(await divide(3)).toEqual([{ quotient: 2 }]);
      await expect(rows(db, sql`select nonsense from nowhere`)).rejects.toMatchObject({ cause: { code: "42P01" } });
    }
    const broken = db.transaction(async (tx) => {
      await tx.execute(sql`insert into attune.pack (ref, label, version) values ('rolled_back', 'x', '1.0.0')`);
      await rows(tx, sql`select 6 / ${0}::int as quotient`).catch(() => null);
      return await rows(tx, sql`select 1 as never`);
    });
    await expect(broken).rejects.toMatchObject({ cause: { code: "25P02" } });
    expect(await rows(db, sql`select from attune.pack where ref = 'rolled_back'`)).toEqual([]);
    expect(await divide(2)).toEqual([{ quotient: 3 }]);
  });

  test("without parameters is prepared too", async () => {
    await services.db.transaction(async (tx) => {
      for (let round = 0; round < 3; round += 1) await rows(tx, sql`select 'no parameters' as note`);
      expect(await uses(tx, "select 'no parameters' as note")).toBe(3);
    });
  });

  test("waits for an open transaction of another caller, and sees no uncommitted rows", async () => {
    const { db } = services;
    const steps: string[] = [];
    const opened = Promise.withResolvers<void>();
    const transaction = db.transaction(async (tx) => {
      await tx.execute(sql`insert into attune.pack (ref, label, version) values ('half_done', 'x', '1.0.0')`);
      opened.resolve();
      await new Promise((resolve) => setTimeout(resolve, 50)); // lets other statements interleave
      await tx.execute(sql`delete from attune.pack where ref = 'half_done'`);
      steps.push("committed");
    });
    await opened.promise;
    const found = await rows(db, sql`select ref from attune.pack where ref = 'half_done'`);
    steps.push("read");
    await transaction;
    expect(found).toEqual([]);
    if (!onPostgres()) expect(steps).toEqual(["committed", "read"]); // one connection
  });

  test("whose table was altered fails at most once, and is correct afterwards", async () => {
    const { db } = services;
    await db.execute(sql`create table altered (a int)`);
    const read = () => rows(db, sql`select * from altered`);
    await db.execute(sql`insert into altered values (1)`);
    expect(await read()).toEqual([{ a: 1 }]);
    await db.execute(sql`alter table altered add column b text default 'new'`);
    await read().catch(() => null);
    expect(await read()).toEqual([{ a: 1, b: "new" }]);
  });

  // On PostgreSQL the driver prepares statements.
  test.skipIf(onPostgres())("is prepared once, and the most recently used stay prepared", async () => {
    const { db } = services;
    const kept = async (like: string) =>
      (
        await rows<{ count: number }>(
          db,
          sql`select count(*)::int as count from pg_prepared_statements where statement like ${like}`,
        )
      )[0]?.count;
    const often = () => rows(db, sql`select 'often' as word, ${1}::int as number`);
    for (let round = 0; round < 400; round += 1) {
      expect(await often()).toEqual([{ word: "often", number: 1 }]);
      await rows(db, sql.raw(`select 'once' as word, ${round} as number`));
    }
    expect(await kept("select 'often'%")).toBe(1);
    expect(await kept("select 'once'%")).toBeLessThan(300);
    expect(await kept("%")).toBe(300);
  });
});

// The embedded database prepares every statement.
test.runIf(onPostgres())("taking jobs is planned anew after many were taken", async () => {
  const { jobs } = services;
  await jobs.open("taken");
  await services.db.transaction(async (tx) => {
    const ids = Array.from({ length: 30 }, (_, index) => ({ id: String(index + 1) }));
    await jobs.add(tx, "taken", ids);
    const taken: number[] = [];
    const prepared: number[] = [];
    for (const limit of [5, 20, 3, 10]) {
      taken.push((await jobs.take(tx, "taken", limit)).length);
      prepared.push(await uses(tx, "FOR UPDATE"));
    }
    expect({ taken, prepared }).toEqual({ taken: [5, 20, 3, 2], prepared: [1, 2, 2, 3] });
  });
});
