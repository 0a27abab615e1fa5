import { Writable } from "node:stream";
import { sql } from "drizzle-orm";
import { isInterfaceType, isObjectType } from "graphql";
import { pino } from "pino";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { schema } from "../../src/graphql/schema.ts";
import { type Api, createApi, createPerson } from "../support/api.ts";
import { withoutFeed } from "../support/database.ts";
import { until } from "../support/until.ts";
import { createWorld, type World } from "../support/world.ts";

let world: World;
let api: Api;

beforeAll(async () => {
  world = await createWorld();
  api = await createApi(world.services);
});
afterAll(async () => {
  await api[Symbol.asyncDispose]();
  await world[Symbol.asyncDispose]();
});

/** Runs the document and returns the response with the statements that it caused, except the feed's. */
async function run(query: string, variables: object = {}) {
  world.services.statements.length = 0;
  const { data, errors, extensions } = await api.ask(world.session, query, variables);
  const statements = withoutFeed(world.services.statements);
  return { data, errors, extensions, statements };
}

const nested = (levels: number): string => (levels === 0 ? "{ id }" : `{ parent ${nested(levels - 1)} }`);
const times = (count: number, render: (index: number) => string) =>
  Array.from({ length: count }, (_, i) => render(i)).join(" ");
const id = btoa("Execution:1");
const everything = (page: number) =>
  `{ packs(first: ${page}) { nodes { ref actions(first: ${page}) { nodes { ref executions(first: ${page}) { nodes { id } } } } } } }`;
/** Each fragment spreads the next twice: expanded, 2 to the power of their number. */
const doubling = (count: number) =>
  `{ ...f0 } ${times(count, (n) => `fragment f${n} on Query { ...f${n + 1} ...f${n + 1} }`)} fragment f${count} on Query { a: __typename }`;
const noop = (index: number) => `m${index}: cancelExecution(input: {id: "${id}"}) { __typename }`;

describe("a document beyond a limit is refused as a whole, before any SQL runs:", () => {
  test.each([
    ["levels", `{ execution(id: "${id}") ${nested(20)} }`, "depth", 16],
    ["objects", everything(100), "complexity", 25_000],
    ["objects by polling", "{ executionStatusMessages(first: 100000) { cursor } }", "complexity", 25_000],
    ["introspection", `{ ${times(29, (n) => `s${n}: __schema { types { name } }`)} }`, "complexity", 25_000],
    [
      "introspection in fragments",
      `{ ...f a: __schema { types { name } } } fragment f on Query { b: __schema { types { name } } ...g }
        fragment g on Query { c: __schema { types { name } } d: __schema { types { name } } }`,
      "complexity",
      25_000,
    ],
    ["fields", `{ ${"__typename ".repeat(401)} }`, "breadth", 400],
    ["aliases", `{ ${times(31, (n) => `a${n}: __typename`)} }`, "aliases", 30],
    [
      "aliases in fragments",
      `{ ...f ...f } fragment f on Query { ${times(16, (n) => `a${n}: __typename`)} }`,
      "aliases",
      30,
    ],
    ["fragments that double", doubling(60), "aliases", 30],
    ["directives", `{ ${times(51, () => "__typename @include(if: true)")} }`, "directives", 50],
    ["mutations", `mutation { ${times(11, noop)} }`, "mutations", 10],
    [
      "mutations in fragments",
      `mutation { ...f ... { ${noop(0)} } } fragment f on Mutation { ${times(10, (n) => noop(n + 1))} }`,
      "mutations",
      10,
    ],
    ["tokens", `{ ${"__typename ".repeat(5000)} }`, "tokens", 5000],
    [
      "brackets",
      `{ packs(where: ${"{not: ".repeat(101)}{}${"}".repeat(101)}) { totalCount { count } } }`,
      "nesting",
      100,
    ],
    ["brackets without an end", "{packs".repeat(2400), "nesting", 100],
  ])("%s", async (_name, query, limit, max) => {
    const { data, errors, statements } = await run(query);
    expect(data).toBeUndefined();
    expect(errors).toMatchObject([
      { message: expect.stringContaining(`at most ${max}`), extensions: { code: "QUERY_TOO_COMPLEX", limit, max } },
    ]);
    expect(statements).toEqual([]);
  });

  test("variables that are nested too deep", async () => {
    const deep = JSON.parse(`${"[".repeat(20_000)}${"]".repeat(20_000)}`);
    const document =
      'mutation ($payload: JSON) { createEvent(input: {trigger: "core.x", payload: $payload}) { __typename } }';
    const body = JSON.stringify({ query: document, variables: { payload: "deep" } });
    const response = await api.send(
      world.session,
      body.replace('"deep"', `${"[".repeat(20_000)}${"]".repeat(20_000)}`),
    );
    expect(deep).toHaveLength(1);
    expect(await response.json()).toMatchObject({
      errors: [{ extensions: { code: "QUERY_TOO_COMPLEX", limit: "nesting" } }],
    });
  });

  test("each document at its limit is executed", async () => {
    for (const query of [
      `{ execution(id: "${id}") ${nested(14)} }`,
      everything(5),
      `{ ${"__typename ".repeat(400)} }`,
      `{ ${times(30, (n) => `a${n}: __typename`)} }`,
      `{ ${times(50, () => "__typename @include(if: true)")} }`,
      `mutation { ${times(10, noop)} }`,
    ]) {
      expect({ query, errors: (await run(query)).errors }).toEqual({ query, errors: undefined });
    }
  });

  test("a body that is a list", async () => {
    const response = await api.send(
      world.session,
      JSON.stringify([{ query: "{ __typename }" }, { query: "{ __typename }" }]),
    );
    expect(response.status).toBe(400);
    expect(await response.json()).toMatchObject({
      errors: [{ message: "Batching is not supported.", extensions: { code: "BAD_USER_INPUT" } }],
    });
  });
});

