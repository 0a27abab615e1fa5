import { getColumns, sql } from "drizzle-orm";
import { getTableConfig } from "drizzle-orm/pg-core";
import { isEnumType } from "graphql";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Db, rows } from "../../src/db/client.ts";
import { tables } from "../../src/db/tables.ts";
import { schema } from "../../src/graphql/schema.ts";
import { createServices, type TestServices } from "../support/database.ts";
import { type Catalog, type ForeignKey, readCatalog } from "./model/catalog.ts";
import { createRefused, type Refused, words } from "./model/refused.ts";
import { change, createRows, dropUnique, type Rows, samples, tableOf, undone } from "./model/rows.ts";
import type { Row } from "./model/sample.ts";
import { having, reachedBy, referring } from "./model/violations.ts";

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

/** Returns the stored row as JSON, or null if it was deleted. */
async function stored(db: Db, table: string, id: string): Promise<Row | null> {
  const [found] = await rows<{ row: Row }>(
    db,
    sql`select to_jsonb(t) as row from ${tableOf(table)} t where id = ${id}::bigint`,
  );
  return found?.row ?? null;
}

const remove = (db: Db, table: string, id: string) =>
  db.execute(sql`delete from ${tableOf(table)} where id = ${id}::bigint`);

describe("deleting", () => {
  /** Creates a row, and a full row that refers to it by that reference only. */
  async function family(db: Db, { table, column, parent }: ForeignKey): Promise<{ child: string; target: string }> {
    const target = await creator.insert(db, parent, { of: "minimal" });
    const child = await creator.insert(db, table, { with: { ...referring[`${table}.${column}`], [column]: target } });
    return { child, target };
  }

  /** Columns that change with every update. */
  const versions = ["updated", "revision"];
  const without = (row: Row | null, names: string[]) =>
    Object.fromEntries(Object.entries(row ?? {}).filter(([name]) => !names.includes(name)));

  test("affects referring rows as the catalog specifies: deletes them, clears the reference, or is refused", async () => {
    const counts = { cascade: 0, "set null": 0, restrict: 0 };
    for (const key of catalog.foreignKeys) {
      const { name, table, column, parent, rule } = key;
      counts[rule] += 1;
      if (rule === "restrict") {
        const message = await refused.conflict(name, words(parent), async (db) => {
          const { target } = await family(db, key);
          await remove(db, parent, target);
        });
        expect(message, name).toMatch(new RegExp(`^The ${words(parent)} cannot be deleted: an? ${words(table)} still`));
        continue;
      }
      await undone(services, async (db) => {
        const { child, target } = await family(db, key);
        const before = await stored(db, table, child);
        expect(before?.[column], name).toBe(Number(target));
        await remove(db, parent, target);
        expect(await stored(db, parent, target), name).toBeNull();
        const after = await stored(db, table, child);
        if (rule === "cascade") expect(after, name).toBeNull();
        else expect(without(after, versions), name).toEqual({ ...without(before, versions), [column]: null });
      });
    }
    expect(Math.min(...Object.values(counts))).toBeGreaterThan(1);
  });

  test("a rule and its event keeps the enforcement, which records both", async () => {
    await undone(services, async (db) => {
      const id = await creator.insert(db, "enforcement");
      const before = await stored(db, "enforcement", id);
      const execution = await creator.insert(db, "execution", { with: { enforcement: id } });
      for (const table of ["rule", "event"]) await remove(db, table, String(before?.[table]));
      expect(await stored(db, "enforcement", id)).toMatchObject({
        rule: null,
        event: null,
        rule_ref: "sample.rule",
        trigger_ref: "sample.trigger",
        payload: before?.["payload"],
        conditions: before?.["conditions"],
      });
      expect(await stored(db, "execution", execution)).toMatchObject({
        enforcement: Number(id),
        rule_ref: "sample.rule",
      });
    });
  });
});

