import { sql } from "drizzle-orm";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { setEnabled } from "../../src/access/rows.ts";
import { createSensor, deleteSensor, updateSensor } from "../../src/catalog/sensor.ts";
import { createTrigger, updateTrigger } from "../../src/catalog/trigger.ts";
import { commit } from "../support/commit.ts";
import { createWorld, type World } from "../support/world.ts";

let world: World;
beforeAll(async () => {
  world = await createWorld();
});
afterAll(() => world[Symbol.asyncDispose]());

const python = { runtime: "core.sensor.python", entrypoint: "sensors/watch.py" };
const create = (ref: string, fields = {}) =>
  commit(world.services, createSensor, world.session, { ref, ...python, ...fields });
const change = (ref: string, patch: object) => commit(world.services, updateSensor, world.session, { ref, patch });
const findRow = (ref: string) =>
  world.one<{ row: Record<string, unknown> }>(sql`select to_jsonb(s) as row from attune.sensor s where ref = ${ref}`);

describe("a sensor", () => {
  test("is created in a sensor runtime, with settings that match its schema", async () => {
    const paramSchema = { every: { type: "integer", default: 5 }, path: { type: "string", required: true } };
    await create("default.watch", { paramSchema, config: { path: "/tmp" } });
    expect((await findRow("default.watch")).row).toMatchObject({
      runtime_ref: "core.sensor.python",
      is_adhoc: true,
      config: { every: 5, path: "/tmp" },
    });
    await expect(create("default.odd", { runtime: "core.action.python" })).rejects.toMatchObject({
      issues: [{ path: "runtime", message: expect.stringContaining("sensors") }],
    });
    await expect(create("default.odd", { runtime: "core.sensor.none" })).rejects.toMatchObject({ code: "NOT_FOUND" });
    await expect(create("default.odd", { entrypoint: "../x", label: "" })).rejects.toMatchObject({
      issues: expect.arrayContaining([
        expect.objectContaining({ path: "entrypoint" }),
        expect.objectContaining({ path: "label" }),
      ]),
    });
    await expect(create("default.odd", { paramSchema, config: { every: "x" } })).rejects.toMatchObject({
      issues: [{ path: "config.path" }, { path: "config.every" }],
    });
    await expect(create("default.watch")).rejects.toMatchObject({ code: "CONFLICT" });
  });

  test("changes only in the fields given, if any", async () => {
    await create("default.changing", { config: { free: true } });
    const { row } = await findRow("default.changing");
    await change("default.changing", {});
    expect((await findRow("default.changing")).row).toEqual(row);
    await change("default.changing", { runtime: "core.sensor.nodejs", config: null });
    expect((await findRow("default.changing")).row).toMatchObject({ runtime_ref: "core.sensor.nodejs" });
    await expect(change("default.changing", { runtime: "core.action.nodejs" })).rejects.toMatchObject({
      issues: [{ path: "runtime" }],
    });
    const { services, session } = world;
    await commit(services, setEnabled("sensor"), session, { ref: "default.changing", enabled: false });
    expect((await findRow("default.changing")).row).toMatchObject({ enabled: false });
    await expect(change("default.gone", {})).rejects.toMatchObject({ code: "NOT_FOUND", kind: "sensor" });
  });

  test("is referenced by triggers, which keep its ref when it is deleted", async () => {
    const { services, session } = world;
    await create("default.eye");
    await commit(services, createTrigger, session, { ref: "default.seen" });
    await commit(services, updateTrigger, session, { ref: "default.seen", patch: { sensor: "default.eye" } });
    const trigger = sql`select sensor::text, sensor_ref as ref from attune.trigger where ref = 'default.seen'`;
    expect(await world.one(trigger)).toEqual({ sensor: expect.any(String), ref: "default.eye" });
    await commit(services, deleteSensor, session, { ref: "default.eye" });
    expect(await world.one(trigger)).toEqual({ sensor: null, ref: "default.eye" });
    await expect(commit(services, deleteSensor, session, { ref: "default.eye" })).rejects.toMatchObject({
      code: "NOT_FOUND",
    });
    const unknown = { ref: "default.seen", patch: { sensor: "default.blind" } };
    await expect(commit(services, updateTrigger, session, unknown)).rejects.toMatchObject({
      code: "NOT_FOUND",
      kind: "sensor",
    });
  });

  test("from a pack's files can only be enabled or disabled by users", async () => {
    await create("default.own");
    await world.all(sql`update attune.sensor set is_adhoc = false where ref = 'default.own'`);
    await change("default.own", { enabled: false });
    await expect(change("default.own", { label: "Mine" })).rejects.toMatchObject({ code: "CONFLICT" });
    const { services, session } = world;
    await expect(commit(services, deleteSensor, session, { ref: "default.own" })).rejects.toMatchObject({
      code: "CONFLICT",
    });
  });
});
