import { readFileSync } from "node:fs";
import { join } from "node:path";
import { type SQL, sql } from "drizzle-orm";
import { getTableConfig } from "drizzle-orm/pg-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { rows } from "../../src/db/client.ts";
import { tables } from "../../src/db/tables.ts";
import { write } from "../../src/db/tx.ts";
import { createServices, type TestServices } from "../support/database.ts";
import { readCatalog } from "./model/catalog.ts";

let services: TestServices;
beforeAll(async () => {
  services = await createServices();
});
afterAll(() => services[Symbol.asyncDispose]());

const select = <T extends object>(query: SQL) => rows<T>(services.db, query);
const foreignKeys = sql`select c.conname as name, c.conrelid as child, c.confrelid as parent, c.confdeltype as rule,
    a.attname as column, a.attnum as number, array_length(c.conkey, 1) as width
  from pg_constraint c join pg_attribute a on a.attrelid = c.conrelid and a.attnum = c.conkey[1]
  where c.contype = 'f' and c.connamespace = 'attune'::regnamespace`;
const ownTables = sql`select c.oid, c.relname as name from pg_class c
  where c.relnamespace = 'attune'::regnamespace and c.relkind in ('r', 'p')`;

describe("the catalog", () => {
  test("every foreign key column leads an index that covers all its references", async () => {
    const bare = await select<{ place: string }>(
      sql`select f.child::regclass || '.' || f.column as place from (${foreignKeys}) f where f.width <> 1 or not exists (
        select from pg_index i where i.indrelid = f.child and i.indkey[0] = f.number and i.indisvalid and i.indisready
          and (i.indpred is null or pg_get_expr(i.indpred, i.indrelid) = format('(%I IS NOT NULL)', f.column)))
        order by 1`,
    );
    expect(bare).toEqual([]);
    const [all] = await select<{ count: number }>(sql`select count(*)::int as count from (${foreignKeys}) f`);
    expect(all?.count).toBeGreaterThan(30);
  });

  test("every table has an identity id as its key, and its creation time", async () => {
    const lacking = await select<{ name: string }>(
      sql`select t.name from (${ownTables}) t where not exists (
          select from pg_constraint c join pg_attribute a on a.attrelid = c.conrelid and c.conkey = array[a.attnum]
          where c.conrelid = t.oid and c.contype = 'p' and a.attname = 'id' and a.attidentity = 'a' and a.atttypid = 'bigint'::regtype)
        or not exists (select from pg_attribute a where a.attrelid = t.oid and a.attname = 'created' and a.attnotnull
          and format_type(a.atttypid, a.atttypmod) = 'timestamp(3) with time zone')`,
    );
    expect(lacking).toEqual([]);
  });

  test("every function finds its tables with any search path of the caller", async () => {
    // Two qualify their names with the schema: a search path would cost half as much again in every writing transaction, or change of an execution.
    const loose = await select<{ name: string }>(
      sql`select p.oid::regprocedure::text as name from pg_proc p where p.pronamespace = 'attune'::regnamespace
        and p.prosqlbody is null and p.proname not in ('notification_enter', 'execution_update')
        and not coalesce(p.proconfig, '{}') && array['search_path=attune, pg_temp']`,
    );
    expect(loose).toEqual([]);
  });

  test("every connection finds the tables without their schema", async () => {
    const found = await Promise.all(
      Array.from({ length: 8 }, () =>
        select<{ path: string; table: string }>(
          sql`select current_setting('search_path') as path, 'execution_status'::regtype::oid <> 0 and to_regclass('execution') = to_regclass('attune.execution') as "table",
            pg_backend_pid() as pid from (select pg_sleep(0.02)) nap`,
        ),
      ),
    );
    expect(found.flat().map(({ path, table }) => [path, table])).toEqual(
      Array.from({ length: 8 }, () => ["attune, public", true]),
    );
  });

  test("the tables in the code match those in the database", async () => {
    const stored = await select<{ column: string; type: string; required: boolean }>(
      sql`select t.name || '.' || a.attname as column, a.attnotnull as required,
          replace(format_type(a.atttypid, a.atttypmod), 'attune.', '') as type
        from (${ownTables}) t join pg_attribute a on a.attrelid = t.oid and a.attnum > 0 and not a.attisdropped`,
    );
    const coded = Object.values(tables).flatMap((table) => {
      const { name, columns } = getTableConfig(table);
      return columns.map((column) => ({
        column: `${name}.${column.name}`,
        type: `${column.getSQLType().replace("timestamp (3)", "timestamp(3)").replace("varchar(", "character varying(")}${"[]".repeat(column.dimensions)}`,
        required: column.notNull || column.primary,
      }));
    });
    const byName = (a: { column: string }, b: { column: string }) => (a.column < b.column ? -1 : 1);
    expect(coded.sort(byName)).toEqual(stored.sort(byName));
  });

  test("the documented effects of deleting are those of the database", async () => {
    const { foreignKeys: keys } = await readCatalog(services.db);
    const found = keys.map(({ parent, table, column, rule }) => `| \`${parent}\` | \`${table}.${column}\` | ${rule} |`);
    const documented = readFileSync(join(import.meta.dirname, "../../docs/deletes.md"), "utf8");
    expect(documented.split("\n").filter((line) => line.startsWith("| `"))).toEqual(found);
  });
});

