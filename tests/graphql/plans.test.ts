import { encodeBase64, encodeCursorTuple } from "@pothos/core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Constraints } from "../../src/access/constraints.ts";
import { openSession, type Session } from "../../src/access/session.ts";
import { type Api, createApi } from "../support/api.ts";
import { createServices, type TestServices } from "../support/database.ts";
import { conditionsOf, documentOf, filtersOf, findLists, type List, tableOf } from "./plans/cases.ts";
import { type Cost, explain } from "./plans/explain.ts";
import { fillTables, samples, sizeOf } from "./plans/rows.ts";

// For every list, order, direction and indexed filter, the rows that PostgreSQL reads for a page are bounded by the page,
// whatever the table contains. The statements are those that the API runs.

const first = 50;
/** Rows that a page may read or sort: the page and one more row, for each of two values, each read again by id. */
const enough = 4 * (first + 1);
/** Rows that a total may read. */
const counted = 10_001;

/** Lists of what users create: small tables, where an index gives the order and filters are applied to all rows. */
const catalogs: ReadonlySet<string> = new Set([
  ...["Pack", "Runtime", "Trigger", "Sensor", "Action", "Rule", "Policy", "WorkflowDefinition", "Worker", "Key"],
  ...["Identity", "PermissionSet", "PermissionAssignment", "ApiToken", "PolicyGroup", "PackTestExecution"],
]);

/** Filters of records without an index, and lists that are read otherwise. PostgreSQL ends a statement after a minute. */
const unindexed: Readonly<Record<string, string>> = {
  "executions.failedForGood": "looks for later tries of each; with `status` it reads only those that failed",
  "executions.priority": "nearly all have the same",
  "executions.attempt": "nearly all have the same",
  "executions.startedAt": "a range in another order than the list's; `created` is near",
  "executions.finishedAt": "the same",
  "events.generation": "nearly all have the same",
  "events.evaluatedAt": "a range in another order than the list's; `created` is near",
  "inquiries.prompt": "a text to search in",
  "inquiries.timeoutAt": "a range in another order than the list's",
  "inquiries.respondedAt": "the same",
  "artifacts.name": "a text to search in; `ref` has an index",
  "artifacts.updated": "a range in another order than the list's",
  "artifacts.retention": "nearly all have the same",
  "artifacts.execution": "filters by versions; an execution lists its artifacts",
  "auditEvents.ip": "rarely used; an index would cost a write for each entry",
  "auditEvents.actorKind": "one of four",
  "notifications.channel":
    "the log is written seven times for each event, and kept for a week: an index of its order is enough",
  "notifications.entityType": "the same",
  "notifications.activity": "the same",
  "notifications.pack": "the same",
  "Execution.descendants": "walks the tree below one execution, and sorts the result",
};
/** Operators without an index. */
const unindexedOperators: Readonly<Record<string, string>> = {
  contains: "a text anywhere in another, in any case",
  startsWith: "in any case",
  notIn: "nearly all rows",
  isNull: "nearly all rows, or nearly all others",
};

let services: TestServices;
let api: Api;
beforeAll(async () => {
  services = await createServices();
  await fillTables(services.db);
  api = await createApi(services);
}, 120_000);
afterAll(async () => {
  await api[Symbol.asyncDispose]();
  await services[Symbol.asyncDispose]();
});

const everyone = openSession("2");
const lists = findLists();
const roots = lists.filter(({ parent }) => parent === null);
const isRecord = ({ typename }: List) => !catalogs.has(typename);
const records = roots.filter(isRecord);
const orders = (list: List) =>
  list.order.getValues().flatMap(({ name: field }) => ["ASC", "DESC"].map((direction) => ({ field, direction })));
const byAge = { field: "CREATED", direction: "DESC" };

/** Returns the cost of each statement that the API runs for the document. */
async function costsOf(list: List, variables: object, { session = everyone, selection = "nodes { __typename }" } = {}) {
  services.queries.length = 0;
  const { errors } = await api.ask(session, documentOf(list, selection), { first, ...variables });
  expect(errors, `${list.name} ${JSON.stringify(variables)}`).toBeUndefined();
  const costs: Cost[] = [];
  for (const { text, params } of services.queries.splice(0)) {
    // Without the statements of the sessions and the feed.
    if (text.includes(`"attune"."${tableOf(list.typename).name}"`))
      costs.push(await explain(services.db, text, params));
  }
  return costs;
}