describe("the cost", () => {
  test("is in the result of a query and of a mutation, as the schema describes it", async () => {
    const { extensions } = await run("{ actions(first: 2) { nodes { ref pack { ref } } } }");
    // 1 for the list; for each of two: nodes, ref, pack, ref.
    expect(extensions).toEqual({ cost: { cost: 9, depth: 4, breadth: 5, limit: 25_000 } });
    const mutation = await run(`mutation { ${noop(0)} }`);
    expect(mutation.extensions).toMatchObject({ cost: { cost: 2 } });
  });

  test("of a list that holds few is that of what it holds", async () => {
    const { extensions } = await run("{ executions(first: 10) { nodes { transitions { nodes { at } } } } }");
    // 1 for the list; for each of ten: nodes, transitions; for each of five: nodes, at.
    expect(extensions).toMatchObject({ cost: { cost: 1 + 10 * (2 + 5 * 2) } });
    const whole = await run("{ executions(first: 10) { nodes { transitions(first: 50) { nodes { at } } } } }");
    expect(whole.extensions).toMatchObject({ cost: { cost: 1 + 10 * (2 + 50 * 2) } });
  });

  test("is described once for all pages, and for each other field whose cost depends on its arguments", () => {
    expect(schema.description).toMatch(/extensions\.cost.*25,000.*first.*where/);
    const priced = Object.values(schema.getTypeMap())
      .filter((type) => isObjectType(type) || isInterfaceType(type))
      .flatMap((type) => Object.values(type.getFields()))
      .filter(({ extensions }) => typeof extensions["complexity"] === "function")
      .filter(({ args }) => !args.some(({ name }) => name === "first" || name === "where"));
    expect(priced.length).toBeGreaterThan(0);
    expect(
      priced.filter(({ description }) => !/ Costs [^.]+\.$/.test(description ?? "")).map(({ name }) => name),
    ).toEqual([]);
  });
});

test("an operation that takes too long is aborted, with a code", async () => {
  await using slow = await createApi(world.services, { load: { timeMs: 100, subscriptions: 1 } });
  const begun = Promise.withResolvers<void>();
  const release = Promise.withResolvers<void>();
  // Blocks the query: the one connection of the embedded database, the table on PostgreSQL.
  const holding = world.services.db.transaction(async (tx) => {
    await tx.execute(sql`lock table attune.pack in access exclusive mode`);
    begun.resolve();
    await release.promise;
  });
  await begun.promise;
  const { data, errors } = await slow.ask(world.session, "{ packs { nodes { ref } } }");
  expect(data).toBeUndefined();
  expect(errors).toMatchObject([
    {
      message: expect.stringContaining("longer than 0.1 s"),
      extensions: { code: "TIMEOUT", requestId: expect.any(String) },
    },
  ]);
  release.resolve();
  await holding;
  expect((await slow.ask(world.session, "{ packs { totalCount { count } } }")).errors).toBeUndefined();
});

test("an identity has a limited number of subscriptions; the end of one admits another", async () => {
  await using few = await createApi(world.services, { load: { timeMs: 30_000, subscriptions: 2 } });
  const other = await createPerson(world.services, "subscriber");
  const follow = (session = world.session) =>
    few.send(session, JSON.stringify({ query: "subscription { notificationCreated { cursor } }" }), {
      accept: "text/event-stream",
    });
  const [first, second] = [await follow(), await follow()];
  const refused = await follow();
  const message = await refused.text();
  expect(message).toContain('"code":"RATE_LIMITED"');
  expect(message).toContain("at most 2");
  const others = await follow(other);
  await first.body?.cancel();
  const third = await until(async () => {
    const response = await follow();
    const { value } = (await response.body?.getReader().read()) ?? {};
    return Buffer.from(value ?? [])
      .toString()
      .includes("RATE_LIMITED")
      ? null
      : response;
  }, "a place");
  expect(third.status).toBe(200);
  for (const response of [second, others]) await response.body?.cancel();
});

