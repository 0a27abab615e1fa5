import { type SQL, sql } from "drizzle-orm";
import { bigint, boolean, integer, type PgColumn, pgTable, text } from "drizzle-orm/pg-core";
import fc, { type Arbitrary } from "fast-check";
import { isInputObjectType } from "graphql";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { rows } from "../../src/db/client.ts";
import { executionStatus, instant } from "../../src/db/schema.ts";
import { type Comparable, filterOperators, type OperatorName } from "../../src/graphql/kit/operators.ts";
import { schema } from "../../src/graphql/schema.ts";
import { createServices, type TestServices } from "../support/database.ts";

const compared = pgTable("compared", {
  number: integer().notNull(),
  text: text(),
  time: instant(),
  integer: integer(),
  big: bigint({ mode: "bigint" }),
  flag: boolean(),
  status: executionStatus(),
});

let services: TestServices;
beforeAll(async () => {
  services = await createServices();
  await services.db.execute(
    sql`create table public.compared (number int not null, text text, time timestamptz(3), integer int, big bigint, flag boolean,
      status attune.execution_status)`,
  );
});
afterAll(() => services[Symbol.asyncDispose]());

// Few letters, so that texts often contain one another: both cases, letters with special case rules, wildcards of patterns.
const letters = [..."aAbBäÄßẞσΣςİiıжЖ%_\\'\"* \n😀"];
const largest = 2n ** 63n - 1n;

/** The API's filter inputs by the kind of value that they compare, with the tried values. */
const kinds: readonly [
  column: Exclude<keyof typeof compared.$inferSelect, "number">,
  input: string,
  Arbitrary<Comparable>,
][] = [
  ["text", "StringFilter", fc.string({ unit: fc.constantFrom(...letters), maxLength: 4 })],
  ["time", "DateTimeFilter", fc.integer({ min: -3, max: 3 }).map((ms) => new Date(Date.UTC(2026, 10, 21) + ms))],
  ["integer", "IntFilter", fc.oneof(fc.integer({ min: -2, max: 2 }), fc.constantFrom(2 ** 31 - 1, -(2 ** 31)))],
  ["big", "BigIntFilter", fc.oneof(fc.bigInt({ min: -2n, max: 2n }), fc.constantFrom(largest, largest - 1n, -largest))],
  ["big", "IDFilter", fc.bigInt({ min: 1n, max: 4n })],
  ["flag", "BooleanFilter", fc.boolean()],
  ["status", "ExecutionStatusFilter", fc.constantFrom(...executionStatus.enumValues.slice(0, 3))],
];

function operatorsOf(input: string): OperatorName[] {
  const type = schema.getType(input);
  if (!isInputObjectType(type)) throw new Error(`${input} is not an input of the schema`);
  return Object.keys(type.getFields()) as OperatorName[];
}

interface Filter {
  operator: OperatorName;
  value: unknown;
}

interface Sample {
  stored: (Comparable | null)[];
  conditions: Filter[];
}

/** Generates a part of a stored text in any case, which a filter by text is likely to find. */
const partOf = (text: string): Arbitrary<string> =>
  fc
    .tuple(fc.nat(text.length), fc.nat(text.length), fc.constantFrom("asIs", "toUpperCase", "toLowerCase"))
    .map(([from, to, change]) => {
      const part = Array.from(text).slice(from, to).join("");
      return change === "asIs" ? part : part[change as "toUpperCase"]();
    });

function filters(
  input: string,
  values: Arbitrary<Comparable>,
  stored: readonly (Comparable | null)[],
): Arbitrary<Filter> {
  const parts = stored.flatMap((value) =>
    typeof value === "string" && input === "StringFilter" ? [partOf(value)] : [],
  );
  const likely = fc.oneof(values, ...parts);
  return fc.constantFrom(...operatorsOf(input)).chain((operator) => {
    const value: Arbitrary<unknown> =
      operator === "isNull"
        ? fc.boolean()
        : operator === "in" || operator === "notIn"
          ? fc.array(likely, { maxLength: 3 })
          : likely;
    return value.map((given) => ({ operator, value: given }));
  });
}

/** Generates rows, and filters that are likely to find some of them. */
const samples = (input: string, values: Arbitrary<Comparable>): Arbitrary<Sample> =>
  fc.array(fc.option(values, { freq: 4 }), { minLength: 1, maxLength: 12 }).chain((stored) =>
    fc.record({
      stored: fc.constant(stored),
      conditions: fc.array(filters(input, values, stored), { minLength: 1, maxLength: 20 }),
    }),
  );

/** Always tried: letters with special case rules, and wildcards of patterns. */
const special: Sample = {
  stored: ["aΣ", "ΑΣ", "İ", "İx", "ẞ", "ÄÖ", "100%", "a_b", "axb", "a\\b", "", null],
  conditions: ["contains", "startsWith", "eq"].flatMap((operator) =>
    ["σ", "Σ", "ς", "aς", "i", "i̇", "ix", "İ", "ß", "äö", "%", "_", "A_", "\\", ""].map((value) => ({
      operator: operator as OperatorName,
      value,
    })),
  ),
};

/** Returns for each filter the numbers of the rows that the database finds. */
async function found(column: PgColumn, conditions: readonly Filter[]): Promise<number[][]> {
  const asked: SQL[] = conditions.map(
    ({ operator, value }) => sql`(${filterOperators[operator].sql(column, value)}) is true`,
  );
  const matches = await rows<{ number: number; holds: boolean[] }>(
    services.db,
    sql`select ${compared.number} as number, array[${sql.join(asked, sql`, `)}] as holds from ${compared} order by 1`,
  );
  return conditions.map((_, index) => matches.flatMap(({ number, holds }) => (holds[index] ? [number] : [])));
}

describe("every operator finds the same rows in the database as in memory", () => {
  test.each(kinds)("%s by %s", async (name, input, values) => {
    const tried = new Set<string>();
    await fc.assert(
      fc.asyncProperty(samples(input, values), async ({ stored, conditions }) => {
        await services.db.execute(sql`truncate ${compared}`);
        await services.db.insert(compared).values(stored.map((value, number) => ({ number, [name]: value })));
        const inMemory = conditions.map(({ operator, value }) =>
          stored.flatMap((actual, number) => (filterOperators[operator].test(actual, value) ? [number] : [])),
        );
        expect(await found(compared[name], conditions)).toEqual(inMemory);
        for (const [index, { operator }] of conditions.entries()) {
          const held = inMemory[index]?.length ?? 0;
          if (held > 0) tried.add(`${operator} finds`);
          if (held < stored.length) tried.add(`${operator} passes over`);
        }
      }),
      { numRuns: 60, examples: name === "text" ? [[special]] : [] },
    );
    // Each operator has found some rows and skipped others.
    const both = operatorsOf(input).flatMap((operator) => [`${operator} finds`, `${operator} passes over`]);
    expect([...tried].sort()).toEqual(both.sort());
  });

  test("covers every operator of the API", () => {
    const offered = Object.keys(schema.getTypeMap())
      .filter((name) => name.endsWith("Filter"))
      .map((name) => String(operatorsOf(name)));
    expect(offered.length).toBeGreaterThan(10);
    // The inputs of enumerations are alike.
    const tried = new Set(kinds.map(([, input]) => String(operatorsOf(input))));
    expect(offered.filter((list) => !tried.has(list))).toEqual([]);
    expect(new Set(offered.join().split(","))).toEqual(new Set(Object.keys(filterOperators)));
  });
});
