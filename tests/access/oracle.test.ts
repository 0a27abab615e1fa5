import { sql } from "drizzle-orm";
import {
  getNamedType,
  getNullableType,
  isEnumType,
  isInputObjectType,
  isLeafType,
  isListType,
  isObjectType,
} from "graphql";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { write } from "../../src/db/tx.ts";
import { schema } from "../../src/graphql/schema.ts";
import { until } from "../support/until.ts";
import { specs } from "./matrix/facts.ts";
import { edges, entrances, nodeTypes, rootFields } from "./matrix/fields.ts";
import type { Role } from "./matrix/roles.ts";
import { createMatrix, globalId, type Matrix } from "./matrix/setup.ts";

let matrix: Matrix;
beforeAll(async () => {
  matrix = await createMatrix();
});
afterAll(() => matrix[Symbol.asyncDispose]());

/** A column of a table; `foreign` is the table that it refers to. */
interface Column {
  name: string;
  type: string;
  foreign: string | null;
}

const columnsOf = (table: string) =>
  matrix.world.all<Column>(
    sql`select a.attname as "name", format_type(a.atttypid, null) as "type", f.relname as "foreign" from pg_attribute a
        left join pg_constraint k on k.conrelid = a.attrelid and k.contype = 'f' and k.conkey = array[a.attnum]
        left join pg_class f on f.oid = k.confrelid
      where a.attrelid = ${`attune.${table}`}::regclass and a.attnum > 0 and not a.attisdropped and a.attname <> 'id'
        and a.attgenerated = '' order by a.attnum`,
  );

/** SQL for other values of a column, by its type. */
const otherValues: Readonly<Record<string, string>> = {
  text: "coalesce({c}, '') || 'x'",
  bigint: "coalesce({c}, 0) + 1",
  integer: "coalesce({c}, 0) + 1",
  boolean: "not {c}",
  "timestamp with time zone": "coalesce({c}, now()) + interval '1 hour'",
};

/** SQL for the values that a column of that row is given in turn, beginning with its own. */
async function worldsOf(table: string, id: string, { name, type, foreign }: Column): Promise<string[]> {
  const [row] = await matrix.world.all<{ value: string | null }>(
    sql.raw(`select "${name}"::text as value from attune.${table} where id = ${id}`),
  );
  const quoted = (value: string | null | undefined) =>
    typeof value === "string" ? `'${value.replaceAll("'", "''")}'::${type}` : "null";
  const own = quoted(row?.value);
  if (foreign !== null) {
    const others = await matrix.world.all<{ id: string }>(
      sql.raw(
        `select id::text from attune.${foreign} where id::text is distinct from ${own}::text order by id desc limit 2`,
      ),
    );
    return [own, ...others.map((other) => quoted(other.id)), "null"];
  }
  const other = otherValues[type];
  return other ? [own, other.replace("{c}", own)] : [];
}

/** Gives the column of one row the value, without triggers. Returns the value as text; null for one that the database refuses. */
async function put(table: string, { id, column, value }: { id: string; column: string; value: string }) {
  try {
    return await write(matrix.world.services, async (tx) => {
      await tx.db.execute(sql`set local session_replication_role = replica`);
      await tx.db.execute(sql.raw(`update attune.${table} set "${column}" = ${value} where id = ${id}`));
      return { value };
    });
  } catch {
    return null;
  }
}

/** A question about a row, and what it is about: a field, a filter or an order. */
interface Probe {
  about: string;
  use: string;
}

const textOf = (value: string) => /^'(.*)'::/s.exec(value)?.[1]?.replaceAll("''", "'") ?? null;

