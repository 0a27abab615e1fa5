import { once } from "node:events";
import { type IncomingHttpHeaders, type IncomingMessage, request as send } from "node:http";
import { text } from "node:stream/consumers";
import { createClient } from "graphql-ws";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import WebSocket from "ws";
import { createOrigins } from "../../src/access/origin.ts";
import { createLink, type RunningServer, request, startInProcess } from "../support/server.ts";

const listed = "https://app.example.org";

let server: RunningServer;
let cookie: string;
let port: string;

beforeAll(async () => {
  server = await startInProcess(undefined, {
    ATTUNE__SERVER__HOSTS: "attune.example.org, other.example.org:8443",
    ATTUNE__SERVER__CORS_ORIGINS: listed,
  });
  ({ port } = new URL(server.url));
  const token = (await createLink(server)).split("#")[1];
  const signIn = await ask("POST", "/sign-in", {}, JSON.stringify({ token }));
  cookie = String(signIn.headers["set-cookie"]).split(";", 1)[0] ?? "";
  expect(cookie).toMatch(/^attune_session=att_session_/);
});
afterAll(async () => {
  await server[Symbol.asyncDispose]();
});

interface Received {
  status: number;
  headers: IncomingHttpHeaders;
  body: string;
}

/** Sends exactly these headers, which no script in a browser can. */
async function ask(method: string, path: string, headers: Record<string, string>, body?: string): Promise<Received> {
  const request = send(`http://127.0.0.1:${port}${path}`, {
    method,
    headers: { ...(body === undefined ? {} : { "content-type": "application/json" }), ...headers },
  });
  request.end(body);
  const [response] = (await once(request, "response")) as [IncomingMessage];
  return { status: response.statusCode ?? 0, headers: response.headers, body: await text(response) };
}

const who = JSON.stringify({ query: "{ viewer { identity { login } } }" });
const signedIn = { viewer: { identity: { login: "admin" } } };
const data = ({ body }: Received) => JSON.parse(body).data as unknown;
const codes = ({ body }: Received) =>
  (JSON.parse(body).errors ?? []).map((error: { extensions: { code: string } }) => error.extensions.code);

const ownOrigin = () => `http://127.0.0.1:${port}`;
/** Returns origins of other pages that the same browser has open and sends the session cookie from. */
const strangers = () => [
  `http://127.0.0.1:${Number(port) + 1}`,
  "http://127.0.0.1",
  `http://localhost:${port}`,
  `http://127.0.0.1.example.org:${port}`,
  "https://app.example.org:444",
  "http://app.example.org",
  "https://evil.example",
  "null",
  "",
];

describe("the session cookie", () => {
  test("works for the server's pages and for pages of a listed origin", async () => {
    for (const origin of [ownOrigin(), listed])
      expect(data(await ask("POST", "/graphql", { cookie, origin }, who))).toEqual(signedIn);
  });

  test("is ignored on a POST from another or no origin, or that a form could send", async () => {
    for (const origin of strangers()) {
      expect({ origin, codes: codes(await ask("POST", "/graphql", { cookie, origin }, who)) }).toEqual({
        origin,
        codes: ["UNAUTHENTICATED"],
      });
    }
    expect(codes(await ask("POST", "/graphql", { cookie }, who))).toEqual(["UNAUTHENTICATED"]);
    const form = { cookie, origin: ownOrigin(), "content-type": "application/x-www-form-urlencoded" };
    const query = new URLSearchParams({ query: "{ viewer { identity { login } } }" }).toString();
    expect(codes(await ask("POST", "/graphql", form, query))).toEqual(["UNAUTHENTICATED"]);
  });

  test("is ignored on a GET that another page caused", async () => {
    const path = `/graphql?query=${encodeURIComponent("{ viewer { identity { login } } }")}`;
    expect(data(await ask("GET", path, { cookie }))).toEqual(signedIn); // typed, or an old browser
    expect(data(await ask("GET", path, { cookie, "sec-fetch-site": "same-origin" }))).toEqual(signedIn);
    expect(data(await ask("GET", path, { cookie, origin: listed, "sec-fetch-site": "cross-site" }))).toEqual(signedIn);
    for (const site of ["same-site", "cross-site"]) {
      expect(codes(await ask("GET", path, { cookie, "sec-fetch-site": site }))).toEqual(["UNAUTHENTICATED"]);
    }
    for (const origin of strangers())
      expect(codes(await ask("GET", path, { cookie, origin }))).toEqual(["UNAUTHENTICATED"]);
  });

  test("opens no event stream from other origins", async () => {
    const subscription = "subscription { notificationCreated { cursor } }";
    const accept = "text/event-stream";
    const get = `/graphql?query=${encodeURIComponent(subscription)}`;
    for (const origin of strangers()) {
      const posted = await ask("POST", "/graphql", { cookie, origin, accept }, JSON.stringify({ query: subscription }));
      expect(posted.body).toContain("UNAUTHENTICATED");
      expect((await ask("GET", get, { cookie, origin, accept })).body).toContain("UNAUTHENTICATED");
    }
    expect((await ask("GET", get, { cookie, accept, "sec-fetch-site": "same-site" })).body).toContain(
      "UNAUTHENTICATED",
    );
  });
});

