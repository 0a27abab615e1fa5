import { sql } from "drizzle-orm";
import { type Db, rows } from "../../../src/db/client.ts";
import type { Services } from "../../../src/db/services.ts";
import { write } from "../../../src/db/tx.ts";
import type { Catalog } from "./catalog.ts";
import { entities } from "./entities.ts";
import { records } from "./records.ts";
import type { Row, Sample } from "./sample.ts";

/** The samples of every table. */
export const samples: Readonly<Record<string, Sample>> = { ...entities, ...records };

/** How a row is created: from which sample, with which values instead, and which columns from SQL. */
export interface RowOptions {
  of?: "minimal" | "full";
  with?: Row;
  sql?: Readonly<Record<string, string>>;
}

/** Creates rows of every table; by default they refer to one existing row of each table, which is created when it is missing. */
export interface Rows {
  insert(db: Db, table: string, options?: RowOptions): Promise<string>;
  /** Returns the values that would be inserted. */
  values(table: string, options?: RowOptions): Row;
}

export const tableOf = (table: string) => sql.raw(`attune.${table}`);

/** Stores the rows that others refer to, and returns the creator of rows. */
export async function createRows(services: Services, catalog: Catalog): Promise<Rows> {
  const { ensure, ...creator } = rowsOf(catalog);
  await write(services, async ({ db }) => {
    for (const { parent } of catalog.foreignKeys) await ensure(db, parent);
  });
  return creator;
}

/** Returns a creator of rows that stores what they refer to when the first of them needs it; that must not be rolled back. */
export function rowsOf(catalog: Catalog): Rows & { ensure(db: Db, table: string): Promise<void> } {
  const parents = new Map<string, string>();
  let count = 0;

  const filled = (text: string, n: number) =>
    text.replace("{n}", String(n)).replace(/^\{(\w+) id\}$/, (_, table: string) => parents.get(table) ?? "");

  function values(table: string, { of = "full", with: other = {} }: RowOptions = {}): Row {
    count += 1;
    const sample = samples[table];
    if (!sample) throw new Error(`the table ${table} has no sample row: add it to tests/db/model`);
    const row: Record<string, unknown> = Object.fromEntries(
      Object.entries({ ...sample[of], ...other }).map(([name, value]) => [
        name,
        typeof value === "string" ? filled(value, count) : value,
      ]),
    );
    for (const { column, parent } of referencesOf(catalog, table, of === "full")) {
      if (!(column in row)) row[column] = parents.get(parent);
    }
    return row;
  }

  async function insert(db: Db, table: string, options: RowOptions = {}): Promise<string> {
    const { of = "full" } = options;
    const given = { ...samples[table]?.[of], ...options.with, ...options.sql };
    for (const { column, parent } of referencesOf(catalog, table, of === "full")) {
      if (!(column in given)) await ensure(db, parent);
    }
    const before = samples[table]?.before;
    if (before) await db.execute(sql.raw(before));
    const row = values(table, options);
    const names = [...new Set([...Object.keys(row), ...Object.keys(options.sql ?? {})])];
    const list = (texts: string[]) => sql.raw(texts.join(", "));
    const [inserted] = await rows<{ id: string }>(
      db,
      sql`insert into ${tableOf(table)} as inserted (${list(names.map((name) => `"${name}"`))})
        select ${list(names.map((name) => options.sql?.[name] ?? `given."${name}"`))}
        from jsonb_populate_record(null::${tableOf(table)}, ${JSON.stringify(row)}::text::jsonb) given returning inserted.id::text`,
    );
    if (!inserted) throw new Error(`nothing was inserted into ${table}`);
    return inserted.id;
  }

  async function ensure(db: Db, table: string): Promise<void> {
    if (parents.has(table)) return;
    parents.set(table, await insert(db, table, { of: "minimal" }));
  }

  return { insert, values, ensure };
}

function referencesOf(catalog: Catalog, table: string, all: boolean) {
  const required = (name: string) =>
    catalog.columns.some((column) => column.table === table && column.name === name && column.required);
  return catalog.foreignKeys.filter((key) => key.table === table && (all || required(key.column)));
}

/** Updates a row with these values. */
export async function change(db: Db, table: string, { id, to }: { id: string; to: Row }): Promise<void> {
  const names = sql.raw(Object.keys(to).join(", "));
  await db.execute(
    sql`update ${tableOf(table)} set (${names}) = (select ${names}
        from jsonb_populate_record(null::${tableOf(table)}, ${JSON.stringify(to)}::text::jsonb))
      where id = ${id}::bigint`,
  );
}

/** Drops a unique constraint or index, in a transaction that is rolled back. */
export async function dropUnique(db: Db, table: string, name: string): Promise<void> {
  await db.execute(sql.raw(`alter table attune.${table} drop constraint if exists ${name}`));
  await db.execute(sql.raw(`drop index if exists attune.${name}`));
}

class Undone extends Error {}

/** Returns the work's result and rolls its changes back. A violated constraint is thrown as verbs throw it. */
export async function undone<T>(services: Services, work: (db: Db) => Promise<T>): Promise<T> {
  const result: T[] = [];
  try {
    await write(services, async ({ db }) => {
      result.push(await work(db));
      throw new Undone();
    });
  } catch (error) {
    if (!(error instanceof Undone)) throw error;
  }
  return result[0] as T; // the work has returned, or its error was thrown
}
