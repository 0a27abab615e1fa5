import { getColumns, sql } from "drizzle-orm";
import { getTableConfig } from "drizzle-orm/pg-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Db, rows } from "../../src/db/client.ts";
import { tables } from "../../src/db/tables.ts";
import { InvalidInputError } from "../../src/errors.ts";
import { createServices, type TestServices } from "../support/database.ts";
import { type Catalog, readCatalog } from "./model/catalog.ts";
import { camel, createRefused, type Refused, words } from "./model/refused.ts";
import { change, createRows, dropUnique, type RowOptions, type Rows, samples, tableOf, undone } from "./model/rows.ts";
import type { Row } from "./model/sample.ts";
import {
  composed,
  filledIn,
  foundBy,
  guarded,
  instead,
  referring,
  shadowed,
  violating,
  violatingChange,
} from "./model/violations.ts";

// The model is read from the database: a table without a sample row, or a constraint without a violation, fails.
let services: TestServices;
let catalog: Catalog;
let creator: Rows;
let refused: Refused;
beforeAll(async () => {
  services = await createServices();
  catalog = await readCatalog(services.db);
  creator = await createRows(services, catalog);
  refused = createRefused(services);
});
afterAll(() => services[Symbol.asyncDispose]());

const unknownId = 999_999_999;

/** Returns the only row of a query. */
async function one<T extends object>(db: Db, query: ReturnType<typeof sql>): Promise<T> {
  const [row] = await rows<T>(db, query);
  if (!row) throw new Error("the query returned no row");
  return row;
}

/** Returns the stored row as JSON. */
async function stored(db: Db, table: string, id: string): Promise<Row | null> {
  const [found] = await rows<{ row: Row }>(
    db,
    sql`select to_jsonb(t) as row from ${tableOf(table)} t where id = ${id}::bigint`,
  );
  return found?.row ?? null;
}

const columnsOf = (table: string) => catalog.columns.filter((column) => column.table === table);
/** Inserts without the sample's `before` statement. */
const insertOnly = (db: Db, table: string, row: Row) =>
  db.execute(
    sql`insert into ${tableOf(table)} (${sql.raw(
      Object.keys(row)
        .map((name) => `"${name}"`)
        .join(", "),
    )})
      select ${sql.raw(
        Object.keys(row)
          .map((name) => `"${name}"`)
          .join(", "),
      )} from jsonb_populate_record(null::${tableOf(table)}, ${JSON.stringify(row)}::text::jsonb)`,
  );
const insertOf = (table: string, options?: RowOptions) => (db: Db) => creator.insert(db, table, options);

describe("a row", () => {
  test("of every table has a sample", () => {
    const names = [...new Set(catalog.columns.map(({ table }) => table))];
    expect(Object.keys(samples).sort()).toEqual(names.sort());
    expect(
      Object.values(tables)
        .map((table) => getTableConfig(table).name)
        .sort(),
    ).toEqual(names);
  });

  test("can be minimal: omitted columns are null or have a default", async () => {
    for (const table of Object.keys(samples)) {
      const given = creator.values(table, { of: "minimal" });
      const required = columnsOf(table).filter(
        ({ name, required, hasDefault }) => required && !hasDefault && !filledIn.has(`${table}.${name}`),
      );
      expect(Object.keys(given), table).toEqual(expect.arrayContaining(required.map(({ name }) => name)));
      const row = await undone(services, async (db) =>
        stored(db, table, await creator.insert(db, table, { of: "minimal" })),
      );
      for (const { name, hasDefault } of columnsOf(table)) {
        if (name in given || filledIn.has(`${table}.${name}`)) continue;
        expect(row?.[name] === null, `${table}.${name} is null`).toBe(!hasDefault);
      }
      // Every other value of a minimal row is required too.
      const more = Object.keys(given).filter((name) => !required.some((column) => column.name === name));
      for (const name of more) {
        const options: RowOptions = { of: "minimal", with: { [name]: null } };
        await expect(undone(services, insertOf(table, options)), `${table}.${name}`).rejects.toThrow(InvalidInputError);
      }
    }
  });

  test("can be full: every column keeps its value", async () => {
    for (const [plural, table] of Object.entries(tables)) {
      const { name } = getTableConfig(table);
      await undone(services, async (db) => {
        const given = creator.values(name);
        expect([...Object.keys(given), "id"].sort(), name).toEqual(
          columnsOf(name)
            .map((column) => column.name)
            .sort(),
        );
        const id = await creator.insert(db, name, { with: given });
        const kept = await one<{ kept: Row; given: Row }>(
          db,
          sql`select to_jsonb(t) as kept, to_jsonb(jsonb_populate_record(null::${tableOf(name)}, ${JSON.stringify(given)}::text::jsonb)) as given
            from ${tableOf(name)} t where id = ${id}::bigint`,
        );
        const expected = Object.fromEntries(
          Object.entries(kept.given).filter(([column]) => column !== "id" && !filledIn.has(`${name}.${column}`)),
        );
        expect(kept.kept, name).toMatchObject(expected);
        // Read through the code's tables, no value is lost either.
        const query = db.query[plural as "packs"]; // the same for every table
        const read = (await query.findFirst({ where: { id: BigInt(id) } })) as Row;
        for (const [key, column] of Object.entries(getColumns(table))) {
          expect(read[key] === null, `${name}.${column.name}`).toBe(kept.kept[column.name] === null);
        }
      });
    }
  });
});

