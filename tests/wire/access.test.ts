import { createClient } from "graphql-ws";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import WebSocket from "ws";
import { overEvents, overSocket } from "../support/client.ts";
import { type RunningServer, request, startInProcess } from "../support/server.ts";
import { until } from "../support/until.ts";

const password = "correct horse battery";
const viewer = "{ viewer { identity { login } roles permissions } }";
const changes = `subscription { notificationCreated(where: {channel: {eq: "rule"}}) { activity content } }`;
const signIn = `mutation ($login: String!, $password: String!) { signIn(input: {login: $login, password: $password}) {
  __typename ... on SignInPayload { expiresAt identity { login attributes } } ... on Error { code message }
  ... on RateLimitedError { retryAfterSeconds } } }`;
const makeToken = `mutation ($input: CreateApiTokenInput!) { createApiToken(input: $input) {
  ... on CreateApiTokenPayload { value apiToken { id label prefix permissionSetRefs identity { login } } } ... on Error { message } } }`;

interface Change {
  activity: string;
  content: { ref: string };
}

let server: RunningServer;

beforeAll(async () => {
  server = await startInProcess(undefined, { ATTUNE__ROLES: "api" });
  await admin(`mutation { createTrigger(input: {ref: "default.t"}) { __typename } }`);
  for (const ref of ["default.a", "default.b"]) {
    await admin(
      `mutation ($ref: String!) { createRule(input: {ref: $ref, trigger: "default.t", action: "core.noop"}) { __typename } }`,
      { ref },
    );
  }
});

afterAll(async () => {
  await server[Symbol.asyncDispose]();
});

// biome-ignore lint/suspicious/noExplicitAny: responses have the shape of their documents
const admin = (query: string, variables: object = {}) => request<any>(server, query, { ...variables });

const grantsOn = (ref: string) => [{ resource: "rule", actions: ["read"], constraints: { refs: [ref] } }];

/** Creates an identity with a password, a permission set and an API token. */
async function person(login: string, { grants = grantsOn("default.a"), expiresAt = null as string | null } = {}) {
  const created = await admin(
    `mutation ($set: CreatePermissionSetInput!, $identity: CreateIdentityInput!) {
      createPermissionSet(input: $set) { ... on Error { message } ... on CreatePermissionSetPayload { permissionSet { ref } } }
      createIdentity(input: $identity) { ... on Error { message } ... on CreateIdentityPayload { identity { login } } } }`,
    {
      set: { ref: `default.of_${login}`, grants },
      identity: { login, password, permissionSets: [`default.of_${login}`], attributes: { team: "ops" } },
    },
  );
  expect(created.createIdentity.identity).toEqual({ login });
  const { createApiToken } = await admin(makeToken, { input: { login, label: "test", expiresAt } });
  return { url: server.url, token: createApiToken.value as string, id: createApiToken.apiToken.id as string };
}

interface Result {
  data?: { [field: string]: Record<string, unknown> | null } | null;
  errors?: { extensions: { code: string } }[];
}

async function post(query: string, variables: object, headers: Record<string, string> = {}) {
  const response = await fetch(`${server.url}/graphql`, {
    method: "POST",
    headers: { "content-type": "application/json", ...headers },
    body: JSON.stringify({ query, variables }),
  });
  return { result: (await response.json()) as Result, cookie: response.headers.get("set-cookie") };
}

const codeOf = ({ result }: { result: Result }) => result.errors?.[0]?.extensions.code;
const touch = (ref: string) =>
  admin(`mutation ($ref: String!) { updateRule(input: {ref: $ref, label: "${Math.random()}"}) { __typename } }`, {
    ref,
  });