/** The comparisons of a filter of that type with the values that a column has in turn; none if it is of another type. */
function comparisons(filter: string, { type, foreign }: Column, values: readonly string[]): string[] {
  const typename = typenameOf(foreign);
  const texts = values.flatMap((value) => textOf(value) ?? []);
  const compare = (literal: (text: string) => string, ...operators: string[]) => [
    ...texts.map(literal).flatMap((value) => operators.map((operator) => `{${operator}: ${value}}`)),
    "{isNull: true}",
  ];
  if (foreign !== null) {
    const id = (text: string) => JSON.stringify(globalId(typename ?? "", text));
    return filter === "IDFilter" && typename !== null
      ? [...compare(id, "eq"), ...texts.map((text) => `{notIn: [${id(text)}]}`)]
      : [];
  }
  switch (`${filter} ${type}`) {
    case "StringFilter text":
      return compare(JSON.stringify, "eq");
    case "DateTimeFilter timestamp with time zone":
      return compare((text) => JSON.stringify(new Date(text).toISOString()), "gt");
    case "IntFilter integer":
      return compare((text) => text, "eq");
    case "BigIntFilter bigint":
      return compare(JSON.stringify, "eq");
    default:
      return filter === "BooleanFilter" && type === "boolean" ? ["{eq: true}"] : [];
  }
}

/** The selections of the fields of one row, and of the single objects that it refers to. */
function fieldsOf(typename: string, id: string): Probe[] {
  const type = schema.getType(typename);
  if (!isObjectType(type)) return [];
  const leaves = Object.values(type.getFields()).filter(({ type: of }) => isLeafType(getNamedType(of)));
  // Lists would tell no more about the row itself, and take longer.
  const single = edges(typename).filter(({ path }) => {
    const field = type.getFields()[path];
    return field && !isListType(getNullableType(field.type)) && !getNamedType(field.type).name.endsWith("Connection");
  });
  const selections = [...leaves.map(({ name }) => name), ...single.map(({ selection }) => selection)];
  const node = `node(id: ${JSON.stringify(globalId(typename, id))})`;
  return selections.map((use) => ({ about: use, use: `${node} { ... on ${typename} { ${use} } }` }));
}

/** The questions about one row that compare the column: each filter of its list and each order. */
function probesOf(
  typename: string,
  id: string,
  { values, column }: { values: readonly string[]; column: Column },
): Probe[] {
  const list = entrances(typename).list;
  if (!list || values.length === 0) return [];
  const given = new Map(list.field.args.map((arg) => [arg.name, getNamedType(arg.type)]));
  const [where, orderBy] = [given.get("where"), given.get("orderBy")];
  if (!isInputObjectType(where) || !isInputObjectType(orderBy)) throw new Error(`${list.name} has no filter or order`);
  const own = JSON.stringify(globalId(typename, id));
  const filter = (condition: string) =>
    `${list.name}(first: 5, where: {id: {eq: ${own}}, ${condition}}) { totalCount { count } nodes { id } }`;
  const filters = Object.values(where.getFields()).flatMap(({ name, type: of }) => {
    if (["id", "and", "or", "not"].includes(name)) return [];
    return comparisons(String(of), column, values).flatMap((one) => {
      const senses = column.foreign === null ? [`${name}: ${one}`] : [`${name}: ${one}`, `not: {${name}: ${one}}`];
      return senses.map((condition) => ({ about: `where ${name}`, use: filter(condition) }));
    });
  });
  const field = getNamedType(orderBy.getFields()["field"]?.type);
  const orders = isEnumType(field) ? field.getValues().map(({ name }) => name) : [];
  const order = (name: string) => `${list.name}(first: 50, orderBy: {field: ${name}, direction: ASC}) { nodes { id } }`;
  return [...filters, ...orders.map((name) => ({ about: `orderBy ${name}`, use: order(name) }))];
}

/** The role's answers to the questions. */
async function ask(role: Role, probes: readonly Probe[]): Promise<string[]> {
  const all: string[] = [];
  for (let start = 0; start < probes.length; start += 25) {
    const part = probes.slice(start, start + 25);
    const { data, errors } = await matrix.server.ask(
      role,
      `{ ${part.map(({ use }, n) => `a${n}: ${use}`).join(" ")} }`,
    );
    const codes = new Map(errors?.map(({ path, extensions }) => [path?.[0], extensions.code]));
    if (codes.has(undefined)) throw new Error(JSON.stringify(errors));
    all.push(...part.map((_, n) => codes.get(`a${n}`) ?? JSON.stringify(data[`a${n}`])));
  }
  return all;
}

