import { sql } from "drizzle-orm";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createSensor } from "../../src/catalog/sensor.ts";
import { createEvent } from "../../src/event/record.ts";
import type { Json } from "../../src/lib/json.ts";
import { commit } from "../support/commit.ts";
import { createEvaluator, type Evaluator } from "../support/evaluator.ts";
import { createWorld, type World } from "../support/world.ts";

let world: World;
let look: Evaluator;
beforeAll(async () => {
  world = await createWorld();
  look = createEvaluator(world);
});
afterAll(() => world[Symbol.asyncDispose]());

describe("an event is refused", () => {
  const outSchema = { title: { type: "string", required: true }, level: { type: "integer" } };
  const create = (trigger: string, payload: Json) =>
    commit(world.services, createEvent, world.session, { trigger, payload, traceTag: null });

  test.each<[string, Json, string]>([
    ["without a required field", {}, "payload.title"],
    ["with a field of another type", { title: "t", level: "high" }, "payload.level"],
    ["that is no object", ["t"], "payload"],
  ])("%s names the path, and nothing is stored", async (_name, payload, path) => {
    const trigger = await world.trigger({ outSchema });
    await expect(create(trigger, payload)).rejects.toMatchObject({
      code: "BAD_USER_INPUT",
      issues: [{ path, message: expect.any(String) }],
    });
    expect(await world.all(sql`select from attune.event where trigger_ref = ${trigger}`)).toEqual([]);
    expect(await look.pending()).toEqual([]);
  });

  test.each([
    ["U+0000", "a\u0000b"],
    ["half of a surrogate pair", "a\ud800b"],
  ])("with %s, which no database can hold", async (_name, text) => {
    const trigger = await world.trigger();
    for (const payload of [{ deep: [{ text }] }, { [text]: 1 }]) {
      await expect(create(trigger, payload)).rejects.toMatchObject({
        code: "BAD_USER_INPUT",
        issues: [{ path: "payload", message: expect.any(String) }],
      });
    }
    const escaped = { text: "a\\u0000b\\ud800" };
    const { id } = await create(trigger, escaped);
    await look.evaluate();
    expect((await look.event(String(id))).payload).toEqual(escaped);
  });

  test("by a disabled or unknown trigger", async () => {
    const trigger = await world.trigger({ enabled: false });
    await expect(create(trigger, {})).rejects.toMatchObject({ code: "CONFLICT" });
    await expect(create("default.nowhere", {})).rejects.toMatchObject({ code: "NOT_FOUND", kind: "trigger" });
    expect(await world.all(sql`select from attune.event where trigger_ref = ${trigger}`)).toEqual([]);
  });
});

test("an event keeps the parameters and the sensor that it is created with", async () => {
  const trigger = await world.trigger();
  const sensor = { ref: "default.watcher", runtime: "core.sensor.shell", entrypoint: "watch.sh" };
  await commit(world.services, createSensor, world.session, sensor);
  const create = (source: string, session = world.session) =>
    commit(world.services, createEvent, session, {
      ...{ trigger, source, payload: { a: 1 }, config: { interval: 5 }, traceTag: null },
    });
  const { id } = await create("default.watcher");
  expect(
    await world.one(
      sql`select e.config, e.source_ref as "sourceRef", s.ref as source from attune.event e
        join attune.sensor s on s.id = e.source where e.id = ${String(id)}::bigint`,
    ),
  ).toEqual({ config: { interval: 5 }, sourceRef: "default.watcher", source: "default.watcher" });
  const creator = { ...world.session, grants: [{ resource: "event", actions: ["create"] }] };
  await expect(create("default.watcher", creator)).rejects.toMatchObject({ code: "NOT_FOUND", kind: "sensor" });
  await expect(create("default.nobody")).rejects.toMatchObject({ code: "NOT_FOUND", kind: "sensor" });
});