describe("`updated`", () => {
  test("increases strictly with every update, even twice in one transaction or if the update sets it", async () => {
    const versioned = catalog.columns.filter(({ name }) => name === "updated");
    expect(versioned.length).toBeGreaterThan(15);
    for (const { table } of versioned) {
      const seen = await undone(services, async (db) => {
        const id = await creator.insert(db, table);
        const versions = [(await stored(db, table, id))?.["updated"]];
        for (const change of ["created = created", "updated = 'epoch'", "updated = default"]) {
          await db.execute(sql`update ${tableOf(table)} set ${sql.raw(change)} where id = ${id}::bigint`);
          versions.push((await stored(db, table, id))?.["updated"]);
        }
        return versions.map((at) => Date.parse(String(at)));
      });
      const steps = seen.slice(1).map((at, index) => at - (seen[index] ?? Number.NaN));
      expect(Math.min(...steps), `${table}: ${seen}`).toBeGreaterThan(0);
    }
  });
});

describe("values", () => {
  test("of every enumeration are those in the code, and each is stored and read back in every column", async () => {
    const coded = new Map<string, readonly string[]>();
    let count = 0;
    for (const table of Object.values(tables)) {
      const { name, columns } = getTableConfig(table);
      for (const column of columns) {
        if (!column.enumValues?.length) continue;
        if (!/^(text|varchar)/.test(column.getSQLType())) coded.set(column.getSQLType(), column.enumValues);
        for (const value of column.enumValues) {
          expect(await kept(name, column.name, value), `${name}.${column.name}`).toBe(value);
          count += 1;
        }
      }
    }
    expect(count).toBeGreaterThan(80);
    expect(catalog.enums).toEqual([...coded].sort().map(([name, values]) => ({ name, values: [...values] })));
  });

  async function kept(table: string, column: string, value: string): Promise<unknown> {
    return await undone(services, async (db) => {
      const place = `${table}.${column}=${value}`;
      const way = [...(reachedBy[place] ?? []), value];
      const at = (step: string) => ({ [column]: step, ...having[`${table}.${column}=${step}`] });
      const id = await creator.insert(db, table, { with: at(way[0] ?? value) });
      for (const step of way.slice(1)) await change(db, table, { id, to: at(step) });
      return (await stored(db, table, id))?.[column];
    });
  }

  test("null, {}, [] and the JSON null are distinct in every JSON column", async () => {
    const columns = catalog.columns.filter(({ type }) => type === "jsonb");
    expect(columns.length).toBeGreaterThan(40);
    for (const { table, name, required } of columns) {
      for (const json of ["{}", "[]", "null", '{"a": null}', '""', "0", "false"]) {
        const text = await undone(services, async (db) => {
          const id = await creator.insert(db, table, { sql: { [name]: `'${json}'::jsonb` } });
          const column = sql.raw(`"${name}"`);
          const read = sql`select ${column}::text as text, ${column} is null as none from ${tableOf(table)} where id = ${id}::bigint`;
          return (await rows<{ text: string | null; none: boolean }>(db, read))[0];
        });
        expect(text, `${table}.${name}`).toEqual({ text: json, none: false });
      }
      if (required) continue;
      const nothing = await undone(services, async (db) =>
        stored(db, table, await creator.insert(db, table, { with: { [name]: null } })),
      );
      expect(nothing?.[name], `${table}.${name}`).toBeNull();
    }
  });

  test("that are null come last in ascending order and first in descending", async () => {
    let count = 0;
    const optional = new Set(catalog.columns.filter(({ required }) => !required).map(({ table }) => table));
    for (const table of [...optional].filter((name) => !samples[name]?.before)) {
      await undone(services, async (db) => {
        const uniques = catalog.uniques.filter((unique) => unique.table === table);
        for (const { name } of uniques) await dropUnique(db, table, name); // both rows refer to the same rows
        const some = await creator.insert(db, table);
        const none = await creator.insert(db, table, { of: "minimal" });
        const [full, minimal] = [await stored(db, table, some), await stored(db, table, none)];
        const names = Object.keys(full ?? {}).filter((name) => minimal?.[name] === null && full?.[name] !== null);
        for (const name of names) {
          const order = async (direction: string) => {
            const sorted = await rows<{ id: string }>(
              db,
              sql`select id::text from ${tableOf(table)} where id in (${some}::bigint, ${none}::bigint)
                order by ${sql.raw(`"${name}" ${direction}`)}`,
            );
            return sorted.map(({ id }) => id);
          };
          expect([await order("asc"), await order("desc")], `${table}.${name}`).toEqual([
            [some, none],
            [none, some],
          ]);
          count += 1;
        }
      });
    }
    expect(count).toBeGreaterThan(100);
  });

  test("by which a list of the API is ordered are never null, or its pages would lose rows", () => {
    const orders = Object.values(schema.getTypeMap()).filter((type) => type.name.endsWith("OrderField"));
    expect(orders.length).toBeGreaterThan(8);
    for (const type of orders) {
      if (!isEnumType(type)) throw new Error(`${type.name} is not an enumeration`);
      const typename = type.name.slice(0, -"OrderField".length);
      const table = Object.values(tables).find((each) => getTableConfig(each).name === tableNameOf(typename));
      for (const { value } of type.getValues()) {
        const column = table && (getColumns(table) as Record<string, { notNull: boolean; primary: boolean }>)[value];
        expect(column?.notNull || column?.primary, `${typename} by ${value}`).toBe(true);
      }
    }
  });
});

