import { once } from "node:events";
import { getIntrospectionQuery } from "graphql";
import { createClient } from "graphql-ws";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import WebSocket from "ws";
import { type RunningServer, request, startInProcess } from "../support/server.ts";

let server: RunningServer;
beforeAll(async () => {
  server = await startInProcess(undefined, { ATTUNE__ROLES: "api" });
});
afterAll(() => server[Symbol.asyncDispose]());

const viewer = "{ viewer { identity { login } } }";

async function post(body: object, headers: Record<string, string> = {}) {
  const response = await fetch(`${server.url}/graphql`, {
    method: "POST",
    headers: { "content-type": "application/json", authorization: `Bearer ${server.token}`, ...headers },
    body: JSON.stringify(body),
  });
  const text = await response.text();
  return { status: response.status, type: response.headers.get("content-type"), body: JSON.parse(text) };
}

/** Runs a query on a socket with these parameters of the connection; returns its data, or the message of its error. */
function onSocket(connectionParams: Record<string, unknown>, payload: object = {}): Promise<unknown> {
  const client = createClient({
    url: `${server.url.replace("http", "ws")}/graphql`,
    webSocketImpl: WebSocket,
    retryAttempts: 0,
    connectionParams,
  });
  return new Promise((resolve) => {
    client.subscribe(
      { query: viewer, ...payload },
      {
        next: ({ data, errors }) => resolve(data?.["viewer"] ?? errors?.[0]?.message),
        error: (errors) => resolve((errors as { message: string }[])[0]?.message),
        complete: () => void client.dispose(),
      },
    );
  });
}

describe("what clients send", () => {
  test("the credential of a socket, in the shapes that they use", async () => {
    const { token } = server;
    const admin = { identity: { login: "admin" } };
    for (const parameters of [
      { authorization: `Bearer ${token}` },
      { Authorization: `Bearer ${token}` },
      { headers: { authorization: `Bearer ${token}` } },
      { headers: { Authorization: `bearer ${token}` } },
      { authToken: token },
      { token },
      { authorization: token },
    ]) {
      expect([Object.keys(parameters), await onSocket(parameters)]).toEqual([Object.keys(parameters), admin]);
    }
    for (const parameters of [{}, { authorization: 7 }, { headers: "Bearer x" }, { token: "att_api_guessed" }]) {
      expect(await onSocket(parameters)).toContain("connectionParams: {authorization: …}");
    }
  });

  test("an empty name of an operation, which is none", async () => {
    expect(await post({ query: viewer, operationName: "" })).toMatchObject({
      status: 200,
      body: { data: { viewer: {} } },
    });
    expect(await onSocket({ token: server.token }, { operationName: "" })).toMatchObject({ identity: {} });
  });

  test("a persisted query as a hash: its text is asked for", async () => {
    const persistedQuery = { version: 1, sha256Hash: "ab".repeat(32) };
    const refused = await post({ extensions: { persistedQuery } });
    expect(refused).toMatchObject({
      status: 200,
      body: {
        errors: [{ message: "PersistedQueryNotSupported", extensions: { code: "PERSISTED_QUERY_NOT_SUPPORTED" } }],
      },
    });
    const sent = await post({ query: viewer, extensions: { persistedQuery } });
    expect(sent.body).toMatchObject({ data: { viewer: {} } });
  });

  test("a type that no response has: 406 says which there are", async () => {
    const { status, type, body } = await post({ query: viewer }, { accept: "text/csv" });
    expect([status, type]).toEqual([406, "application/json; charset=utf-8"]);
    expect(body.errors[0].message).toContain("application/graphql-response+json");
  });
});

test("the schema publishes @deprecated with the locations of the specification", async () => {
  const { __schema } = await request<{ __schema: { directives: { name: string; locations: string[] }[] } }>(
    server,
    getIntrospectionQuery(),
  );
  const locations = Object.fromEntries(__schema.directives.map(({ name, locations: all }) => [name, all]));
  expect(locations["deprecated"]).toEqual([
    "FIELD_DEFINITION",
    "ARGUMENT_DEFINITION",
    "INPUT_FIELD_DEFINITION",
    "ENUM_VALUE",
  ]);
  const known = new Set(
    "QUERY MUTATION SUBSCRIPTION FIELD FRAGMENT_DEFINITION FRAGMENT_SPREAD INLINE_FRAGMENT VARIABLE_DEFINITION SCHEMA SCALAR OBJECT FIELD_DEFINITION ARGUMENT_DEFINITION INTERFACE UNION ENUM ENUM_VALUE INPUT_OBJECT INPUT_FIELD_DEFINITION".split(
      " ",
    ),
  );
  expect(
    Object.values(locations)
      .flat()
      .filter((location) => !known.has(location)),
  ).toEqual([]);
});

test("/graphql/ is /graphql, for requests and sockets", async () => {
  const response = await fetch(`${server.url}/graphql/?query=${encodeURIComponent(viewer)}`, {
    headers: { authorization: `Bearer ${server.token}` },
  });
  expect(await response.json()).toMatchObject({ data: { viewer: { identity: { login: "admin" } } } });
  const socket = new WebSocket(`${server.url.replace("http", "ws")}/graphql/`, "graphql-transport-ws");
  await once(socket, "open");
  socket.close();
});

test("a browser gets a page for what does not exist, a program JSON", async () => {
  const page = await fetch(`${server.url}/nothing`, { headers: { accept: "text/html,*/*;q=0.8" } });
  expect([page.status, page.headers.get("content-type")]).toEqual([404, "text/html; charset=utf-8"]);
  expect(await page.text()).toContain('<a href="/graphql">');
  const plain = await fetch(`${server.url}/nothing`);
  expect([plain.status, await plain.json()]).toEqual([404, { error: "not found" }]);
});
