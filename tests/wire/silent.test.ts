import { once } from "node:events";
import { createServer } from "node:http";
import { type AddressInfo, connect } from "node:net";
import { sql } from "drizzle-orm";
import { createClient } from "graphql-ws";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import WebSocket from "ws";
import { createAttempts } from "../../src/access/attempts.ts";
import { createOrigins } from "../../src/access/origin.ts";
import { openSession } from "../../src/access/session.ts";
import { createSessions, type Sessions } from "../../src/access/sessions.ts";
import { createGraphQL } from "../../src/graphql/transport/server.ts";
import { attachSockets } from "../../src/graphql/transport/sockets.ts";
import { type HttpOptions, startHttp } from "../../src/http/server.ts";
import { createFeed, type Feed } from "../../src/notifier/feed.ts";
import { until } from "../support/until.ts";
import { createWorld, type World } from "../support/world.ts";

const limits = { total: 12, perAddress: 8, unknownMs: 60_000 };
const origins = createOrigins({ host: "127.0.0.1", hosts: [], corsOrigins: [], trustedProxies: [] });
let world: World;
let feed: Feed;
let sessions: Sessions;

beforeAll(async () => {
  world = await createWorld();
  feed = await createFeed(world.services);
  sessions = createSessions(world.services.db, world.services.log);
});
afterAll(async () => {
  await sessions[Symbol.asyncDispose]();
  await feed[Symbol.asyncDispose]();
  await world[Symbol.asyncDispose]();
});

/** Starts sockets with these limits, for which "Bearer admin" is a valid credential. */
async function start(places: typeof limits) {
  const admin = await world.one<{ id: string }>(sql`select id::text as id from attune.identity where login = 'admin'`);
  const yoga = createGraphQL({
    services: world.services,
    feed,
    sessions,
    attempts: createAttempts(),
    authenticate: async ({ authorization }) => (authorization === "Bearer admin" ? openSession(admin.id) : null),
  });
  const server = createServer();
  const sockets = attachSockets(server, {
    yoga,
    origins,
    log: world.services.log,
    metrics: world.services.metrics,
    places,
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  return {
    url: `ws://127.0.0.1:${port}/graphql`,
    [Symbol.asyncDispose]: async () => {
      await sockets[Symbol.asyncDispose]();
      server.close();
    },
  };
}

/** Opens a socket of that address and resolves with the response's status, or 101. */
function open(url: string, localAddress: string): Promise<{ socket: WebSocket; status: number }> {
  const socket = new WebSocket(url, "graphql-transport-ws", { localAddress });
  return new Promise((resolve) => {
    socket.on("open", () => resolve({ socket, status: 101 }));
    socket.on("unexpected-response", (_request, response) => resolve({ socket, status: response.statusCode ?? 0 }));
    socket.on("error", () => {}); // a terminated socket
  });
}

/** Runs a query as the admin on a socket that stays open. */
async function admin(url: string): Promise<{ login: string; isOpen(): boolean; dispose(): void }> {
  let isOpen = true;
  const client = createClient({
    url,
    webSocketImpl: WebSocket,
    lazy: false,
    retryAttempts: 0,
    onNonLazyError: () => {},
    connectionParams: { authorization: "Bearer admin" },
    on: {
      closed: () => {
        isOpen = false;
      },
    },
  });
  const login = await new Promise<string>((resolve, reject) => {
    client.subscribe(
      { query: "{ viewer { identity { login } } }" },
      {
        next: ({ data }) => resolve((data as { viewer: { identity: { login: string } } }).viewer.identity.login),
        error: reject,
        complete() {},
      },
    );
  });
  return { login, isOpen: () => isOpen, dispose: () => void client.dispose() };
}

describe("sockets without a valid credential", () => {
  test("give way to others, and those with one do not", async () => {
    await using server = await start(limits);
    const first = await admin(server.url);
    expect(first.login).toBe("admin");
    const silent = await Promise.all(
      Array.from({ length: 40 }, (_, index) => open(server.url, `127.0.0.${2 + (index % 4)}`)),
    );
    expect(silent.every(({ status }) => status === 101)).toBe(true);
    await until(
      () => silent.filter(({ socket }) => socket.readyState === WebSocket.OPEN).length < limits.total,
      "the oldest to be closed",
    );
    const others = await Promise.all(Array.from({ length: 5 }, () => admin(server.url)));
    expect(others.map(({ login }) => login)).toEqual(Array(5).fill("admin"));
    expect([first, ...others].every(({ isOpen }) => isOpen())).toBe(true);
    for (const each of [first, ...others]) each.dispose();
    for (const { socket } of silent) socket.terminate();
  });

  test("of one address take no places of others; sockets with a credential beyond the limit are refused", async () => {
    await using server = await start(limits);
    const kept = await Promise.all(Array.from({ length: limits.perAddress }, () => admin(server.url)));
    expect((await open(server.url, "127.0.0.1")).status).toBe(503);
    const other = await open(server.url, "127.0.0.9");
    expect(other.status).toBe(101);
    kept[0]?.dispose();
    await until(async () => {
      const { socket, status } = await open(server.url, "127.0.0.1");
      socket.terminate();
      return status === 101;
    }, "the free place");
    other.socket.terminate();
    for (const each of kept) each.dispose();
  });

  test("are closed after a while", async () => {
    await using server = await start({ ...limits, unknownMs: 300 });
    const kept = await admin(server.url);
    const { socket } = await open(server.url, "127.0.0.1");
    const [code] = (await once(socket, "close")) as [number];
    expect(code).toBe(4408);
    expect(kept.isOpen()).toBe(true);
    kept.dispose();
  });
});

/** Starts the HTTP server without its API. */
const startPlain = (options: Partial<HttpOptions>) =>
  startHttp({
    services: world.services,
    host: "127.0.0.1",
    port: 0,
    origins,
    attempts: createAttempts(),
    graphql: () => {},
    attachSockets: () => ({ [Symbol.asyncDispose]: async () => {} }),
    ...options,
  });

test("a connection that sends nothing, or its headers too slowly, is closed", async () => {
  await using server = await startPlain({ silenceMs: 500 });
  const { hostname, port } = new URL(server.url);
  for (const text of ["", "GET /healthz HTTP/1.1\r\nHost: local"]) {
    const socket = connect(Number(port), hostname);
    socket.on("error", () => {}); // a reset is an end, too
    socket.write(text);
    await once(socket.resume(), "close");
  }
  expect((await fetch(`${server.url}/healthz`)).status).toBe(200);
});

test("/readyz refuses until the start has ended", async () => {
  let isStarted = false;
  await using server = await startPlain({ isStarted: () => isStarted });
  const ask = async () => {
    const response = await fetch(`${server.url}/readyz`);
    return [response.status, await response.json()];
  };
  expect(await ask()).toEqual([503, { status: "not ready", reason: "the server is starting" }]);
  expect((await fetch(`${server.url}/healthz`)).status).toBe(200);
  isStarted = true;
  expect(await ask()).toEqual([200, { status: "ready" }]);
});
