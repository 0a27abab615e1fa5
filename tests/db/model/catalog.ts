import { sql } from "drizzle-orm";
import { type Db, rows } from "../../../src/db/client.ts";

export interface Column {
  table: string;
  name: string;
  type: string;
  required: boolean;
  hasDefault: boolean;
}

export interface ForeignKey {
  name: string;
  table: string;
  column: string;
  parent: string;
  rule: "cascade" | "set null" | "restrict";
}

/** A constraint or an index over more than one row or column, by its name. */
export interface Constraint {
  name: string;
  table: string;
  columns: string[];
}

/** The tables and constraints in the database's system catalog. */
export interface Catalog {
  columns: Column[];
  foreignKeys: ForeignKey[];
  /** Unique constraints and unique indexes. */
  uniques: Constraint[];
  primaryKeys: Constraint[];
  checks: Constraint[];
  /** Constraints that trigger functions enforce, by the names that they raise. */
  guards: string[];
  /** Enum types with their values. */
  enums: { name: string; values: string[] }[];
}

const ofTables = sql.raw(`join pg_class t on t.relnamespace = 'attune'::regnamespace and t.relkind in ('r', 'p')`);
const indexes = (primary: boolean) =>
  sql`select c.relname as name, t.relname as "table",
      array(select a.attname::text from unnest(i.indkey::int2[]) with ordinality k(number, place)
        join pg_attribute a on a.attrelid = t.oid and a.attnum = k.number order by k.place) as columns
    from pg_index i ${ofTables} and t.oid = i.indrelid join pg_class c on c.oid = i.indexrelid
    where i.indisunique and i.indisprimary = ${primary} order by 1`;

/** Reads every constraint from the system catalog. */
export async function readCatalog(db: Db): Promise<Catalog> {
  const guards = await rows<{ name: string }>(
    db,
    sql`select distinct m[1] as name from pg_trigger g join pg_proc p on p.oid = g.tgfoid
      ${ofTables} and t.oid = g.tgrelid, regexp_matches(p.prosrc, 'CONSTRAINT\\s*=\\s*''([a-z_]+)''', 'gi') m
      where not g.tgisinternal order by 1`,
  );
  return {
    columns: await rows<Column>(
      db,
      sql`select t.relname as "table", a.attname as name, a.attnotnull as required, a.atthasdef or a.attidentity <> '' as "hasDefault",
          replace(format_type(a.atttypid, null), 'attune.', '') as type
        from pg_attribute a ${ofTables} and t.oid = a.attrelid where a.attnum > 0 and not a.attisdropped
        order by t.relname, a.attnum`,
    ),
    foreignKeys: await rows<ForeignKey>(
      db,
      sql`select c.conname as name, t.relname as "table", a.attname as column, p.relname as parent,
          case c.confdeltype when 'c' then 'cascade' when 'n' then 'set null' when 'r' then 'restrict' else c.confdeltype::text end as rule
        from pg_constraint c ${ofTables} and t.oid = c.conrelid join pg_class p on p.oid = c.confrelid
        join pg_attribute a on a.attrelid = t.oid and a.attnum = c.conkey[1] where c.contype = 'f'
        order by p.relname collate "C", t.relname collate "C", a.attname collate "C"`,
    ),
    uniques: await rows<Constraint>(db, indexes(false)),
    primaryKeys: await rows<Constraint>(db, indexes(true)),
    checks: await rows<Constraint>(
      db,
      sql`select c.conname as name, t.relname as "table", '{}'::text[] as columns from pg_constraint c
        ${ofTables} and t.oid = c.conrelid where c.contype = 'c' order by 1`,
    ),
    guards: guards.map(({ name }) => name),
    enums: await rows<{ name: string; values: string[] }>(
      db,
      sql`select t.typname as name, array_agg(e.enumlabel::text order by e.enumsortorder) as values
        from pg_enum e join pg_type t on t.oid = e.enumtypid where t.typnamespace = 'attune'::regnamespace group by 1 order by 1`,
    ),
  };
}
