import { sql } from "drizzle-orm";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createPack } from "../../src/catalog/pack.ts";
import { createRuntime, deleteRuntime, updateRuntime } from "../../src/catalog/runtime.ts";
import { commit } from "../support/commit.ts";
import { createWorld, type World } from "../support/world.ts";

let world: World;
beforeAll(async () => {
  world = await createWorld();
  await commit(world.services, createPack, world.session, { ref: "mine" });
});
afterAll(() => world[Symbol.asyncDispose]());

const create = (ref: string, fields = {}) => commit(world.services, createRuntime, world.session, { ref, ...fields });
const change = (ref: string, patch: object, expectedUpdated: Date | null = null) =>
  commit(world.services, updateRuntime, world.session, { ref, patch, expectedUpdated });
const remove = (ref: string) => commit(world.services, deleteRuntime, world.session, { ref });
const findRow = (ref: string) =>
  world.one<{ row: Record<string, unknown> }>(sql`select to_jsonb(r) as row from attune.runtime r where ref = ${ref}`);

describe("a runtime created by hand", () => {
  test("has the type in its ref", async () => {
    await create("mine.sensor.ruby");
    expect((await findRow("mine.sensor.ruby")).row).toMatchObject({
      runtime_type: "sensor",
      name: "ruby",
      pack_ref: "mine",
    });
    const distributions = { commands: [{ command: "lua", args: ["-v"], pattern: "(\\d+)" }], min_version: "5" };
    await create("mine.action.lua", { name: "Lua", distributions, installation: { file: "rocks" } });
    expect((await findRow("mine.action.lua")).row).toMatchObject({ runtime_type: "action", distributions });
    await create("mine.action.plain", { distributions: {}, installation: {} });
    expect((await findRow("mine.action.plain")).row).toMatchObject({
      ...{ distributions: { commands: [], min_version: null }, installation: {} },
    });
  });

  test("is refused if its ref has no type, its commands are invalid, or its pack comes from files", async () => {
    for (const ref of ["mine.ruby", "mine.job.ruby", "Mine.action.ruby"]) {
      await expect(create(ref)).rejects.toMatchObject({ code: "BAD_USER_INPUT", issues: [{ path: "ref" }] });
    }
    await expect(
      create("mine.action.x", { distributions: { commands: [{ command: "", pattern: "(" }] } }),
    ).rejects.toMatchObject({
      issues: [{ path: "distributions.commands.0.command" }, { path: "distributions.commands.0.pattern" }],
    });
    await expect(create("nowhere.action.x")).rejects.toMatchObject({ code: "NOT_FOUND", kind: "pack" });
    await expect(create("core.action.x")).rejects.toMatchObject({ code: "CONFLICT" });
    await expect(change("core.action.shell", { name: "Mine" })).rejects.toMatchObject({ code: "CONFLICT" });
  });

  test("changes only in the fields given, if any", async () => {
    await create("mine.action.changing", { description: "Before." });
    const { row } = await findRow("mine.action.changing");
    await change("mine.action.changing", {});
    expect((await findRow("mine.action.changing")).row).toEqual(row);
    const stale = new Date(0);
    await expect(change("mine.action.changing", { name: "New" }, stale)).rejects.toMatchObject({ code: "CONFLICT" });
    await change("mine.action.changing", { name: "New", description: null });
    expect((await findRow("mine.action.changing")).row).toMatchObject({ name: "New", description: null });
    await expect(change("mine.action.none", {})).rejects.toMatchObject({ code: "NOT_FOUND" });
  });

  test("is deleted unless an action runs in it", async () => {
    await create("mine.action.used");
    await world.all(sql`insert into attune.action (ref, label, entrypoint, runtime) select 'mine.user', 'U', 'u', id
      from attune.runtime where ref = 'mine.action.used'`);
    await expect(remove("mine.action.used")).rejects.toMatchObject({
      code: "CONFLICT",
      message: expect.stringContaining("mine.user"),
    });
    await world.all(sql`delete from attune.action where ref = 'mine.user'`);
    await remove("mine.action.used");
    await expect(remove("mine.action.used")).rejects.toMatchObject({ code: "NOT_FOUND" });
  });
});