/** Returns how the upgrade ended: open, or the status and the sentence of the refusal. */
async function upgrade(headers: Record<string, string>): Promise<string> {
  const socket = new WebSocket(`ws://127.0.0.1:${port}/graphql`, "graphql-transport-ws", { headers });
  socket.on("error", () => {}); // caused by terminating it below
  const opened = once(socket, "open").then(() => "open");
  opened.catch(() => {});
  const refused = once(socket, "unexpected-response").then(async ([, response]) => {
    const refusal = response as IncomingMessage;
    return `${refusal.statusCode} ${(await text(refusal)).trim()}`;
  });
  refused.catch(() => {});
  const result = await Promise.race([opened, refused]);
  socket.terminate();
  return result;
}

/** Returns the login that an operation on a socket with the cookie runs as, or the error's code. */
async function whoOnSocket(headers: Record<string, string>, authorization?: string): Promise<unknown> {
  const client = createClient({
    url: `ws://127.0.0.1:${port}/graphql`,
    webSocketImpl: class extends WebSocket {
      constructor(url: string, protocol: string) {
        super(url, protocol, { headers });
      }
    },
    retryAttempts: 0,
    ...(authorization ? { connectionParams: { authorization } } : {}),
  });
  try {
    for await (const { data, errors } of client.iterate({ query: "{ viewer { identity { login } } }" })) {
      return errors?.[0]?.extensions?.["code"] ?? data;
    }
    return null;
  } finally {
    await client.dispose();
  }
}

describe("a WebSocket", () => {
  test("from the server's page or a listed origin is opened, and has the cookie's session", async () => {
    for (const origin of [ownOrigin(), listed]) expect(await whoOnSocket({ cookie, origin })).toEqual(signedIn);
  });

  test("from another page is not opened", async () => {
    for (const origin of strangers().filter((each) => each !== "")) {
      expect({ origin, result: await upgrade({ cookie, origin }) }).toEqual({
        origin,
        result: "403 Sockets of this origin are refused: add it to ATTUNE__SERVER__CORS_ORIGINS.",
      });
    }
  });

  test("of a program is opened, and its cookie is ignored", async () => {
    expect(await whoOnSocket({ cookie })).toBe("UNAUTHENTICATED");
    expect(await whoOnSocket({}, `Bearer ${server.token}`)).toEqual(signedIn);
  });
});

describe("the host", () => {
  const sentence = "The Host header does not name this server: list the name in ATTUNE__SERVER__HOSTS.";

  test("is one of this machine's names, or a configured one", async () => {
    for (const host of [
      `127.0.0.1:${port}`,
      "127.0.0.1",
      `localhost:${port}`,
      `LOCALHOST:${port}`,
      `[::1]:${port}`,
      "attune.example.org",
      "attune.example.org:443",
      "other.example.org:8443",
    ]) {
      expect({ host, status: (await ask("GET", "/sign-in", { host })).status }).toEqual({ host, status: 200 });
    }
  });

  test("is refused in a sentence otherwise, on every path", async () => {
    for (const host of [
      "evil.example",
      `127.0.0.1.evil.example:${port}`,
      "other.example.org",
      "192.0.2.1",
      "attune.example.org.",
      "localhost@evil.example",
      "a b",
    ]) {
      for (const [method, path, body] of [
        ["GET", "/sign-in"],
        ["POST", "/graphql", who],
        ["POST", "/webhooks/x", "{}"],
      ] as const) {
        const { status, body: content } = await ask(method, path, { host }, body);
        expect({ host, path, status, content }).toEqual({
          host,
          path,
          status: 421,
          content: `${JSON.stringify({ error: sentence })}\n`,
        });
      }
      expect(await upgrade({ host })).toBe(`421 ${sentence}`);
    }
  });

  test("does not matter for health checks", async () => {
    for (const path of ["/healthz", "/readyz"]) expect((await ask("GET", path, { host: "10.0.0.7" })).status).toBe(200);
  });

  test("may be any address if the server listens on every address and no host is configured, but never a foreign name", () => {
    const { isOurHost } = createOrigins({ host: "0.0.0.0", hosts: [], corsOrigins: [], trustedProxies: [] });
    for (const host of ["10.0.0.7:8080", "[2001:db8::1]:8080", "localhost", "0.0.0.0:8080"])
      expect(isOurHost(host)).toBe(true);
    for (const host of ["evil.example", "10.0.0.7.evil.example", "", null]) expect(isOurHost(host)).toBe(false);
    const named = createOrigins({
      host: "0.0.0.0",
      hosts: ["attune.example.org"],
      corsOrigins: [],
      trustedProxies: [],
    });
    expect(["attune.example.org", "localhost", "10.0.0.7"].map(named.isOurHost)).toEqual([true, true, false]);
  });
});