describe("signing in with a password", () => {
  beforeAll(async () => {
    await person("ada");
  });

  test("sets a cookie for the server's pages, which signing out removes", async () => {
    const origin = server.url;
    const { result, cookie } = await post(signIn, { login: "ada", password }, { origin });
    expect(result.data?.["signIn"]).toEqual({
      __typename: "SignInPayload",
      expiresAt: expect.any(String),
      identity: { login: "ada", attributes: null },
    });
    expect(cookie).toMatch(
      /^attune_session=att_session_[\w-]{43}; Path=\/; HttpOnly; SameSite=Strict; Max-Age=2592000$/,
    );
    const sent = { cookie: cookie?.split(";", 1)[0] ?? "", origin };
    const me = await post(viewer, {}, sent);
    expect(me.result.data?.["viewer"]).toEqual({
      identity: { login: "ada" },
      roles: [],
      permissions: grantsOn("default.a"),
    });
    expect(me.cookie).toBeNull();
    expect(codeOf(await post(viewer, {}, { ...sent, origin: "https://elsewhere.example" }))).toBe("UNAUTHENTICATED");
    const out = await post("mutation { signOut(input: {}) { ... on SignOutPayload { ended } } }", {}, sent);
    expect(out.result.data).toEqual({ signOut: { ended: 1 } });
    expect(out.cookie).toBe("attune_session=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0");
    await until(async () => codeOf(await post(viewer, {}, sent)) === "UNAUTHENTICATED", "the end of the session", 1000);
  });

  test("marks the cookie as secure when the page was loaded over https", async () => {
    const { cookie } = await post(
      signIn,
      { login: "ada", password },
      { origin: server.url.replace("http:", "https:") },
    );
    expect(cookie).toMatch(/; Max-Age=2592000; Secure$/);
  });

  test("is refused from other pages, from forms, on sockets and by links", async () => {
    const elsewhere = await post(signIn, { login: "ada", password }, { origin: "https://elsewhere.example" });
    expect(elsewhere.result.data?.["signIn"]).toMatchObject({ code: "FORBIDDEN" });
    expect(elsewhere.cookie).toBeNull();
    const body = new URLSearchParams({ query: signIn, variables: JSON.stringify({ login: "ada", password }) });
    const form = await fetch(`${server.url}/graphql`, { method: "POST", body });
    expect(form.headers.get("set-cookie")).toBeNull();
    expect(JSON.stringify(await form.json())).not.toContain("SignInPayload");
    const client = createClient({ url: `${server.url.replace("http", "ws")}/graphql`, webSocketImpl: WebSocket });
    const result = await new Promise((next, error) =>
      client.subscribe({ query: signIn, variables: { login: "ada", password } }, { next, error, complete() {} }),
    );
    expect(result).toMatchObject({ data: { signIn: { code: "FORBIDDEN" } } });
    await client.dispose();
    const link = new URL("/graphql", server.url);
    link.searchParams.set("query", signIn);
    link.searchParams.set("variables", JSON.stringify({ login: "ada", password }));
    const followed = await fetch(link, { headers: { accept: "application/json" } });
    expect([followed.status, followed.headers.get("set-cookie")]).toEqual([405, null]);
  });

  test("refuses a wrong password and an unknown login alike, and delays a login after ten attempts", async () => {
    const guess = async (login: string) => {
      const { result, cookie } = await post(signIn, { login, password: "a wrong password" });
      expect(cookie).toBeNull();
      return result.data?.["signIn"];
    };
    const wrong = { __typename: "UnauthenticatedError", code: "UNAUTHENTICATED", message: expect.any(String) };
    expect(await guess("ada")).toEqual(wrong);
    expect(await guess("nobody")).toEqual(await guess("ada"));
    for (let round = 0; round < 8; round += 1) expect(await guess("ada")).toEqual(wrong);
    expect(await guess("ada")).toEqual({
      __typename: "RateLimitedError",
      code: "RATE_LIMITED",
      message: expect.any(String),
      retryAfterSeconds: expect.any(Number),
    });
  });

  test("is the only mutation that requires no session", async () => {
    const { __schema } = await admin(
      "{ __schema { mutationType { fields { name args { name type { ofType { inputFields { type { kind } } } } } } } } }",
    );
    interface Input {
      type: { ofType: { inputFields: { type: { kind: string } }[] } };
    }
    const fields: { name: string; args: Input[] }[] = __schema.mutationType.fields;
    // Mutations whose input may be empty; required fields are checked before anything else.
    const callable = fields.filter(({ args }) =>
      args.every(({ type }) => type.ofType.inputFields.every(({ type: { kind } }) => kind !== "NON_NULL")),
    );
    for (const { name, args } of callable) {
      const { result } = await post(`mutation { ${name}${args.length > 0 ? "(input: {})" : ""} { __typename } }`, {});
      expect([name, result.errors?.[0]?.extensions.code]).toEqual([name, "UNAUTHENTICATED"]);
    }
    expect(callable.map(({ name }) => name)).toContain("signOut");
    const refused = await post(`mutation { deleteIdentity(input: {login: "ada"}) { __typename } }`, {});
    expect(codeOf(refused)).toBe("UNAUTHENTICATED");
  });
});

