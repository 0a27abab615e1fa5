import { sql } from "drizzle-orm";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createTrigger } from "../../src/catalog/trigger.ts";
import { enableWebhook } from "../../src/catalog/webhook.ts";
import { write } from "../../src/db/tx.ts";
import { acceptDelivery, findWebhook, type Webhook } from "../../src/event/webhook.ts";
import { commit } from "../support/commit.ts";
import { createServices, onPostgres, type TestServices } from "../support/database.ts";
import { until } from "../support/until.ts";
import { createWorld, type World } from "../support/world.ts";

let world: World;
beforeAll(async () => {
  world = await createWorld();
});
afterAll(() => world[Symbol.asyncDispose]());

async function createHook(name: string, rateLimit: { requests: number; seconds: number }): Promise<Webhook> {
  const trigger = `default.${name}`;
  await commit(world.services, createTrigger, world.session, { ref: trigger });
  const { webhookKey } = await commit(world.services, enableWebhook, world.session, { trigger, rateLimit });
  const webhook = await findWebhook(world.services.db, webhookKey);
  if (webhook === null) throw new Error("there is no webhook");
  return webhook;
}

const deliver = (services: TestServices, webhook: Webhook, ids: (string | null)[] = [null]) => {
  const delivery = { headers: {}, query: {}, body: new Uint8Array(), url: null, sourceIp: null };
  return write(services, (tx) =>
    acceptDelivery(
      tx,
      webhook,
      { ...delivery, startedAt: performance.now(), signed: false },
      ids.map((id) => ({ body: {}, id })),
    ),
  );
};

/** The times at which deliveries were accepted, in milliseconds, in their order. */
const accepted = async ({ trigger }: Webhook) =>
  (
    await world.all<{ ms: number }>(
      sql`select (extract(epoch from created) * 1000)::float8 as ms from attune.webhook_delivery where trigger = ${trigger.id}::bigint order by created`,
    )
  ).map(({ ms }) => ms);

test("a batch waits for room for all of its events, and a larger one than the rate for the whole rate", async () => {
  const webhook = await createHook("batches", { requests: 3, seconds: 3600 });
  const { services } = world;
  expect((await deliver(services, webhook, ["a", "b"])).status).toBe(202);
  expect(await deliver(services, webhook, ["c", "d"])).toMatchObject({ status: 429, events: [] });
  expect((await deliver(services, webhook, ["c"])).status).toBe(202);
  expect((await deliver(services, webhook, [null])).status).toBe(429);
  const whole = await createHook("whole", { requests: 3, seconds: 3600 });
  expect((await deliver(services, whole, ["a", "b", "c", "d"])).status).toBe(202);
  expect((await deliver(services, whole, ["e", "f", "g", "h"])).status).toBe(429);
});

// One process at a time uses an embedded database.
describe.runIf(onPostgres())("the rate of a webhook in two processes", () => {
  let second: TestServices;
  beforeAll(async () => {
    second = await createServices(world.services.location);
  });
  afterAll(() => second[Symbol.asyncDispose]());

  test("holds in any period, and Retry-After says when there is room again", async () => {
    const rate = { requests: 5, seconds: 2 };
    const webhook = await createHook("raced", rate);
    const waits: number[] = [];
    const from = performance.now();
    // Each sender tries for three periods, at once after each response.
    const sender = async (services: TestServices) => {
      while (performance.now() - from < 3 * rate.seconds * 1000) {
        const { status, retryAfter } = await deliver(services, webhook);
        expect([202, 429]).toContain(status);
        if (retryAfter !== undefined) waits.push(retryAfter);
      }
    };
    await Promise.all([world.services, second].flatMap((services) => [1, 2, 3].map(() => sender(services))));
    const times = await accepted(webhook);
    expect(times.length).toBeGreaterThanOrEqual(2 * rate.requests);
    for (const [at, time] of times.entries()) {
      const next = times[at + rate.requests];
      if (next !== undefined) expect(next - time).toBeGreaterThanOrEqual(rate.seconds * 1000 - 0.01); // rounded
    }
    expect(Math.min(...waits)).toBeGreaterThanOrEqual(1);
    expect(Math.max(...waits)).toBeLessThanOrEqual(rate.seconds);
    // The last five are full: by what it says at the latest there is room.
    const refused = await until(async () => {
      const response = await deliver(second, webhook);
      return response.status === 429 ? response : null;
    }, "a refusal");
    const at = Date.now();
    await until(async () => (await deliver(world.services, webhook)).status === 202, "room");
    const oldest = (await accepted(webhook)).at(-1 - rate.requests) ?? 0;
    expect(at + (refused.retryAfter ?? 0) * 1000).toBeGreaterThanOrEqual(oldest + rate.seconds * 1000 - 50);
  }, 30_000);

  test("counts a request from when it was accepted, not from when it began to wait", async () => {
    const webhook = await createHook("waiting", { requests: 1, seconds: 2 });
    const key = sql`hashtextextended('attune.webhook', ${webhook.trigger.id}::bigint)`;
    let waiting: ReturnType<typeof deliver> | null = null;
    await world.services.db.transaction(async (tx) => {
      await tx.execute(sql`select pg_advisory_xact_lock(${key})`);
      waiting = deliver(second, webhook);
      const began = Date.now();
      await until(async () => {
        const [blocked] = await world.all(
          sql`select 1 as one from pg_locks where locktype = 'advisory' and not granted`,
        );
        return blocked !== undefined && Date.now() - began > 2500;
      }, "a request that has waited for longer than the period");
    });
    expect(await waiting).toMatchObject({ status: 202 });
    expect(await deliver(world.services, webhook)).toMatchObject({ status: 429, retryAfter: 2 });
  }, 30_000);
});