/** Returns the name of the table of an API type. */
const tableNameOf = (typename: string) =>
  typename === "ApiToken" ? "token" : typename.replaceAll(/(?<!^)[A-Z]/g, (letter) => `_${letter}`).toLowerCase();

describe("rules of single tables", () => {
  const attempt = (table: string, row: Row) =>
    undone(services, async (db) => stored(db, table, await creator.insert(db, table, { with: row })));

  test("a runtime's ref contains its type", async () => {
    for (const type of ["action", "sensor"]) {
      const values = { ref: `a-b.${type}.c_d`, runtime_type: type };
      expect(await attempt("runtime", values)).toMatchObject(values);
    }
    await expect(attempt("runtime", { ref: "sample.sensor.python", runtime_type: "action" })).rejects.toThrow();
  });

  test("workers may share a name and have any valid port", async () => {
    await undone(services, async (db) => {
      for (const port of [1, 65_535, null]) await creator.insert(db, "worker", { with: { name: "twin", port } });
      expect(await rows(db, sql`select from attune.worker where name = 'twin'`)).toHaveLength(3);
    });
  });

  test("a key has exactly the owner that its type requires, and its ref contains it", async () => {
    const owners = ["identity", "pack", "action", "sensor"];
    for (const type of ["system", ...owners]) {
      for (let set = 0; set < 2 ** owners.length; set += 1) {
        const given = owners.filter((_, bit) => set & (1 << bit));
        const columns = owners.map((owner) => [`owner_${owner}`, given.includes(owner) ? `{${owner} id}` : null]);
        const row = { owner_type: type, name: "secret", ...Object.fromEntries(columns) };
        const right = given.join() === (type === "system" ? "" : type);
        if (!right) {
          await refused.invalid("key_owner_check", "ownerType", (db) => creator.insert(db, "key", { with: row }));
          continue;
        }
        const key = await attempt("key", row);
        const owner = type === "system" ? "" : `.${key?.["owner"]}`;
        expect(key).toMatchObject({ ref: `${type}${owner}.secret` });
        expect(key?.["owner"]).toMatch(
          { system: /^system$/, identity: /^someone\d+$/, pack: /^sample\d+$/ }[type] ?? /^sample\./,
        );
      }
    }
  });
});
