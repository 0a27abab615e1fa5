import { createHash } from "node:crypto";
import { once } from "node:events";
import { type IncomingMessage, request } from "node:http";
import { sql } from "drizzle-orm";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createAttempts } from "../../src/access/attempts.ts";
import { createOrigins } from "../../src/access/origin.ts";
import { createUpload } from "../../src/artifact/upload.ts";
import { createTrigger } from "../../src/catalog/trigger.ts";
import { enableWebhook } from "../../src/catalog/webhook.ts";
import { type HttpServer, startHttp } from "../../src/http/server.ts";
import { commit } from "../support/commit.ts";
import { until } from "../support/until.ts";
import { createWorld, type World } from "../support/world.ts";

const mib = 1024 * 1024;
let world: World;
let server: HttpServer;
let path: string;

beforeAll(async () => {
  world = await createWorld();
  const { services, session } = world;
  await commit(services, createTrigger, session, { ref: "default.large" });
  const { webhookKey } = await commit(services, enableWebhook, session, { trigger: "default.large" });
  path = `/webhooks/${webhookKey}`;
  server = await startHttp({
    services: world.services,
    host: "127.0.0.1",
    port: 0,
    origins: createOrigins({ host: "127.0.0.1", hosts: [], corsOrigins: [], trustedProxies: [] }),
    attempts: createAttempts(),
    intake: { bytes: 4 * mib, waitMs: 50 },
    graphql: () => {},
    attachSockets: () => ({ [Symbol.asyncDispose]: async () => {} }),
  });
});
afterAll(async () => {
  await server[Symbol.asyncDispose]();
  await world[Symbol.asyncDispose]();
});

test("many large bodies at once wait for room or are refused with Retry-After; memory is bounded, and health is quick", async () => {
  const body = JSON.stringify({ text: "x".repeat(1_000_000) });
  const before = process.memoryUsage().rss;
  let peak = 0;
  let slowest = 0;
  let over = false;
  const watching = (async () => {
    while (!over) {
      peak = Math.max(peak, process.memoryUsage().rss - before);
      const from = performance.now();
      expect((await fetch(`${server.url}/healthz`)).status).toBe(200);
      slowest = Math.max(slowest, performance.now() - from);
      await new Promise((resolve) => setTimeout(resolve, 20)); // the pace of the watch, not a wait
    }
  })();
  const send = async () => {
    const response = await fetch(server.url + path, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body,
    });
    await response.text();
    if (response.status === 503) expect(response.headers.get("retry-after")).toBe("5");
    return response.status;
  };
  const statuses = await Promise.all(Array.from({ length: 60 }, send));
  over = true;
  await watching;
  expect(statuses.filter((status) => status !== 202 && status !== 503)).toEqual([]); // how many depends on the machine
  expect(statuses.filter((status) => status === 202).length).toBeGreaterThanOrEqual(4);
  expect(peak).toBeLessThan(700 * mib);
  expect(slowest).toBeLessThan(5000); // a fraction of a second, but for a busy machine
  expect(await send()).toBe(202);
}, 60_000);

test("a request that finds no room in time is refused, and accepted once there is room again", async () => {
  const ends: (() => void)[] = [];
  const held = Array.from({ length: 4 }, () => {
    const body = new ReadableStream({
      start: (controller) => {
        controller.enqueue(new TextEncoder().encode("{"));
        ends.push(() => {
          controller.enqueue(new TextEncoder().encode("}"));
          controller.close();
        });
      },
    });
    return fetch(server.url + path, { method: "POST", body, duplex: "half" } as RequestInit);
  });
  const send = (body = JSON.stringify("x".repeat(20_000))) => fetch(server.url + path, { method: "POST", body });
  const refused = await until(async () => {
    const response = await send();
    return response.status === 503 ? response : null;
  }, "the room to be taken");
  expect(refused.headers.get("retry-after")).toBe("5");
  expect((await send("{}")).status).toBe(202); // small ones do not wait for larger ones
  for (const end of ends) end();
  expect((await Promise.all(held)).map(({ status }) => status)).toEqual([202, 202, 202, 202]);
  expect((await send()).status).toBe(202);
});

