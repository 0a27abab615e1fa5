import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { request, type ServerProcess, startProcess } from "../support/server.ts";

let server: ServerProcess;

beforeAll(async () => {
  server = await startProcess();
});

afterAll(async () => {
  await server[Symbol.asyncDispose]();
});

interface Answer {
  data?: unknown;
  errors?: { message: string; extensions: Record<string, unknown> }[];
}

async function post(body: string, headers: Record<string, string> = {}): Promise<{ status: number; answer: Answer }> {
  const response = await fetch(`${server.url}/graphql`, {
    method: "POST",
    headers: { "content-type": "application/json", authorization: `Bearer ${server.token}`, ...headers },
    body,
  });
  return { status: response.status, answer: (await response.json()) as Answer };
}

const ask = (query: string, variables?: object) => post(JSON.stringify({ query, variables }));

/** Executions within executions, as deep as asked. */
const nested = (levels: number): string => (levels === 0 ? "{ id }" : `{ parent ${nested(levels - 1)} }`);
const wide = (fields: number) =>
  `{ ${Array.from({ length: fields }, (_, index) => `field${index}: __typename`).join(" ")} }`;

describe("an operation that asks for too much is refused whole", () => {
  const allOf = (page: number) =>
    `{ packs(first: ${page}) { nodes { ref actions(first: ${page}) { nodes { ref executions(first: ${page}) { nodes { id } } } } } } }`;

  test.each([
    ["too deep", `{ execution(id: "RXhlY3V0aW9uOjE=") ${nested(20)} }`, "depth", 16],
    ["too complex", allOf(100), "complexity", 25_000],
    ["too broad", wide(500), "breadth", 400],
  ])("%s", async (_name, query, limit, max) => {
    const { status, answer } = await ask(query);
    expect(status).toBe(200);
    expect(answer).toEqual({
      errors: [
        {
          message: expect.stringContaining(`at most ${max}`),
          extensions: expect.objectContaining({ code: "QUERY_TOO_COMPLEX", limit, max, actual: expect.any(Number) }),
        },
      ],
    });
  });

  test("the same with smaller pages is answered", async () => {
    const { answer } = await ask(allOf(5));
    expect(answer.errors).toBeUndefined();
    expect((await ask(wide(50))).answer.errors).toBeUndefined();
  });
});

describe("what cannot be read is refused with what is wrong", () => {
  test("a page above a hundred", async () => {
    const { answer } = await ask("{ packs(first: 101) { nodes { ref } } viewer { identity { login } } }");
    expect(answer.errors).toMatchObject([
      {
        message: expect.stringContaining("from 0 to 100, not 101"),
        path: ["packs"],
        extensions: { code: "BAD_USER_INPUT", issues: [{ path: "first" }], requestId: expect.any(String) },
      },
    ]);
    // One field's refusal leaves the others alone.
    expect(answer.data).toEqual({ packs: null, viewer: { identity: { login: "admin" } } });
  });

  test.each([
    ["no JSON", '{"query": ', 400, "JSON"],
    ["nothing", "", 400, "JSON"],
    ["a list of operations", '[{"query": "{ __typename }"}]', 400, "Batching"],
    ["no object", '"{ __typename }"', 400, "object"],
    ["no query", "{}", 200, "query"],
    ["a query that is no text", '{"query": 5}', 400, "query"],
    ["variables that are no object", '{"query": "{ __typename }", "variables": []}', 400, "variables"],
    ["a syntax error", '{"query": "{ viewer {"}', 200, "Syntax Error"],
    ["an unknown field", '{"query": "{ viewr { __typename } }"}', 200, 'Did you mean "viewer"'],
    [
      "a variable of another type",
      '{"query": "query ($n: Int!) { packs(first: $n) { totalCount } }", "variables": {"n": "x"}}',
      200,
      '"x"',
    ],
  ])("%s", async (_name, body, expected, words) => {
    const { status, answer } = await post(body);
    expect(status).toBe(expected);
    expect(answer).toEqual({
      errors: [
        expect.objectContaining({
          message: expect.stringContaining(words),
          extensions: expect.objectContaining({ code: expect.stringMatching(/^[A-Z_]+$/) }),
        }),
      ],
    });
    expect(answer.errors?.[0]?.extensions["code"]).not.toBe("INTERNAL_SERVER_ERROR");
  });

  test("a body above two MiB", async () => {
    const { status, answer } = await ask("{ __typename }", { filler: "x".repeat(2 * 1024 * 1024) });
    expect(status).toBe(413);
    expect(answer.errors).toMatchObject([{ message: expect.stringContaining("too large") }]);
  });

  test("another content type, another method", async () => {
    const answerTo = (method: string, type: string) =>
      fetch(`${server.url}/graphql`, {
        method,
        headers: { "content-type": type },
        body: '{"query": "{ __typename }"}',
      });
    expect((await answerTo("POST", "text/plain")).status).toBe(415);
    expect((await answerTo("PUT", "application/json")).status).toBe(405);
  });

  test("values beyond what the database can hold", async () => {
    const huge = Buffer.from(`Execution:${10n ** 30n}`).toString("base64");
    for (const query of [
      `{ execution(id: "${huge}") { id } }`,
      `{ node(id: "nonsense") { id } }`,
      `{ packs(after: "nonsense") { totalCount nodes { ref } } }`,
      `{ packs(first: -1) { totalCount } }`,
      `{ packs(first: 1, last: 1) { nodes { ref } } }`,
      `{ executionLogs: execution(id: "RXhlY3V0aW9uOjE=") { logs(first: 101) { totalCount } } }`,
      `mutation { createEvent(input: {trigger: "core.\\u0000", payload: {}}) { __typename ... on Error { message } } }`,
      `mutation { executeAction(input: {action: "core.echo", parameters: {message: "\\u0000"}}) { __typename ... on Error { message } } }`,
    ]) {
      const { status, answer } = await ask(query);
      const codes = answer.errors?.map(({ extensions }) => extensions["code"]) ?? [];
      expect({ query, status, masked: codes.includes("INTERNAL_SERVER_ERROR") }).toEqual({
        query,
        status: 200,
        masked: false,
      });
    }
  });
});

test("afterwards the server answers, and wrote down no failure of its own", async () => {
  expect(await request(server, "{ viewer { identity { login } } }")).toEqual({
    viewer: { identity: { login: "admin" } },
  });
  expect(server.output()).not.toMatch(/unexpected error|request failed/);
});
