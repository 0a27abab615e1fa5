import { createClient } from "graphql-ws";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import WebSocket from "ws";
import { examples } from "../../src/graphql/transport/graphiql-examples.ts";
import { overSocket } from "../support/client.ts";
import { type RunningServer, request, startInProcess } from "../support/server.ts";
import { until } from "../support/until.ts";

let server: RunningServer;

beforeAll(async () => {
  server = await startInProcess();
});

afterAll(async () => {
  await server[Symbol.asyncDispose]();
});

interface Result {
  data?: unknown;
  errors?: { message: string; extensions: Record<string, unknown> }[];
  extensions?: Record<string, unknown>;
}

async function post(body: string, headers: Record<string, string> = {}): Promise<{ status: number; result: Result }> {
  const response = await fetch(`${server.url}/graphql`, {
    method: "POST",
    headers: { "content-type": "application/json", authorization: `Bearer ${server.token}`, ...headers },
    body,
  });
  return { status: response.status, result: (await response.json()) as Result };
}

const ask = (query: string, variables?: object) => post(JSON.stringify({ query, variables }));

test("a result has its cost and its request's id", async () => {
  const response = await fetch(`${server.url}/graphql`, {
    method: "POST",
    headers: { "content-type": "application/json", authorization: `Bearer ${server.token}` },
    body: JSON.stringify({ query: "{ packs(first: 3) { nodes { ref label } } viewer { identity { login } } }" }),
  });
  expect(response.headers.get("x-request-id")).toMatch(/^[\da-f-]{36}$/);
  const { errors, extensions } = (await response.json()) as Result;
  expect(errors).toBeUndefined();
  // packs: 1 and three times (nodes, ref, label); viewer, identity, login.
  expect(extensions).toEqual({ cost: { cost: 13, depth: 3, breadth: 7, limit: 25_000 } });
});

test("the operations that GraphiQL shows cost less than a tenth of the limit", async () => {
  for (const { name, query, variables } of examples) {
    if (query.includes("\nsubscription ")) continue;
    const { result } = await ask(query, { ...variables });
    expect(result, name).toMatchObject({ extensions: { cost: { cost: expect.any(Number) } } });
    expect((result.extensions as { cost: { cost: number } }).cost.cost, name).toBeLessThan(25_000 / 10);
  }
});

describe("an operation beyond a limit is refused as a whole", () => {
  test("over HTTP", async () => {
    const { status, result } = await ask(`{ ${"__typename ".repeat(500)} }`);
    expect(status).toBe(200);
    expect(result).toEqual({
      errors: [
        {
          message: "The operation is too large: 500 fields, at most 400. Split it into smaller operations.",
          extensions: {
            code: "QUERY_TOO_COMPLEX",
            limit: "breadth",
            max: 400,
            actual: 500,
            requestId: expect.stringMatching(/^[\da-f-]{36}$/),
          },
        },
      ],
      extensions: { cost: { cost: 500, depth: 1, breadth: 500, limit: 25_000 } },
    });
  });

  test("over a WebSocket, before and after parsing", async () => {
    for (const [query, limit] of [
      [`subscription { notificationCreated { ${"cursor ".repeat(500)} } }`, "breadth"],
      [`subscription { notificationCreated { ${"cursor ".repeat(6000)} } }`, "tokens"],
    ] as const) {
      const stream = overSocket(server, { query });
      await stream.ended;
      const [error, ...more] = stream.error() as Result["errors"] & object;
      expect(more).toEqual([]);
      expect(error?.extensions).toMatchObject({ code: "QUERY_TOO_COMPLEX", limit, requestId: expect.any(String) });
      expect(error?.extensions).not.toHaveProperty("http");
    }
  });
});

test("one socket has at most 100 operations", async () => {
  const client = createClient({
    url: `${server.url.replace("http", "ws")}/graphql`,
    webSocketImpl: WebSocket,
    retryAttempts: 0,
    connectionParams: { authorization: `Bearer ${server.token}` },
  });
  const refused: unknown[] = [];
  const ends = Array.from({ length: 103 }, () =>
    client.subscribe(
      { query: "subscription { notificationCreated { cursor } }" },
      { next: () => {}, error: (errors) => refused.push(errors), complete: () => {} },
    ),
  );
  await until(() => refused.length === 3, "three refusals");
  for (const errors of refused) {
    expect(errors).toMatchObject([{ extensions: { code: "RATE_LIMITED", max: 100, requestId: expect.any(String) } }]);
  }
  // The end of one admits another.
  ends[0]?.();
  const admitted = await until(async () => {
    try {
      const { value } = await client.iterate({ query: "{ __typename }" }).next();
      return value?.data;
    } catch {
      return null; // not yet
    }
  }, "a response");
  expect(admitted).toEqual({ __typename: "Query" });
  await client.dispose();
});

