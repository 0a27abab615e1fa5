import { readFileSync } from "node:fs";
import { join } from "node:path";
import { sql } from "drizzle-orm";
import type { SchemaObject } from "../cli/administration.ts";
import { type Db, rows } from "../db/client.ts";

/** What a migrated database has, a line for each; a test compares it with one, and `-u` writes it. */
export const expectedFile = join(import.meta.dirname, "expected.txt");

/**
 * Returns every object of the schema that has its effect, as a line with its kind and its name, in a fixed order. Of what libraries create for
 * themselves, the job queue and the list of migrations, only the tables count.
 */
export async function readObjects(db: Db): Promise<string[]> {
  const found = await rows<{ line: string }>(
    db,
    sql`with own as (
        select c.oid, c.relkind, c.relname as name from pg_class c
        where c.relnamespace = to_regnamespace('attune') and not c.relispartition),
      tables as (select * from own where relkind in ('r', 'p'))
      select kind || ' ' || name as line from (
        select 1 as place, 'table' as kind, name from tables
        union all select 1, 'table', n.nspname || '.' || c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace
          where n.nspname in ('attune_jobs', 'attune_migrations') and c.relkind in ('r', 'p') and not c.relispartition
        union all select 2, 'column', t.name || '.' || a.attname from tables t
          join pg_attribute a on a.attrelid = t.oid and a.attnum > 0 and not a.attisdropped
        union all select 3, 'view', name from own where relkind in ('v', 'm')
        union all select 4, 'function', p.proname || '(' || replace(pg_get_function_identity_arguments(p.oid), 'attune.', '') || ')'
          from pg_proc p where p.pronamespace = to_regnamespace('attune')
        union all select 5, 'trigger', t.name || '.' || g.tgname from tables t
          join pg_trigger g on g.tgrelid = t.oid and not g.tgisinternal and g.tgenabled <> 'D'
        union all select 6, 'index', i.name from own i
          join pg_index x on x.indexrelid = i.oid and x.indisvalid and x.indisready
        union all select 7, 'constraint', t.name || '.' || c.conname from tables t
          join pg_constraint c on c.conrelid = t.oid and c.contype <> 'n' and c.convalidated
        union all select 8, 'enum', t.typname from pg_type t where t.typnamespace = to_regnamespace('attune') and t.typtype = 'e'
        union all select 9, 'value', t.typname || '.' || e.enumlabel from pg_enum e
          join pg_type t on t.oid = e.enumtypid where t.typnamespace = to_regnamespace('attune')
      ) o order by place, name collate "C"`,
  );
  return found.map(({ line }) => line);
}

/** Compares the database with what its migrations create. */
export async function verify(db: Db): Promise<SchemaObject[]> {
  const found = new Set(await readObjects(db));
  const expected = readFileSync(expectedFile, "utf8").trimEnd().split("\n");
  return expected.map((line) => {
    const [, kind = "", name = ""] = /^(\w+) (.*)$/.exec(line) ?? [];
    return { kind, name, state: found.has(line) ? "found" : "missing" };
  });
}