describe("the address of a request", () => {
  const trustedProxies = ["127.0.0.1", "10.0.0.0/8", "fd00::/8"];
  const { addressOf } = createOrigins({ host: "127.0.0.1", hosts: [], corsOrigins: [], trustedProxies });
  const from = (remoteAddress: string | undefined, forwarded?: string) =>
    addressOf({
      socket: { remoteAddress },
      headers: forwarded === undefined ? {} : { "x-forwarded-for": forwarded },
    } as Parameters<typeof addressOf>[0]);

  test.each([
    ["192.0.2.1", "198.51.100.1", "192.0.2.1"],
    ["::ffff:192.0.2.1", undefined, "192.0.2.1"],
    ["fe80::1%eth0", undefined, "fe80::1"],
    ["127.0.0.1", undefined, "127.0.0.1"],
    ["127.0.0.1", "", "127.0.0.1"],
    ["127.0.0.1", "198.51.100.1", "198.51.100.1"],
    ["::ffff:127.0.0.1", "198.51.100.1", "198.51.100.1"],
    ["127.0.0.1", "203.0.113.9, 198.51.100.1", "198.51.100.1"],
    ["127.0.0.1", "203.0.113.9, 198.51.100.1,10.1.2.3 , 10.2.3.4", "198.51.100.1"],
    ["127.0.0.1", "10.1.2.3, 10.2.3.4", "10.1.2.3"],
    ["127.0.0.1", "203.0.113.9, unknown, 10.2.3.4", "10.2.3.4"],
    ["127.0.0.1", "203.0.113.9, 127.0.0.1'; drop table", "127.0.0.1"],
    ["127.0.0.1", "198.51.100.1:4711", "198.51.100.1"],
    ["127.0.0.1", "[2001:db8::1]:4711, fd00::2", "2001:db8::1"],
    [undefined, "198.51.100.1", null],
  ])("from %s, forwarded for %s, is %s", (remote, forwarded, address) => {
    expect(from(remote, forwarded)).toBe(address);
  });

  test("is what a listed proxy says, for delays and in the audit trail", async () => {
    await using behind = await startInProcess(undefined, { ATTUNE__SERVER__TRUSTED_PROXIES: "127.0.0.1, 10.0.0.0/8" });
    const guess = async (forwarded: string) => {
      const response = await fetch(`${behind.url}/graphql`, {
        method: "POST",
        headers: { "content-type": "application/json", origin: behind.url, "x-forwarded-for": forwarded },
        body: JSON.stringify({
          query: `mutation { signIn(input: {login: "admin", password: "a guess"}) { ... on Error { code } } }`,
        }),
      });
      const { data } = (await response.json()) as { data: { signIn: { code: string } } };
      return data.signIn.code;
    };
    for (let round = 0; round < 10; round += 1) await guess(`203.0.113.${round}, 192.0.2.1, 10.0.0.${round}`);
    expect(await guess("203.0.113.99, 192.0.2.1")).toBe("RATE_LIMITED");
    expect(await guess("192.0.2.1, 192.0.2.2")).toBe("UNAUTHENTICATED");
    const { auditEvents } = await request<{ auditEvents: { nodes: { ip: string }[] } }>(
      behind,
      `{ auditEvents(first: 50, where: {eventType: {eq: "signIn"}}) { nodes { ip } } }`,
    );
    expect(new Set(auditEvents.nodes.map(({ ip }) => ip))).toEqual(new Set(["192.0.2.1", "192.0.2.2"]));
  });
});

describe("other origins", () => {
  const preflight = {
    "access-control-request-method": "POST",
    "access-control-request-headers": "content-type,traceparent,apollographql-client-name",
  };

  test("that are listed may send requests and read responses, with credentials", async () => {
    const before = await ask("OPTIONS", "/graphql", { origin: listed, ...preflight });
    expect(before).toMatchObject({
      status: 204,
      headers: {
        "access-control-allow-origin": listed,
        "access-control-allow-credentials": "true",
        "access-control-allow-methods": expect.stringContaining("POST"),
        "access-control-allow-headers": "content-type,traceparent,apollographql-client-name",
        vary: "origin, access-control-request-headers",
      },
    });
    const { headers } = await ask("POST", "/graphql", { cookie, origin: listed }, who);
    expect(headers).toMatchObject({
      "access-control-allow-origin": listed,
      "access-control-allow-credentials": "true",
    });
    expect(headers["access-control-expose-headers"]).toContain("x-request-id");
  });

  test("that are not listed get no CORS headers", async () => {
    for (const origin of [...strangers(), ownOrigin()]) {
      for (const response of [
        await ask("OPTIONS", "/graphql", { origin, ...preflight }),
        await ask("POST", "/graphql", { cookie, origin }, who),
      ]) {
        expect(Object.keys(response.headers).filter((name) => name.startsWith("access-control"))).toEqual([]);
      }
    }
  });
});

test("the server has logged no internal failure", () => {
  expect(server.output()).not.toMatch(/unexpected error|request failed/);
});
