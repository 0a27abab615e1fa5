import { afterAll, beforeAll, expect, test } from "vitest";
import { type Api, createApi, createPerson } from "../support/api.ts";
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

const query =
  "{ systemInfo { version nodeVersion startedAt database databaseVersion databaseBytes migrations workers feedPosition feedLagSeconds } }";

test("describes the installation to those who may read it, and to nobody else", async () => {
  await world.workerRow();
  const { data, errors } = await api.ask(world.session, query);
  expect(errors).toBeUndefined();
  const { systemInfo } = data;
  expect(systemInfo).toMatchObject({
    nodeVersion: process.versions.node,
    database: world.services.kind,
    workers: 1,
    feedLagSeconds: 0,
  });
  expect(Number(systemInfo.databaseBytes)).toBeGreaterThan(1_000_000);
  expect(systemInfo.migrations).toBeGreaterThan(10);
  expect(systemInfo.databaseVersion).toMatch(/^\d\d/);
  expect(systemInfo.feedPosition).toMatch(/^\w+\.\d+$/);
  const other = await createPerson(world.services, "other", { grants: [{ resource: "worker", actions: ["*"] }] });
  const refused = await api.ask(other, query);
  expect(refused.errors?.[0]?.extensions["code"]).toBe("FORBIDDEN");
});