describe("a violated constraint is refused with a message of the API:", () => {
  test("every column that may not be null", async () => {
    for (const { table, name } of catalog.columns.filter(({ required }) => required)) {
      const place = `${table}.${name}`;
      const nothing = insertOf(table, { with: { [name]: null } });
      if (name === "id") continue; // inputs have no id, see below
      if (filledIn.has(place)) {
        const row = await undone(services, async (db) => stored(db, table, await nothing(db)));
        expect(row?.[name], place).toBeTruthy();
        continue;
      }
      const message = await refused.invalid(instead[place] ?? foundBy[place] ?? place, camel(name), nothing);
      if (!instead[place]) expect(message).toBe("is required");
    }
  });

  test("every id, which inputs cannot set and which is unique", async () => {
    const keys = Object.fromEntries(catalog.primaryKeys.map(({ table, columns }) => [table, columns]));
    expect(keys).toEqual(Object.fromEntries(Object.keys(samples).map((table) => [table, ["id"]])));
    for (const { name, table } of catalog.primaryKeys) {
      await expect(undone(services, insertOf(table, { with: { id: 7 } })), table).rejects.toMatchObject({
        cause: { code: "428C9" },
      });
      const twice = async (db: Db) => {
        const id = await creator.insert(db, table);
        const copy = sql.raw(
          `insert into attune.${table} overriding system value select * from attune.${table} where id = ${id}`,
        );
        const others = catalog.uniques.filter((unique) => unique.table === table);
        for (const unique of others) await dropUnique(db, table, unique.name);
        await db.execute(copy);
      };
      expect(await refused.conflict(name, words(table), twice)).toContain("the same id already");
    }
  });

  test("every unique", async () => {
    const messages: Record<string, string> = {};
    for (const { name, table, columns } of catalog.uniques) {
      messages[name] = await refused.conflict(name, words(table), async (db) => {
        const first = shadowed[name];
        if (first) await dropUnique(db, table, first);
        const one = await stored(db, table, await creator.insert(db, table));
        const same = Object.fromEntries((composed[name] ?? columns).map((column) => [column, one?.[column]]));
        await insertOnly(db, table, { ...creator.values(table), ...same });
      });
      for (const column of columns) expect(messages[name], name).toContain(camel(column));
    }
    expect(messages).toMatchObject({
      pack_ref_key: expect.stringMatching(/^There is a pack with the ref "sample\d+" already\.$/),
      identity_login_key: expect.stringMatching(/^There is an identity with the login "someone\d+" already\.$/),
      trigger_webhook_key_key: "There is a trigger with the same webhookKey already.",
      artifact_scope_owner_ref_key: "There is an artifact with the same scope, owner and ref already.",
    });
  });

  test("every check", async () => {
    const names = catalog.checks.map(({ name }) => name);
    expect(Object.keys(violating).sort()).toEqual(names.sort());
    for (const { name, table } of catalog.checks) {
      expect(violating[name]?.length, name).toBeGreaterThan(0);
      for (const row of violating[name] ?? []) {
        const error = await refused.refusal(name, async (db) => {
          const id = await creator.insert(db, table, { with: row });
          const to = violatingChange[name];
          if (to) await change(db, table, { id, to });
        });
        expect(error, name).toBeInstanceOf(InvalidInputError);
        const [{ path = "", message = "" } = {}] = (error as InvalidInputError).issues;
        expect(
          columnsOf(table).map((column) => camel(column.name)),
          `${name}: ${path}`,
        ).toContain(path);
        expect(message, name).toMatch(/^(must|is required)/);
      }
    }
  });

  test("every reference to a missing row", async () => {
    for (const { name, table, column, parent } of catalog.foreignKeys) {
      const options = { with: { ...referring[`${table}.${column}`], [column]: unknownId } };
      const path = instead[name] ? "ownerType" : camel(column);
      const message = await refused.invalid(instead[name] ?? name, path, insertOf(table, options));
      expect(message, name).toMatch(
        instead[name] ? /must exist/ : new RegExp(`^must be an? ${words(parent)} that exists$`),
      );
    }
  });

  test("every constraint that triggers enforce", async () => {
    // A trigger may enforce a check too.
    const guards = catalog.guards.filter((name) => !catalog.checks.some((check) => check.name === name));
    expect(Object.keys(guarded).sort()).toEqual(guards.sort());
    for (const [name, { table, row, tries }] of Object.entries(guarded)) {
      for (const statement of tries) {
        await refused.conflict(name, words(table).replace("audit event", "audit trail"), async (db) => {
          const id = await creator.insert(db, table, { with: row });
          await db.execute(sql.raw(statement.replace("{id}", id)));
        });
      }
    }
  });
});
