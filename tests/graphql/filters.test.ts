import { sql } from "drizzle-orm";
import { getNamedType, isEnumType } from "graphql";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openSession } from "../../src/access/session.ts";
import { rows } from "../../src/db/client.ts";
import { schema } from "../../src/graphql/schema.ts";
import { type Api, createApi } from "../support/api.ts";
import { createServices, type TestServices } from "../support/database.ts";
import { fill } from "../support/fill.ts";
import { cellOf, parents, size, sizeOf } from "./filters/rows.ts";
import { columnOf, documentOf, filtersOf, findLists, type List, tableOf, typenameOf } from "./plans/cases.ts";

// Every filter and every order of every list returns what a comparison of the column that it is named after returns, computed here from
// the rows. No two columns have the same values, so a filter that reads another column, or negates, fails.

let services: TestServices;
let api: Api;
beforeAll(async () => {
  services = await createServices();
  await fill(services.db, { size: sizeOf, cell: cellOf });
  api = await createApi(services);
}, 60_000);
afterAll(async () => {
  await api[Symbol.asyncDispose]();
  await services[Symbol.asyncDispose]();
});

const session = openSession("2");
const lists = findLists();
const roots = lists.filter(({ parent }) => parent === null);
/** The lists of each type: the root list, or those of other objects where there is none. */
const byType = [...new Set(lists.map(({ typename }) => typename))].map((typename) => {
  const of = (those: List[]) => those.filter((list) => list.typename === typename);
  return [typename, of(roots).length > 0 ? of(roots) : of(lists)] as const;
});

type Value = string | number | boolean | null;
interface Row {
  id: string;
  value: Value;
}

/** SQL over the item's table for filters that are not a column. */
const computed: Readonly<Record<string, string>> = {
  "Execution.failedForGood":
    "(t.status in ('failed', 'timeout', 'abandoned') and t.id not in (select x from attune.execution, unnest(array[retry_of, rerun_of]) x where x is not null))",
  "Execution.pack": "split_part(t.action_ref, '.', 1)",
  "Pack.tags": "t.tags[1]", // the rows have one
  "Policy.tags": "t.tags[1]",
  "WorkflowDefinition.tags": "t.tags[1]",
  "AuditEvent.ip": "host(t.ip)",
  "WebhookDelivery.signatureVerified": "t.hmac_verified",
  "WebhookDelivery.received": "t.created",
};
/** Filters with a test of their own, and the reason. */
const elsewhere: Readonly<Record<string, string>> = {
  "Worker.heartbeatAgeSeconds": "depends on the time: tests/graphql/catalog.test.ts",
  "Artifact.execution": "asks about its versions: below",
  "Sensor.trigger": "asks about its triggers: below",
};

const upper = (text: string) => text.toUpperCase();

/** Whether the value passes; written apart from the operators that it holds to account. */
const passes: Readonly<Record<string, (value: Value, operand: never) => boolean>> = {
  eq: (value, operand: Value) => value === operand,
  in: (value, operand: Value[]) => value !== null && operand.includes(value),
  notIn: (value, operand: Value[]) => value === null || !operand.includes(value),
  isNull: (value, operand: boolean) => (value === null) === operand,
  gt: (value, operand: number) => value !== null && (value as number) > operand,
  gte: (value, operand: number) => value !== null && (value as number) >= operand,
  lt: (value, operand: number) => value !== null && (value as number) < operand,
  lte: (value, operand: number) => value !== null && (value as number) <= operand,
  contains: (value, operand: string) => value !== null && upper(String(value)).includes(upper(operand)),
  startsWith: (value, operand: string) => value !== null && upper(String(value)).startsWith(upper(operand)),
};

/** What tells the rows of the list apart. */
function selectionOf({ typename }: List): string {
  const fields = (schema.getType(typename) as { getFields?(): object }).getFields?.() ?? {};
  return "id" in fields ? "nodes { id }" : "edges { cursor }";
}

