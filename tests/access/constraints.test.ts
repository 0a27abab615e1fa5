import { sql } from "drizzle-orm";
import { bigint, integer, pgTable, text } from "drizzle-orm/pg-core";
import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { z } from "zod";
import {
  type Constraints,
  constraintsOf,
  isWider,
  meets,
  meetsSql,
  type Target,
} from "../../src/access/constraints.ts";
import { openSession, type Session } from "../../src/access/session.ts";
import { rows } from "../../src/db/client.ts";
import { createServices, type TestServices } from "../support/database.ts";

const target = pgTable("target", {
  number: integer().notNull(),
  ref: text(),
  packRef: text("pack_ref"),
  ownerId: bigint("owner", { mode: "bigint" }),
});

let services: TestServices;
beforeAll(async () => {
  services = await createServices();
  await services.db.execute(
    sql`create table public.target (number int not null, ref text, pack_ref text, owner bigint)`,
  );
});
afterAll(() => services[Symbol.asyncDispose]());

// Few of each, so that they often match; some differ only by case or would match as patterns.
const ref = fc.constantFrom("core.echo", "core.Echo", "core.%", "ops.ec_o", "ops.echo ", "", "%", "'");
const list = fc.array(ref, { minLength: 1, maxLength: 3 });
const optionalOf = <T>(value: fc.Arbitrary<T>) => fc.option(value, { nil: undefined, freq: 2 });
const constraints: fc.Arbitrary<Constraints> = fc.record({
  pack_refs: optionalOf(list),
  refs: optionalOf(list),
  except_refs: optionalOf(list),
  owner: optionalOf(fc.constant("self" as const)),
});
const names = Object.keys(constraintsOf(z.array(z.string())).shape) as (keyof Constraints)[];

const identity = fc.constantFrom(1n, 2n, 2n ** 63n - 1n);
const row = fc.record({ ref: fc.option(ref), packRef: fc.option(ref), ownerId: fc.option(identity) });
const session: fc.Arbitrary<Session> = fc
  .option(identity)
  .map((identityId) => ({ ...openSession("1"), identityId, grants: [] }));
/** Which of the values the resource has. */
const columns = fc.record({ ref: fc.boolean(), packRef: fc.boolean(), ownerId: fc.boolean() });

test("every constraint is met by the same rows in the database as in memory", async () => {
  const tried = new Set<string>();
  await fc.assert(
    fc.asyncProperty(
      fc.array(row, { minLength: 1, maxLength: 12 }),
      fc.array(fc.record({ given: constraints, session, columns }), { minLength: 1, maxLength: 12 }),
      async (stored, queries) => {
        await services.db.execute(sql`truncate ${target}`);
        await services.db.insert(target).values(stored.map((values, number) => ({ number, ...values })));
        const conditions = queries.map(({ given, session, columns }) => {
          const sqlOf = {
            ref: columns.ref ? sql`${target.ref}` : undefined,
            packRef: columns.packRef ? sql`${target.packRef}` : undefined,
            isOwnedBy: columns.ownerId ? (id: string) => sql`${target.ownerId} = ${id}::bigint` : undefined,
          };
          return sql`(${meetsSql(given, sqlOf, session)}) is true`;
        });
        const found = await rows<{ holds: boolean[] }>(
          services.db,
          sql`select array[${sql.join(conditions, sql`, `)}] as holds from ${target} order by ${target.number}`,
        );
        for (const [index, { given, session, columns }] of queries.entries()) {
          const inMemory = stored.map((values) => {
            const known = Object.entries(values).filter(([name]) => columns[name as keyof typeof columns]);
            return meets(given, Object.fromEntries(known) as Target, session);
          });
          expect(found.map(({ holds }) => holds[index])).toEqual(inMemory);
          const names = Object.entries(given).flatMap(([name, value]) => (value === undefined ? [] : [name]));
          if (names.length < 2) for (const met of inMemory) tried.add(`${names[0] ?? "none"} ${met}`);
        }
      },
    ),
    { numRuns: 100 },
  );
  // Each constraint was met and not met on its own; without constraints, every row matches.
  const both = names.flatMap((name) => [`${name} true`, `${name} false`]);
  expect([...tried].sort()).toEqual([...both, "none true"].sort());
});

test("wider constraints are met by every row that meets the narrower ones", () => {
  let compared = 0;
  // Of two random values one is seldom wider: give the other some of its constraints.
  const pairs = fc.tuple(constraints, constraints, fc.subarray(names)).map(([wide, other, shared]) => {
    return { wide, narrow: { ...other, ...Object.fromEntries(shared.map((name) => [name, wide[name]])) } };
  });
  fc.assert(
    fc.property(pairs, fc.array(row, { maxLength: 8 }), session, ({ wide, narrow }, stored, session) => {
      if (!isWider(wide, narrow)) return;
      for (const values of stored.filter((each) => meets(narrow, each, session))) {
        if (Object.values(wide).some((value) => value !== undefined)) compared += 1;
        expect(meets(wide, values, session)).toBe(true);
      }
    }),
    { numRuns: 3000 },
  );
  expect(compared).toBeGreaterThan(100);
});