test("deleting a pack deletes its runtimes and actions, unless another pack's action uses them", async () => {
  await services.db.execute(
    sql`with p as (insert into attune.pack (ref, label, version) values ('gone', 'g', '1.0.0'), ('kept', 'k', '1.0.0') returning id, ref),
      r as (insert into attune.runtime (ref, pack, runtime_type, name, distributions)
        select 'gone.action.x', id, 'action', 'x', '{}' from p where ref = 'gone' returning id)
      insert into attune.action (ref, pack, label, entrypoint, runtime)
      select p.ref || '.a', p.id, 'a', 'a', r.id from p, r`,
  );
  const remove = () => write(services, (tx) => tx.db.execute(sql`delete from attune.pack where ref = 'gone'`));
  await expect(remove()).rejects.toMatchObject({ code: "CONFLICT" });
  await select(sql`delete from attune.action where ref = 'kept.a'`);
  await remove();
  expect(await select(sql`select from attune.action where ref = 'gone.a'`)).toEqual([]);
});

describe("revisions", () => {
  beforeAll(async () => {
    await services.db.execute(
      sql`with p as (insert into attune.pack (ref, label, version) values ('sample', 's', '1.0.0') returning id),
        t as (insert into attune.trigger (ref, label) values ('sample.t', 't') returning id),
        a as (insert into attune.action (ref, label, entrypoint) values ('sample.a', 'a', 'a'))
        insert into attune.rule (ref, pack, pack_ref, label, action_ref, trigger_ref, trigger)
          select 'sample.r', p.id, 'sample', 'r', 'core.noop', 'sample.t', t.id from p, t`,
    );
  });

  test("a rule's revision counts changes of its definition, and that of its trigger's rules whatever may change their behaviour", async () => {
    const change = async (set: string) => {
      const read = sql`select r.revision, t.rules_revision::int as set from attune.rule r join attune.trigger t on t.id = r.trigger where r.ref = 'sample.r'`;
      const [before] = await select<{ revision: number; set: number }>(read);
      await select(sql`update attune.rule set ${sql.raw(set)} where ref = 'sample.r'`);
      const [after] = await select<{ revision: number; set: number }>(read);
      return [(after?.revision ?? 0) - (before?.revision ?? 0), (after?.set ?? 0) - (before?.set ?? 0)];
    };
    expect(await change("label = 'other', description = 'd'")).toEqual([1, 1]);
    expect(await change("enabled = enabled")).toEqual([0, 0]);
    expect(await change("enabled = not enabled")).toEqual([1, 1]);
    expect(await change(`action_params = '{"a": 1}'`)).toEqual([1, 1]);
    expect(await change("action = (select id from attune.action where ref = 'sample.a')")).toEqual([0, 1]);
    const set = async () =>
      (
        await select<{ set: number }>(sql`select rules_revision::int as set from attune.trigger where ref = 'sample.t'`)
      )[0]?.set ?? 0;
    const start = await set();
    await select(sql`update attune.action set label = 'other' where ref = 'sample.a'`);
    expect(await set()).toBe(start);
    await select(sql`update attune.action set enabled = false where ref = 'sample.a'`);
    expect(await set()).toBe(start + 1);
    await select(sql`update attune.pack set config = '{"a": 1}' where ref = 'sample'`);
    expect(await set()).toBe(start + 2);
    await select(sql`delete from attune.action where ref = 'sample.a'`);
    expect(await set()).toBe(start + 3);
    await select(sql`delete from attune.rule where ref = 'sample.r'`);
    expect(await set()).toBe(start + 4);
  });
});
