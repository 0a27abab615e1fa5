import { getColumns, sql } from "drizzle-orm";
import { getTableConfig, type PgColumn } from "drizzle-orm/pg-core";
import { type Db, rows } from "../../src/db/client.ts";
import { tables } from "../../src/db/tables.ts";

/** What a table is filled with. */
export interface Filling {
  /** Returns the number of rows of the table; 0 leaves it as it is. */
  size(table: string): number;
  /** Returns SQL for the value of the column in row `n`, which begins with 1; null: the column keeps its default. */
  cell(table: string, key: string, column: PgColumn): string | null;
}

/** Fills tables with generated rows. Checks are dropped, triggers and foreign keys are off: the values need not be valid. */
export async function fill(db: Db, { size, cell }: Filling): Promise<void> {
  await db.transaction(async (tx) => {
    await tx.execute(sql`set local session_replication_role = replica`);
    for (const table of Object.values(tables)) {
      const { name } = getTableConfig(table);
      if (size(name) === 0) continue;
      const cells = Object.entries(getColumns(table) as Record<string, PgColumn>).flatMap(([key, column]) => {
        const value = cell(name, key, column);
        return value === null ? [] : [{ column: `"${column.name}"`, value }];
      });
      await withoutIndexes(tx, name, async () => {
        await tx.execute(
          sql.raw(`insert into attune.${name} (${cells.map(({ column }) => column).join(", ")}) overriding system value
            select ${cells.map(({ value }) => value).join(", ")} from generate_series(1, ${size(name)}) n`),
        );
      });
      await tx.execute(sql.raw(`analyze attune.${name}`));
    }
  });
}

/** Drops the table's checks, and its indexes until `work` has ended: building an index takes less time than maintaining it. */
async function withoutIndexes(db: Db, table: string, work: () => Promise<void>): Promise<void> {
  const run = (text: string) => db.execute(sql.raw(text));
  const checks = await rows<{ name: string }>(
    db,
    sql`select conname as name from pg_constraint where conrelid = ${`attune.${table}`}::regclass and contype = 'c'`,
  );
  for (const check of checks) await run(`alter table attune.${table} drop constraint "${check.name}"`);
  const indexes = await rows<{ name: string; definition: string }>(
    db,
    sql`select c.relname as name, pg_get_indexdef(i.indexrelid) as definition from pg_index i join pg_class c on c.oid = i.indexrelid
      where i.indrelid = ${`attune.${table}`}::regclass
        and not exists (select from pg_constraint k where k.conindid = i.indexrelid)`,
  );
  for (const index of indexes) await run(`drop index attune."${index.name}"`);
  await work();
  for (const { definition } of indexes) await run(definition);
}