test("an upload that finds no room in time is refused with Retry-After, its link stays valid, and other requests have room", async () => {
  const { id: token } = await world.one<{ id: string }>(
    sql`insert into attune.token (kind, token_hash, identity) select 'api', 'hash of uploads', id from attune.identity where login = 'admin' returning id::text`,
  );
  const session = { ...world.session, tokenId: BigInt(token) };
  const announce = async (content: Buffer) => {
    const sha256 = createHash("sha256").update(content).digest("hex");
    const input = {
      ref: "default.upload",
      type: "other",
      contentType: "text/plain",
      size: content.length,
      sha256,
    } as const;
    return server.url + (await commit(world.services, createUpload, session, input)).path;
  };
  const [content, less] = [Buffer.alloc(mib, "x"), Buffer.alloc(20_000, "x")];
  const headers = { "content-type": "text/plain" };
  const held = await Promise.all(
    Array.from({ length: 4 }, async () => {
      const sending = request(await announce(content), {
        method: "PUT",
        headers: { ...headers, "content-length": String(mib) },
      });
      sending.write(content.subarray(1));
      return { sending, response: once(sending, "response") as Promise<[IncomingMessage]> };
    }),
  );
  const send = (link: string) => fetch(link, { method: "PUT", headers, body: less });
  const { link, refused } = await until(async () => {
    const unused = await announce(less);
    const response = await send(unused);
    return response.status === 503 ? { link: unused, refused: response } : null;
  }, "the room to be taken");
  expect([refused.headers.get("retry-after"), await refused.json()]).toEqual([
    "5",
    { error: "too many requests are being received: try again" },
  ]);
  expect((await fetch(server.url + path, { method: "POST", body: "{}" })).status).toBe(202);
  for (const { sending } of held) sending.end("x");
  const statuses = await Promise.all(held.map(async ({ response }) => (await response)[0].resume().statusCode));
  expect(statuses).toEqual([201, 201, 201, 201]);
  expect((await send(link)).status).toBe(201);
});

test("a body of unknown length takes its limit, and one that is too long takes no room", async () => {
  let left = 1000; // of 64 KiB; more is not sent, because a client whose connection is closed may go on reading the stream
  const endless = new ReadableStream({
    pull: (controller) => {
      left -= 1;
      if (left > 0) controller.enqueue(new TextEncoder().encode("x".repeat(64 * 1024)));
    },
  });
  const response = await fetch(server.url + path, {
    method: "POST",
    body: endless,
    duplex: "half",
  } as RequestInit).catch(
    () => ({ status: 413 }), // the connection was closed while the client still sent
  );
  expect(response.status).toBe(413);
  const statuses = await Promise.all(
    Array.from({ length: 4 }, async () => (await fetch(server.url + path, { method: "POST", body: "{}" })).status),
  );
  expect(statuses).toEqual([202, 202, 202, 202]);
});

test("a request that fails gets 500, and its delivery can be read with the reason", async () => {
  const { services } = world;
  const post = () => fetch(server.url + path, { method: "POST", body: "{}" });
  await world.all(
    sql`create function attune.fail() returns trigger language plpgsql as $$ begin raise exception 'broken'; end $$`,
  );
  await world.all(sql`create trigger fail before insert on attune.event for each row execute function attune.fail()`);
  const silent = services.log.level;
  services.log.level = "silent"; // the failure is expected
  expect((await post()).status).toBe(500);
  services.log.level = silent;
  await world.all(sql`drop function attune.fail() cascade`);
  expect((await post()).status).toBe(202);
  const read = sql`select status_code, error from attune.webhook_delivery order by id desc limit 2`;
  expect(await world.all(read)).toEqual([
    { status_code: 202, error: null },
    { status_code: 500, error: "the request failed: see the server's log" },
  ]);
});