/** Asks in each world. Returns the answers by world and probe. */
async function askInWorlds(
  role: Role,
  probes: readonly Probe[],
  at: { table: string; id: string; column: string; worlds: readonly string[] },
): Promise<string[][]> {
  const all: string[][] = [];
  for (const value of at.worlds) if (await put(at.table, { ...at, value })) all.push(await ask(role, probes));
  await put(at.table, { ...at, value: at.worlds[0] ?? "null" });
  return all;
}

const typenameOf = (table: string | null) =>
  Object.entries(specs).find(([, spec]) => spec.table === table)?.[0] ?? null;
const listed = nodeTypes().filter((typename) => typename !== "Notification" && entrances(typename).list);

describe("what the fields of an object do not tell, no filter, count or order of its list tells", () => {
  /** The other roles of the core pack read what a viewer or an administrator reads. */
  const isOther = ({ name }: Role) => ["core.admin", "core.editor", "core.executor"].includes(name);
  let readers: Role[];
  beforeAll(() => {
    readers = matrix.roles.filter((role) => !isOther(role));
  });

  /** The filters and orders that show a difference which the fields do not. */
  const guarded = new Set<string>();

  // Some tables have many columns.
  test.each(listed)(
    "%s",
    async (typename) => {
      const table = specs[typename]?.table ?? "";
      for (const column of await columnsOf(table)) {
        await check(typename, { table, id: matrix.seeds.own.get(table) ?? "", column });
      }
    },
    120_000,
  );

  async function check(typename: string, { table, id, column }: { table: string; id: string; column: Column }) {
    const worlds = await worldsOf(table, id, column);
    const at = { table, id, column: column.name, worlds };
    const all = await acceptable(probesOf(typename, id, { values: worlds, column }), column);
    const questions = await telling(all, at);
    if (questions.length === 0) return;
    const fields = await telling(fieldsOf(typename, id), at);
    // Fields hide references from some roles, and other values from hardly any: there two roles are asked.
    const isEnough = ({ name }: Role) => column.foreign !== null || ["core.viewer", "owner: self"].includes(name);
    const asked = readers.filter(isEnough);
    for (const role of asked.filter((each) => matrix.reads(each, typename, id))) {
      // What a role's fields tell apart, anything may: only the other worlds are asked about.
      const alike = pairsAlike(await askInWorlds(role, fields, at));
      if (alike.length === 0) continue;
      const answers = await askInWorlds(role, questions, at);
      for (const { about } of questions) guarded.add(`${typename} ${about}`);
      for (const [one, other] of alike) {
        const differing = questions.filter((_, index) => answers[one]?.[index] !== answers[other]?.[index]);
        expect(
          differing.map(({ use }) => use),
          `${role.name}: ${typename}, ${column.name}`,
        ).toEqual([]);
      }
    }
  }

  /** The pairs of worlds in which all answers are the same. */
  function pairsAlike(answers: readonly string[][]): [number, number][] {
    const all = answers.map((each) => JSON.stringify(each));
    return all.flatMap((first, one) =>
      all.flatMap((second, other): [number, number][] => (one < other && first === second ? [[one, other]] : [])),
    );
  }

  /** Leaves out the filters by ids of other types than the column's, which are refused. */
  async function acceptable(probes: readonly Probe[], { foreign }: Column): Promise<readonly Probe[]> {
    if (foreign === null) return probes;
    const first = [...Map.groupBy(probes, ({ about }) => about).values()].flatMap(([probe]) => probe ?? []);
    const answers = await ask(matrix.admin, first);
    const refused = new Set(first.filter((_, index) => answers[index] === "BAD_USER_INPUT").map(({ about }) => about));
    return probes.filter(({ about }) => !refused.has(about));
  }

  /** The probes whose answers differ between the worlds for one who may read everything. */
  async function telling(probes: readonly Probe[], at: Parameters<typeof askInWorlds>[2]): Promise<Probe[]> {
    if (probes.length === 0) return [];
    const answers = await askInWorlds(matrix.admin, probes, at);
    return probes.filter((_, index) => new Set(answers.map((each) => each[index])).size > 1);
  }

  test("which has something to hide", () => {
    const references = {
      Action: ["runtime"],
      ApiToken: ["identity"],
      AuditEvent: ["actor"],
      Enforcement: ["event"],
      Execution: ["enforcement", "executor", "parent", "worker"],
      Inquiry: ["assignedTo", "execution", "respondedBy"],
      Policy: ["action", "pack"],
      Rule: ["owner"],
      Worker: ["runtime"],
    };
    const expected = Object.entries(references).flatMap(([typename, names]) =>
      names.map((name) => `${typename} where ${name}`),
    );
    expect([...guarded]).toEqual(expect.arrayContaining(expected));
  });
});