describe("a filter costs what it holds:", () => {
  const list = "query ($w: ExecutionWhere) { executions(first: 1, where: $w) { nodes { id } } }";
  const many = <T>(count: number, make: (index: number) => T) =>
    Array.from({ length: count }, (_, index) => make(index));
  test.each([
    ["conditions", list, { w: { or: many(60_000, (n) => ({ action: { contains: `x${n}` } })) } }],
    ["values", list, { w: { action: { in: many(60_000, String) } } }],
    [
      "nested relations",
      "query ($w: ExecutionWhere) { packs(first: 100) { nodes { actions(first: 1) { nodes { executions(first: 1, where: $w) { nodes { id } } } } } } }",
      { w: { or: many(200, (n) => ({ action: { contains: `x${n}` } })) } },
    ],
    [
      "a polled stream",
      "query ($w: ExecutionStatusWhere) { executionStatusMessages(first: 1, where: $w) { cursor } }",
      { w: { action: { in: many(60_000, String) } } },
    ],
  ])("%s", async (_name, query, variables) => {
    const from = performance.now();
    const { errors, statements } = await run(query, variables);
    expect(errors).toMatchObject([{ extensions: { code: "QUERY_TOO_COMPLEX", limit: "complexity" } }]);
    expect(statements).toEqual([]);
    expect(performance.now() - from).toBeLessThan(20_000); // a second, but for a busy machine
  });

  test("a usual one is cheap", async () => {
    const { extensions } = await run(list, { w: { action: { in: ["core.noop", "core.echo"] } } });
    expect(extensions).toMatchObject({ cost: { cost: 13 } });
  });
});

test("anonymous callers may read the schema once in a document, and little else", async () => {
  const { getIntrospectionQuery } = await import("graphql");
  expect((await api.ask(null, getIntrospectionQuery())).errors).toBeUndefined();
  const { errors } = await api.ask(null, "{ a: __schema { types { name } } b: __schema { types { name } } }");
  expect(errors).toMatchObject([{ extensions: { code: "QUERY_TOO_COMPLEX", max: 10_000 } }]);
  expect(
    (await api.ask(world.session, "{ a: __schema { types { name } } b: __schema { types { name } } }")).errors,
  ).toBeUndefined();
});

describe("without introspection", () => {
  let closed: Api;
  beforeAll(async () => {
    closed = await createApi(world.services, { introspection: false });
  });
  afterAll(() => closed[Symbol.asyncDispose]());

  test.each([
    "{ __schema { types { name } } }",
    '{ __type(name: "Query") { name } }',
    "{ ...f } fragment f on Query { s: __schema { queryType { name } } }",
  ])("%s is refused before any SQL runs", async (query) => {
    world.services.statements.length = 0;
    const { data, errors } = await closed.ask(world.session, query);
    expect(data).toBeUndefined();
    expect(errors?.length).toBeGreaterThan(0);
    for (const error of errors ?? []) expect(error).toMatchObject({ extensions: { code: "BAD_USER_INPUT" } });
    expect(withoutFeed(world.services.statements)).toEqual([]);
  });

  test.each([
    ["{ viewr { __typename } }", {}],
    ["{ packs(frist: 1) { totalCount { count } } }", {}],
    ["query ($w: PackWher) { packs(where: $w) { totalCount { count } } }", {}],
    ["query ($w: PackWhere) { packs(where: $w) { totalCount { count } } }", { w: { rfe: { eq: "x" } } }],
    [
      "query ($o: PackOrder) { packs(orderBy: $o) { totalCount { count } } }",
      { o: { field: "REFF", direction: "ASC" } },
    ],
  ])("%s %j gives no hint of the schema", async (query, variables) => {
    const hidden = await closed.ask(world.session, query, variables);
    expect(hidden.errors?.length).toBeGreaterThan(0);
    expect(JSON.stringify(hidden.errors)).not.toContain("Did you mean");
    const shown = await api.ask(world.session, query, variables);
    expect(JSON.stringify(shown.errors)).toContain("Did you mean");
  });

  test("there is no GraphiQL, and operations work", async () => {
    const page = await closed.send(world.session, JSON.stringify({ query: "{ viewer { __typename } }" }), {
      accept: "text/html, application/json",
    });
    expect(await page.json()).toMatchObject({ data: { viewer: { __typename: "Viewer" } } });
  });
});

test("an unexpected failure shows only the request's id, which the log has too", async () => {
  const lines: string[] = [];
  const log = pino(
    new Writable({
      write: (chunk, _encoding, done) => {
        lines.push(String(chunk));
        done();
      },
    }),
  );
  await using broken = await createApi(
    { ...world.services, log },
    {
      authenticate: async () => {
        throw new Error("the secret of the database is 42");
      },
    },
  );
  const response = await broken.send(null, JSON.stringify({ query: "{ __typename }" }));
  const body = await response.text();
  const requestId = response.headers.get("x-request-id");
  expect(JSON.parse(body)).toMatchObject({ errors: [{ extensions: { code: "INTERNAL_SERVER_ERROR", requestId } }] });
  expect(body).not.toMatch(/secret|stack|at /);
  expect(lines).toHaveLength(1);
  expect(JSON.parse(lines[0] ?? "{}")).toMatchObject({
    requestId,
    err: { message: "the secret of the database is 42" },
  });
});