describe("an API token", () => {
  test("is shown once, replayed without its value, narrowed, listed and revoked", async () => {
    const holder = await person("bob");
    const input = { label: "ci", permissionSetRefs: ["default.of_bob"], login: "bob", idempotencyKey: "once" };
    const { createApiToken: created } = await admin(makeToken, { input });
    expect(created).toEqual({
      value: expect.stringMatching(/^att_api_/),
      apiToken: {
        id: expect.any(String),
        label: "ci",
        prefix: created.value.slice(0, 12),
        permissionSetRefs: ["default.of_bob"],
        identity: { login: "bob" },
      },
    });
    const { createApiToken: again } = await admin(makeToken, { input });
    expect(again).toEqual({ ...created, value: null });
    const own =
      "{ viewer { apiTokens { totalCount { count } nodes { label revokedAt } } } apiTokens { totalCount { count } } }";
    const listed = await request(holder, own);
    expect(listed).toEqual({
      viewer: {
        apiTokens: {
          totalCount: { count: 2 },
          nodes: [
            { label: "ci", revokedAt: null },
            { label: "test", revokedAt: null },
          ],
        },
      },
      apiTokens: { totalCount: { count: 2 } },
    });
    const revoke = `mutation ($id: ID!) { revokeApiToken(input: {id: $id}) {
      ... on RevokeApiTokenPayload { apiToken { revokedAt revokedBy { login } } } ... on Error { code } } }`;
    const stranger = await person("stranger");
    expect(await request(stranger, revoke, { id: created.apiToken.id })).toEqual({
      revokeApiToken: { code: "NOT_FOUND" },
    });
    expect(await request(holder, revoke, { id: created.apiToken.id })).toEqual({
      revokeApiToken: { apiToken: { revokedAt: expect.any(String), revokedBy: { login: "bob" } } },
    });
    const dead = { ...holder, token: created.value };
    await until(
      () =>
        request(dead, viewer).then(
          () => false,
          (error: Error) => error.message.includes("UNAUTHENTICATED"),
        ),
      "the end of the token",
      1000,
    );
  });

  test("is neither a session's token nor an execution's", async () => {
    const { cookie } = await post(signIn, { login: "bob", password });
    expect(cookie).toContain("att_session_");
    const ids = Array.from({ length: 40 }, (_, index) => btoa(`ApiToken:${index + 1}`));
    const { nodes } = await admin("query ($ids: [ID!]!) { nodes(ids: $ids) { ... on ApiToken { prefix } } }", { ids });
    const prefixes = nodes.flatMap((node: { prefix: string | null } | null) => (node ? [node.prefix] : []));
    expect(prefixes.length).toBeGreaterThan(2);
    for (const prefix of prefixes) expect(prefix === null || prefix.startsWith("att_api_")).toBe(true);
  });
});