describe("the log of changes", () => {
  /** The types of the objects that entries name, by the fields of their contents. */
  const named: Readonly<Record<string, string>> = {
    ...{ action: "Action", parent: "Execution", root: "Execution", execution: "Execution", worker: "Worker" },
    ...{ enforcement: "Enforcement", event: "Event", executor: "Identity", assignedTo: "Identity" },
  };

  beforeAll(async () => {
    const above = matrix.seeds.others.get("execution") ?? "";
    const id = await matrix.seeds.another("execution", "own", { parent: above, root: above });
    const use = `{ executionStatusMessages(first: 1, where: {id: {eq: ${JSON.stringify(globalId("Execution", id))}}}) { cursor } }`;
    const isSent = async () => (await matrix.server.ask(matrix.admin, use)).data.executionStatusMessages.length > 0;
    await until(isSent, "its entry in the feed");
  });

  /** The objects that the log names, as somebody with every grant reads it: fields of contents, and ids by type. */
  async function references(role: Role): Promise<[field: string, id: string][]> {
    const { data } = await matrix.server.ask(role, "{ notifications(first: 100) { nodes { content } } }");
    const contents: (Record<string, unknown> | null)[] =
      data.notifications?.nodes.map((node: { content: object }) => node.content) ?? [];
    return contents
      .flatMap((content) => [content, content?.["test"]].flatMap((part) => Object.entries(part ?? {})))
      .filter(([field]) => field !== "run") // a run is readable with its pack, whose entry this is
      .filter((entry): entry is [string, string] => /^\d+$/.test(String(entry[1])) && typeof entry[1] === "string");
  }

  test("names no object that a role may not read", async () => {
    const all = await references(matrix.admin);
    expect(new Set(all.map(([field]) => field))).toEqual(new Set(Object.keys(named)));
    for (const role of matrix.roles) {
      for (const [field, id] of await references(role)) {
        expect(matrix.reads(role, named[field] ?? "", id), `${role.name}: ${field} ${id}`).toBe(true);
      }
    }
  });

  const streams = rootFields().filter(({ root, name }) => root === "query" && name.endsWith("Messages"));
  const idFields = streams.flatMap(({ name, field }) => {
    const where = getNamedType(field.args.find((arg) => arg.name === "where")?.type);
    if (!isInputObjectType(where)) return [];
    const fields = Object.values(where.getFields()).filter(({ type }) => String(type) === "IDFilter");
    return fields.map((each) => [name, each.name] as const).filter(([, each]) => each !== "id");
  });

  test.each(idFields)(
    "%s does not tell by `%s` which objects that a role may not read are named",
    async (stream, field) => {
      const ids = new Set(
        (await references(matrix.admin)).flatMap(([name, id]) => (named[name] === named[field] ? [id] : [])),
      );
      let found = 0;
      for (const id of ids) {
        const given = JSON.stringify(globalId(named[field] ?? "", id));
        const use = (condition: string) => `${stream}(first: 100${condition}) { cursor }`;
        const document = `{ eq: ${use(`, where: {${field}: {eq: ${given}}}`)} in: ${use(`, where: {${field}: {in: [${given}]}}`)}
        notIn: ${use(`, where: {${field}: {notIn: [${given}]}}`)} all: ${use("")} }`;
        found += (await matrix.server.ask(matrix.admin, document)).data.eq.length;
        for (const role of matrix.roles.filter((each) => !matrix.reads(each, named[field] ?? "", id))) {
          const { data, errors } = await matrix.server.ask(role, document);
          expect(errors).toBeUndefined();
          expect(data, `${role.name}: ${id}`).toEqual({ eq: [], in: [], notIn: data.all, all: data.all });
        }
      }
      expect(found).toBeGreaterThan(0);
    },
  );
});
