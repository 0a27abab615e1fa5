import { sql } from "drizzle-orm";
import { rows } from "../../src/db/client.ts";
import type { Services } from "../../src/db/services.ts";
import { write } from "../../src/db/tx.ts";
import { readCatalog } from "../db/model/catalog.ts";
import { type RowOptions, rowsOf, tableOf } from "../db/model/rows.ts";
import type { Row } from "../db/model/sample.ts";

/** A stored row; the ref and the name are those of tables that have them. */
export interface Built {
  id: string;
  ref: string;
  name: string;
}

/**
 * Creates a row of any table, past the verbs: with these values by column, with columns from SQL such as `now()`, and with defaults from
 * `tests/db/model` for the rest. Rows that it must refer to are created unless they are given. A text may contain `{n}` for a unique number.
 */
export type Build = (table: string, values?: Row, expressions?: RowOptions["sql"]) => Promise<Built>;

/** Returns the builder of rows in a database. */
export function createBuild(services: Services): Build {
  let reading: Promise<ReturnType<typeof rowsOf>> | null = null;
  return async (table, values = {}, expressions = {}) => {
    reading ??= readCatalog(services.db).then(rowsOf);
    const { insert } = await reading;
    return await write(services, async ({ db }) => {
      const id = await insert(db, table, { of: "minimal", with: values, sql: expressions });
      const [stored] = await rows<{ row: Omit<Built, "id"> }>(
        db,
        sql`select to_jsonb(t) as row from ${tableOf(table)} t where id = ${id}::bigint`,
      );
      if (!stored) throw new Error(`the row of ${table} is gone`);
      return { ...stored.row, id };
    });
  };
}