/** Returns the ids of a page's rows in the table. */
function readIds({ nodes, edges }: { nodes?: { id: string }[]; edges?: { cursor: string }[] }): string[] {
  if (nodes) return nodes.map(({ id }) => atob(id).split(":")[1] ?? "");
  return (edges ?? []).map(({ cursor }) => /(\d+)"?\]?$/.exec(atob(cursor))?.[1] ?? "");
}

/** Runs a list and returns the ids of its rows in the table. */
async function idsOf(list: List, parent: number | null, variables: object = {}): Promise<string[]> {
  const id = parent === null ? {} : { id: btoa(`${list.parent}:${parent}`) };
  const { data, errors } = await api.ask(session, documentOf(list, selectionOf(list)), {
    first: 100,
    ...id,
    ...variables,
  });
  expect(errors, `${list.name} ${JSON.stringify(variables)}`).toBeUndefined();
  return readIds((data.viewer ?? data.node ?? data).list);
}

/** Returns what `idsOf` does for each of the conditions, in one request. */
async function idsWhere(list: List, parent: number | null, conditions: readonly object[]): Promise<string[][]> {
  const names = conditions.map((_condition, index) => `w${index}`);
  const lists = names.map((name) => `${name}: ${list.field}(first: 100, where: $${name}) { ${selectionOf(list)} }`);
  const variables = names.map((name) => `$${name}: ${list.where.name}`).join(", ");
  const fields =
    list.parent === null
      ? lists.join(" ")
      : list.parent === "Viewer"
        ? `viewer { ${lists.join(" ")} }`
        : `node(id: "${btoa(`${list.parent}:${parent}`)}") { ... on ${list.parent} { ${lists.join(" ")} } }`;
  const values = Object.fromEntries(names.map((name, index) => [name, conditions[index]]));
  const { data, errors } = await api.ask(session, `query (${variables}) { ${fields} }`, values);
  expect(errors, `${list.name} ${JSON.stringify(values)}`).toBeUndefined();
  const found = data.viewer ?? data.node ?? data;
  return names.map((name) => readIds(found[name]));
}

/** Reads one value of each row of the list's table, with times as milliseconds. */
async function valuesOf(list: List, expression: string, type: string): Promise<Row[]> {
  const read = type === "DateTimeFilter" ? `extract(epoch from ${expression}) * 1000` : expression;
  const found = await rows<{ id: string; value: string | null }>(
    services.db,
    sql.raw(
      `select t.id::text as id, (${read})::text as value from attune.${tableOf(list.typename).name} t order by t.id`,
    ),
  );
  return found.map(({ id, value }) => ({ id, value: value === null ? null : convert(value, type) }));
}

function convert(value: string, type: string): Value {
  if (["DateTimeFilter", "IntFilter", "BigIntFilter"].includes(type)) return Number(value);
  return type === "BooleanFilter" ? value === "true" : value;
}

/** Returns the operand as the API takes it. */
function operandOf(list: List, filter: string, type: string, value: unknown): unknown {
  if (Array.isArray(value)) return value.map((item) => operandOf(list, filter, type, item));
  if (type === "IDFilter") return btoa(`${typenameOf(list, filter)}:${value}`);
  if (type === "DateTimeFilter") return new Date(Number(value)).toISOString();
  if (type === "BigIntFilter") return String(value);
  const values = schema.getType(type.slice(0, -"Filter".length));
  return isEnumType(values) ? values.getValues().find((each) => each.value === value)?.name : value;
}

/** Operands of each operator that some rows pass and others do not, of the values that the rows have. */
function operandsOf(operator: string, values: Value[]): unknown[] {
  const distinct = [...new Set(values)].filter((value) => value !== null).sort((a, b) => (a < b ? -1 : 1));
  const [first, second] = distinct;
  const middle = distinct[Math.floor(distinct.length / 2)];
  switch (operator) {
    case "eq":
      return [middle];
    case "in":
    case "notIn":
      return [[first, second].filter((value) => value !== undefined)];
    case "isNull":
      return [true, false];
    case "contains":
      return [String(middle).toLowerCase().slice(1), "%"];
    case "startsWith":
      return [String(middle).toLowerCase(), String(middle).slice(1)];
    default:
      return [middle];
  }
}

/** A parent with many of the list's rows; null for a root list. */
const parentOf = (list: List) => (list.parent === null || list.parent === "Viewer" ? null : 2);

/** Compares what the list returns for the filter, by each operator, with what its rows say. */
async function tryFilter(
  list: List,
  name: string,
  operators: string[],
): Promise<{ wrong: unknown[]; telling: number }> {
  const type = getNamedType(list.where.getFields()[name]?.type)?.name ?? "";
  const column = columnOf(list, name);
  const expression =
    computed[`${list.typename}.${name}`] ?? (column ? `t."${column.name}"` : name === "text" ? words(list) : null);
  if (!expression) throw new Error(`${list.name} by ${name}: no column`);
  const base = new Set(await idsOf(list, parentOf(list)));
  const all = (await valuesOf(list, expression, type)).filter(({ id }) => base.has(id));
  expect(all.length).toBeGreaterThan(2);
  const values = all.map(({ value }) => value);
  const wrong: unknown[] = [];
  let telling = 0;
  const tried: { where: object; right: string[] }[] = [];
  for (const operator of operators) {
    for (const operand of operandsOf(operator, values)) {
      const condition = { [operator]: operator === "isNull" ? operand : operandOf(list, name, type, operand) };
      const expected = all.filter(({ value }) => passes[operator]?.(value, operand as never)).map(({ id }) => id);
      const others = all.map(({ id }) => id).filter((id) => !expected.includes(id));
      if (expected.length > 0 && others.length > 0) telling += 1;
      tried.push({ where: { [name]: condition }, right: expected });
      tried.push({ where: { not: { [name]: condition } }, right: others });
    }
  }
  const found = await idsWhere(
    list,
    parentOf(list),
    tried.map(({ where }) => where),
  );
  for (const [index, { where, right }] of tried.entries()) {
    const ids = [...(found[index] ?? [])].sort(byNumber);
    if (String(ids) !== String([...right].sort(byNumber))) wrong.push({ list: list.name, where, found: ids, right });
  }
  return { wrong, telling };
}

describe.each(byType)("%s", (typename, ofType) => {
  const [first] = ofType as [List];
  const filters = filtersOf(first).filter(({ name }) => !elsewhere[`${typename}.${name}`]);
  test.each(filters.map(({ name, operators }) => [name, operators] as const))("by %s", async (name, operators) => {
    let telling = 0;
    for (const list of ofType) {
      const tried = await tryFilter(list, name, operators);
      expect(tried.wrong).toEqual([]);
      telling += tried.telling;
    }
    expect(telling, "comparisons that some rows pass and others do not").toBeGreaterThan(0);
  });

  const orders = first.order.getValues();
  test.each(orders.map(({ name, value }) => [name, String(value)] as const))(
    "in the order of %s",
    async (name, key) => {
      const column = tableOf(typename).columns[key];
      if (!column) throw new Error(`${first.name} in the order of ${name}: no column`);
      for (const direction of ["ASC", "DESC"]) {
        const found = await idsOf(first, parentOf(first), { orderBy: { field: name, direction } });
        const sorted = await rows<{ id: string }>(
          services.db,
          sql.raw(`select t.id::text as id from attune.${tableOf(typename).name} t
          order by t."${column.name}" ${direction}, t.id ${direction}`),
        );
        expect(found).toEqual(sorted.map(({ id }) => id).filter((id) => found.includes(id)));
        expect(found.length).toBeGreaterThan(2);
      }
    },
  );
});

test.each(byType)("%s by default in the order that the schema says", async (typename, ofType) => {
  const [first] = ofType as [List];
  const said = schema.getType(`${typename}Order`)?.description ?? "";
  const [, name = "", direction = ""] = /; by default (\w+) (ASC|DESC)\.$/.exec(said) ?? [];
  const key = String(first.order.getValue(name)?.value);
  const column = tableOf(typename).columns[key];
  if (!column) throw new Error(`${first.name}: no default order`);
  const found = await idsOf(first, parentOf(first));
  const sorted = await rows<{ id: string }>(
    services.db,
    sql.raw(
      `select t.id::text as id from attune.${tableOf(typename).name} t order by t."${column.name}" ${direction}, t.id ${direction}`,
    ),
  );
  expect(found).toEqual(sorted.map(({ id }) => id).filter((id) => found.includes(id)));
  expect(found.length).toBeGreaterThan(2);
});

/** SQL for the joined texts that the filter `text` searches. */
function words(list: List): string {
  const { columns } = tableOf(list.typename);
  const named = ["ref", "label", "name", "description"]
    .flatMap((key) => columns[key] ?? [])
    .map(({ name }) => `t.${name}`);
  const tags = columns["tags"] ? [`array_to_string(t.tags, ' ')`] : [];
  return `concat_ws(' ', ${[...named, ...tags].join(", ")})`;
}

describe("a list of an object's related rows", () => {
  /** The columns that refer to the parent, where they are not named after its type. */
  const references: Readonly<Record<string, string>> = {
    "Execution.children": "parent",
    "Execution.events": "cause_execution",
    "Execution.retries": "retry_of",
    "Execution.reruns": "rerun_of",
    "Identity.executions": "executor",
    "Identity.inquiries": "assigned_to",
    "Identity.keys": "owner_identity",
    "Identity.rules": "owner",
    "Action.keys": "owner_action",
    "Pack.keys": "owner_pack",
    "Pack.testRuns": "pack_id",
    "Sensor.keys": "owner_sensor",
    "Sensor.events": "source",
    "WorkflowDefinition.actions": "workflow",
  };
  const related = lists.filter(({ parent, name }) => parent && parent !== "Viewer" && name !== "Execution.descendants");
  test.each(related.map((list) => [list.name, list] as const))("%s", async (name, list) => {
    const { name: table, columns } = tableOf(list.typename);
    const parentName = tableOf(list.parent ?? "").name;
    const reference = references[name] ?? parentName;
    expect(Object.values(columns).map((column) => column.name)).toContain(reference);
    let found = 0;
    for (let parent = 1; parent <= parents; parent += 1) {
      const right = await rows<{ id: string }>(
        services.db,
        sql.raw(`select t.id::text as id from attune.${table} t where t.${reference} = ${parent} order by t.id`),
      );
      const ids = (await idsOf(list, parent)).sort(byNumber);
      expect(ids).toEqual(right.map(({ id }) => id));
      found += ids.length;
    }
    expect(found).toBeGreaterThan(0);
    expect(found).toBeLessThanOrEqual(size);
  });
});

test("artifacts by an execution that stored one of their versions", async () => {
  const artifacts = lists.find(({ name }) => name === "artifacts") as List;
  const right = await rows<{ id: string }>(
    services.db,
    sql`select distinct artifact::text as id from attune.artifact_version where execution = 3`,
  );
  const found = await idsOf(artifacts, null, { where: { execution: { eq: btoa("Execution:3") } } });
  expect(found.sort(byNumber)).toEqual(right.map(({ id }) => id).sort(byNumber));
  expect(found.length).toBeGreaterThan(0);
});

test("sensors by a trigger whose events they emit", async () => {
  const sensors = lists.find(({ name }) => name === "sensors") as List;
  const right = await rows<{ id: string }>(
    services.db,
    sql`select t.sensor::text as id from attune.trigger t where t.id in (3, 5, 8) and t.sensor is not null`,
  );
  const ids = [3, 5, 8].map((id) => btoa(`Trigger:${id}`));
  const found = await idsOf(sensors, null, { where: { trigger: { in: ids } } });
  expect(found.sort(byNumber)).toEqual([...new Set(right.map(({ id }) => id))].sort(byNumber));
  expect(found.length).toBeGreaterThan(0);
});

test("filters that are tested elsewhere exist", () => {
  const all = lists.flatMap((list) => filtersOf(list).map(({ name }) => `${list.typename}.${name}`));
  expect(all).toEqual(expect.arrayContaining([...Object.keys(elsewhere), ...Object.keys(computed)]));
});

function byNumber(a: string, b: string): number {
  return Number(a) - Number(b);
}