describe("an invalid request is refused with its fault", () => {
  test("a page above 100", async () => {
    const { result } = await ask("{ packs(first: 101) { nodes { ref } } viewer { identity { login } } }");
    expect(result.errors).toMatchObject([
      {
        message: expect.stringContaining("from 0 to 100, not 101"),
        path: ["packs"],
        extensions: { code: "BAD_USER_INPUT", issues: [{ path: "first" }], requestId: expect.any(String) },
      },
    ]);
    // One field's refusal does not affect the others.
    expect(result.data).toEqual({ packs: null, viewer: { identity: { login: "admin" } } });
  });

  test.each([
    ["invalid JSON", '{"query": ', 400, "JSON"],
    ["an empty body", "", 400, "JSON"],
    ["a list of operations", '[{"query": "{ __typename }"}]', 400, "Batching"],
    ["a body that is not an object", '"{ __typename }"', 400, "object"],
    ["no query", "{}", 200, "query"],
    ["a query that is not a string", '{"query": 5}', 400, "query"],
    ["variables that are not an object", '{"query": "{ __typename }", "variables": []}', 400, "variables"],
    ["a syntax error", '{"query": "{ viewer {"}', 200, "Syntax Error"],
    ["an unknown field", '{"query": "{ viewr { __typename } }"}', 200, 'Did you mean "viewer"'],
    [
      "a variable of another type",
      '{"query": "query ($n: Int!) { packs(first: $n) { totalCount { count } } }", "variables": {"n": "x"}}',
      200,
      '"x"',
    ],
  ])("%s", async (_name, body, expected, words) => {
    const { status, result } = await post(body);
    expect(status).toBe(expected);
    expect(result).toMatchObject({
      errors: [
        {
          message: expect.stringContaining(words),
          extensions: { code: "BAD_USER_INPUT", requestId: expect.stringMatching(/^[\da-f-]{36}$/) },
        },
      ],
    });
    expect(Object.keys(result)).toEqual(["errors"]);
    expect(Object.keys(result.errors?.[0]?.extensions ?? {}).sort()).toEqual(["code", "requestId"]);
    expect(JSON.stringify(result)).not.toMatch(/SyntaxError|Unexpected|position|stack/);
  });

  test("a body above two MiB", async () => {
    const { status, result } = await ask("{ __typename }", { filler: "x".repeat(2 * 1024 * 1024) });
    expect(status).toBe(413);
    expect(result.errors).toMatchObject([
      { message: expect.stringContaining("too large"), extensions: { code: "BAD_USER_INPUT" } },
    ]);
  });

  test("another content type, another method", async () => {
    const answerTo = (method: string, type: string) =>
      fetch(`${server.url}/graphql`, {
        method,
        headers: { "content-type": type },
        body: '{"query": "{ __typename }"}',
      });
    for (const [method, type, status] of [
      ["POST", "text/plain", 415],
      ["PUT", "application/json", 405],
    ] as const) {
      const response = await answerTo(method, type);
      expect(response.status).toBe(status);
      expect(await response.json()).toMatchObject({
        errors: [{ extensions: { code: "BAD_USER_INPUT", requestId: response.headers.get("x-request-id") } }],
      });
    }
  });

  test("values beyond what the database can hold", async () => {
    const huge = Buffer.from(`Execution:${10n ** 30n}`).toString("base64");
    for (const query of [
      `{ execution(id: "${huge}") { id } }`,
      `{ node(id: "nonsense") { id } }`,
      `{ packs(after: "nonsense") { totalCount { count } nodes { ref } } }`,
      `{ packs(first: -1) { totalCount { count } } }`,
      `{ packs(first: 1, last: 1) { nodes { ref } } }`,
      `{ executionLogs: execution(id: "RXhlY3V0aW9uOjE=") { logs(first: 101) { totalCount { count } } } }`,
      `mutation { createEvent(input: {trigger: "core.\\u0000", payload: {}}) { __typename ... on Error { message } } }`,
      `mutation { executeAction(input: {action: "core.echo", parameters: {message: "\\u0000"}}) { __typename ... on Error { message } } }`,
    ]) {
      const { status, result } = await ask(query);
      const codes = result.errors?.map(({ extensions }) => extensions["code"]) ?? [];
      expect({ query, status, masked: codes.includes("INTERNAL_SERVER_ERROR") }).toEqual({
        query,
        status: 200,
        masked: false,
      });
    }
  });
});

test("the server still responds, and has logged no internal failure", async () => {
  expect(await request(server, "{ viewer { identity { login } } }")).toEqual({
    viewer: { identity: { login: "admin" } },
  });
  expect(server.output()).not.toMatch(/unexpected error|request failed/);
});