/** Describes what exceeded the bounds. */
async function beyond(list: List, variables: object, session: Session = everyone): Promise<string[]> {
  const costs = await costsOf(list, variables, { session });
  return costs
    .filter(({ scanned, read, sorted }) => scanned.length > 0 || read > enough || sorted > enough)
    .map((cost) => `${list.name} ${JSON.stringify(variables)}: ${JSON.stringify(cost)}`);
}

/** Returns the cursor of a row in the middle of the table, in order of creation. */
function middle({ typename }: List): string {
  const id = samples.commonRow(sizeOf(tableOf(typename).name));
  const created = new Date(Date.UTC(2026, 0, 1) + Math.floor(id / 3) * 1000);
  return encodeBase64(`DC:${encodeCursorTuple([created, BigInt(id)])}`);
}

describe("a page of records", () => {
  test.each(records.map((list) => [list.name, list] as const))(
    "%s: every filter, in both directions",
    async (_name, list) => {
      const wrong: string[] = [];
      for (const orderBy of orders(list)) {
        wrong.push(...(await beyond(list, { orderBy })));
        if (orderBy.field !== "CREATED") continue;
        wrong.push(...(await beyond(list, { orderBy, after: middle(list) })));
        for (const filter of filtersOf(list)) {
          if (unindexed[`${list.name}.${filter.name}`]) continue;
          for (const condition of await conditionsOf(services.db, list, filter)) {
            const where = { [filter.name]: condition };
            wrong.push(...(await beyond(list, { orderBy, where })));
            if (orderBy.direction === "DESC") {
              wrong.push(...(await beyond(list, { orderBy, where, after: middle(list) })));
            }
          }
        }
      }
      expect(wrong).toEqual([]);
    },
  );

  const [old = "", common = ""] = samples.packs;
  const refs = samples.refs;
  const grants: [string, Constraints[]][] = [
    ["one pack", [{ pack_refs: [old] }]],
    ["two packs", [{ pack_refs: [old, common] }]],
    ["one ref", [{ refs: refs.slice(0, 1) }]],
    ["two refs", [{ refs }]],
    ["their own", [{ owner: "self" }]],
    ["their own, and a pack", [{ owner: "self" }, { pack_refs: [old] }]],
    ["a pack, and their own in another", [{ pack_refs: [old] }, { owner: "self", pack_refs: [common] }]],
    ["all but one", [{ except_refs: ["core.shell"] }]],
  ];
  test.each(grants)("for sessions that may read %s", async (_name, constraints) => {
    const session: Session = {
      ...openSession(String(samples.ids[0])),
      roles: [old, common],
      grants: constraints.map((each) => ({ resource: "*", actions: ["read"], constraints: each })),
    };
    const wrong: string[] = [];
    for (const list of records.filter(({ name }) => name !== "notifications")) {
      for (const direction of ["ASC", "DESC"]) {
        const orderBy = { ...byAge, direction };
        wrong.push(...(await beyond(list, { orderBy }, session)));
        wrong.push(...(await beyond(list, { orderBy, after: middle(list) }, session)));
      }
    }
    expect(wrong).toEqual([]);
  });
});