describe("revocations take effect within a second", () => {
  const revoke = (id: string) =>
    admin(`mutation ($id: ID!) { revokeApiToken(input: {id: $id}) { __typename } }`, { id });
  const freeze = (login: string) =>
    admin(`mutation ($login: String!) { updateIdentity(input: {login: $login, frozen: true}) { __typename } }`, {
      login,
    });

  test.each([
    ["a revoked token", "revoked", ({ id }: { id: string }) => revoke(id)],
    ["a frozen identity", "frozen", () => freeze("frozen")],
    [
      "a deleted identity",
      "deleted",
      () => admin(`mutation { deleteIdentity(input: {login: "deleted"}) { __typename } }`),
    ],
  ])("%s: requests, sockets and event streams", async (_name, login, stop) => {
    const who = await person(login);
    const streams = [overSocket<Change>(who, { query: changes }), overEvents<Change>(who, { query: changes })];
    await until(async () => {
      await touch("default.a");
      return streams.every(({ seen }) => seen.length > 0);
    }, "the streams");
    const started = performance.now();
    await stop(who);
    await Promise.all(streams.map(({ ended }) => ended));
    expect(performance.now() - started).toBeLessThan(1000);
    const [socket, events] = streams.map((stream) => stream.error());
    expect(socket).toMatchObject({ code: 4403 });
    expect(events).toEqual([
      expect.objectContaining({ extensions: expect.objectContaining({ code: "UNAUTHENTICATED" }) }),
    ]);
    await expect(request(who, viewer)).rejects.toThrow("UNAUTHENTICATED");
  });

  test("a socket's client comes back with a new credential, and its subscription goes on", async () => {
    const [old, renewed] = [await person("renewing"), await person("renewed")];
    const tokens = [old.token, renewed.token];
    const seen: unknown[] = [];
    const failures: unknown[] = [];
    const client = createClient({
      url: `${server.url.replace("http", "ws")}/graphql`,
      webSocketImpl: WebSocket,
      retryAttempts: 5,
      retryWait: async () => {},
      connectionParams: () => ({ authorization: `Bearer ${tokens.shift()}` }),
    });
    client.subscribe(
      { query: changes },
      {
        next: (message) => seen.push(message),
        error: (error) => failures.push(error),
        complete: () => failures.push("completed"),
      },
    );
    const more = async (count: number) => {
      await touch("default.a");
      return seen.length >= count;
    };
    await until(() => more(1), "a message");
    await revoke(old.id);
    await until(() => tokens.length === 0, "the new connection");
    const before = seen.length;
    await until(() => more(before + 1), "a message on the new connection");
    expect(failures).toEqual([]);
    await client.dispose();
  });

  test("an open socket, in use or not, is closed with 4403", async () => {
    const who = await person("closed");
    const closed: Promise<number>[] = [];
    for (const query of [viewer, changes]) {
      const { promise, resolve } = Promise.withResolvers<number>();
      let answered = false;
      const client = createClient({
        url: `${server.url.replace("http", "ws")}/graphql`,
        webSocketImpl: WebSocket,
        retryAttempts: 0,
        lazy: false,
        connectionParams: { authorization: `Bearer ${who.token}` },
        onNonLazyError: () => {},
        on: { closed: (event) => resolve((event as { code: number }).code) },
      });
      client.subscribe(
        { query },
        {
          next: () => {
            answered = true;
          },
          error: () => {},
          complete() {},
        },
      );
      await until(async () => {
        await touch("default.a");
        return answered;
      }, "the socket's first response");
      closed.push(promise);
    }
    const started = performance.now();
    await revoke(who.id);
    expect(await Promise.all(closed)).toEqual([4403, 4403]);
    expect(performance.now() - started).toBeLessThan(1000);
  });

  test("a token that expires", async () => {
    const who = await person("passing", { expiresAt: new Date(Date.now() + 2000).toISOString() });
    const stream = overSocket<Change>(who, { query: changes });
    await stream.ended;
    expect(stream.error()).toMatchObject({ code: 4403 });
    await expect(request(who, viewer)).rejects.toThrow("UNAUTHENTICATED");
  });

  test("a changed permission set, in streams that stay open", async () => {
    const who = await person("limited");
    const streams = [overSocket<Change>(who, { query: changes }), overEvents<Change>(who, { query: changes })];
    const last = (ref: string) => streams.every(({ seen }) => seen.at(-1)?.content.ref === ref);
    await until(async () => {
      await touch("default.a");
      return last("default.a");
    }, "changes of a");
    await admin(
      `mutation ($grants: [JSON!]!) { updatePermissionSet(input: {ref: "default.of_limited", grants: $grants}) {
        ... on UpdatePermissionSetPayload { permissionSet { grants } } } }`,
      { grants: grantsOn("default.b") },
    );
    await until(
      async () => {
        await touch("default.b");
        return last("default.b");
      },
      "changes of b",
      1000,
    );
    const counts = streams.map(({ seen }) => seen.length);
    await touch("default.a");
    await touch("default.b");
    await until(() => streams.every(({ seen }, index) => seen.length > (counts[index] ?? 0)), "the next change of b");
    for (const [index, { seen, drop }] of streams.entries()) {
      expect(new Set(seen.slice(counts[index]).map(({ content }) => content.ref))).toEqual(new Set(["default.b"]));
      drop();
    }
    expect(await request(who, "{ rules { nodes { ref } } }")).toEqual({ rules: { nodes: [{ ref: "default.b" }] } });
  });
});

test("attributes are shown to sessions that may change them", async () => {
  const who = await person("shown", { grants: [{ resource: "identity", actions: ["read"] } as never] });
  const query = `{ identityByLogin(login: "shown") { attributes frozen roles assignments { nodes { permissionSet { ref } } } } }`;
  const rest = { frozen: false, roles: [] };
  expect(await request(who, query)).toEqual({
    identityByLogin: { ...rest, attributes: null, assignments: { nodes: [{ permissionSet: null }] } },
  });
  expect(await admin(query)).toEqual({
    identityByLogin: {
      ...rest,
      attributes: { team: "ops" },
      assignments: { nodes: [{ permissionSet: { ref: "default.of_shown" } }] },
    },
  });
});

test("no password or token was printed", () => {
  expect(server.output()).not.toMatch(/correct horse|att_api_|att_session_/);
});