describe("a page of an object's related rows", () => {
  const related = lists.filter(({ parent, name }) => parent !== null && !unindexed[name]);
  const ofRecords = related.filter(isRecord).map((list) => [list.name, list] as const);
  test.each(ofRecords)("%s, with few and with many rows", async (_name, list) => {
    const wrong: string[] = [];
    for (const id of samples.ids.map((number) => btoa(`${list.parent}:${number}`))) {
      for (const orderBy of orders(list)) {
        wrong.push(...(await beyond(list, { id, orderBy })));
        if (orderBy.field === "CREATED") wrong.push(...(await beyond(list, { id, orderBy, after: middle(list) })));
      }
    }
    expect(wrong).toEqual([]);
  });

  test("of a page of objects: a page of each", async () => {
    services.queries.length = 0;
    const { errors } = await api.ask(
      everyone,
      `{ actions(first: 5) { nodes { executions(first: 9) { nodes { enforcement { event { id } } transitions(first: 3) { nodes { at } } } } } }
        triggers(first: 5) { nodes { events(first: 9) { nodes { enforcements(first: 2) { nodes { id } } } } } } }`,
    );
    expect(errors).toBeUndefined();
    const pages = services.queries.splice(0).filter(({ text }) => /"attune"\."(execution|event)"/.test(text));
    expect(pages).toHaveLength(2);
    for (const { text, params } of pages) {
      const { scanned, read } = await explain(services.db, text, params);
      expect(scanned).toEqual([]);
      expect(read).toBeLessThan(6 + 5 * 10 * (1 + 2 + 4));
    }
  });
});

describe("a page of a catalog", () => {
  test.each(roots.filter((list) => !isRecord(list)).map((list) => [list.name, list] as const))(
    "%s: every order",
    async (_name, list) => {
      const wrong: string[] = [];
      for (const orderBy of orders(list)) wrong.push(...(await beyond(list, { orderBy })));
      expect(wrong).toEqual([]);
    },
  );
});

describe("a total", () => {
  const selection = "totalCount { count precision }";
  const total = async (list: List, variables: object) => {
    const { data } = await api.ask(everyone, documentOf(list, selection), { first, ...variables });
    return (data.node ?? data).list.totalCount;
  };
  const tooMuch = async (list: List, variables: object) => {
    const costs = await costsOf(list, variables, { selection });
    return costs
      .filter(({ read }) => read > 2 * counted)
      .map((cost) => `${list.name} ${JSON.stringify({ variables, cost })}`);
  };

  test.each(records.map((list) => [list.name, list] as const))("of %s stops counting", async (_name, list) => {
    const wrong = await tooMuch(list, {});
    for (const filter of filtersOf(list)) {
      if (unindexed[`${list.name}.${filter.name}`]) continue;
      const [, common = {}, both = common] = await conditionsOf(services.db, list, filter); // the first finds few
      for (const where of [common, both]) wrong.push(...(await tooMuch(list, { where: { [filter.name]: where } })));
    }
    expect(wrong).toEqual([]);
    expect(await total(list, {})).toEqual({ count: 10_000, precision: "AT_LEAST" });
  });

  test("is exact up to 10,000, also of related rows", async () => {
    const executions = find("executions");
    const created = (below: number) => ({ lt: new Date(Date.UTC(2026, 0, 1) + below * 1000).toISOString() });
    const where = (rows: number) => ({ where: { created: created((rows + 1) / 3) } }); // three rows per second, the first second has two
    expect(await total(executions, where(9_998))).toEqual({ count: 9_998, precision: "EXACT" });
    expect(await total(executions, where(10_001))).toEqual({ count: 10_000, precision: "AT_LEAST" });
    const [few, many] = samples.ids.map((number) => btoa(`Action:${number}`));
    const ofAction = find("Action.executions");
    expect(await total(ofAction, { id: few })).toEqual({ count: 20, precision: "EXACT" });
    expect(await total(ofAction, { id: many })).toEqual({ count: 10_000, precision: "AT_LEAST" });
    expect(await tooMuch(ofAction, { id: many })).toEqual([]);
  });
});

describe("filters without an index", () => {
  test("are listed, by filter and by operator", () => {
    const names = [
      ...records.flatMap((list) => filtersOf(list).map(({ name }) => `${list.name}.${name}`)),
      ...lists.map(({ name }) => name),
    ];
    expect(Object.keys(unindexed).filter((name) => !names.includes(name))).toEqual([]);
    const operators = new Set(lists.flatMap((list) => filtersOf(list).flatMap((filter) => filter.operators)));
    expect([...operators].sort()).toEqual(
      [...Object.keys(unindexedOperators), "eq", "gt", "gte", "in", "lt", "lte"].sort(),
    );
  });
});

function find(name: string): List {
  const list = lists.find((each) => each.name === name);
  if (!list) throw new Error(`no list ${name}`);
  return list;
}
