import { sql } from "drizzle-orm";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { storePackSecret } from "../../src/access/key.ts";
import { createAction } from "../../src/catalog/action.ts";
import { createPack, deletePack, updatePack } from "../../src/catalog/pack.ts";
import { write } from "../../src/db/tx.ts";
import type { JsonObject } from "../../src/lib/json.ts";
import { commit } from "../support/commit.ts";
import { createWorld, type World } from "../support/world.ts";

let world: World;
beforeAll(async () => {
  world = await createWorld();
});
afterAll(() => world[Symbol.asyncDispose]());

const make = (ref: string, fields = {}) => commit(world.services, createPack, world.session, { ref, ...fields });
const change = (ref: string, patch: object, expectedUpdated: Date | null = null) =>
  commit(world.services, updatePack, world.session, { ref, patch, expectedUpdated });
const remove = (ref: string) => commit(world.services, deletePack, world.session, { ref });
const look = (ref: string) =>
  world.one<{ label: string; config: JsonObject; description: string | null; tags: string[]; updated: string }>(
    sql`select label, config, description, to_json(tags) as tags, to_char(updated at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') as updated
      from attune.pack where ref = ${ref}`,
  );

describe("a pack made by hand", () => {
  test("is made minimal and full, and keeps what it was given", async () => {
    await make("small");
    expect(await look("small")).toMatchObject({ label: "small", config: {}, description: null, tags: [] });
    const confSchema = { region: { type: "string", default: "eu" }, size: { type: "integer", required: true } };
    await make("full", {
      label: "Full",
      description: "All of it.",
      version: "2.1.0",
      confSchema,
      config: { size: 3 },
      meta: { author: "x" },
      tags: ["a", "b"],
      runtimeDeps: ["core.action.shell"],
      dependencies: ["core"],
    });
    expect(await look("full")).toMatchObject({ config: { region: "eu", size: 3 }, tags: ["a", "b"] });
  });

  test("is refused with every fault at its path", async () => {
    await expect(
      make("Bad Ref", {
        version: "1.0",
        confSchema: { size: { type: "integer", pattern: "x" } },
        tags: [""],
        dependencies: ["Core"],
        description: "a\0b",
      }),
    ).rejects.toMatchObject({
      code: "BAD_USER_INPUT",
      issues: expect.arrayContaining(
        ["ref", "version", "confSchema.size.pattern", "tags.0", "dependencies.0", "description"].map((path) =>
          expect.objectContaining({ path }),
        ),
      ),
    });
    const confSchema = { size: { type: "integer", required: true } };
    await expect(make("bad", { confSchema, config: { size: "x", more: 1 } })).rejects.toMatchObject({
      issues: expect.arrayContaining([
        expect.objectContaining({ path: "config.size" }),
        expect.objectContaining({ path: "config.more" }),
      ]),
    });
    await make("taken");
    await expect(make("taken")).rejects.toMatchObject({
      code: "CONFLICT",
      message: 'There is a pack "taken" already.',
    });
  });

  test("changes in the fields that are given, and in none when none is", async () => {
    await make("changed", { description: "Before.", tags: ["a"] });
    const before = await look("changed");
    await change("changed", {});
    expect(await look("changed")).toEqual(before);
    await change("changed", { label: "New", description: null });
    const after = await look("changed");
    expect(after).toMatchObject({ label: "New", description: null, tags: ["a"] });
    expect(after.updated > before.updated).toBe(true);
    await expect(change("changed", { label: "Late" }, new Date(before.updated))).rejects.toMatchObject({
      code: "CONFLICT",
    });
    await change("changed", { label: "In time" }, new Date(after.updated));
    await expect(change("missing", {})).rejects.toMatchObject({ code: "NOT_FOUND", kind: "pack", ref: "missing" });
    await expect(remove("missing")).rejects.toMatchObject({ code: "NOT_FOUND" });
  });

  test("keeps a secret that comes back as it is shown", async () => {
    const confSchema = { password: { type: "string", secret: true }, size: { type: "integer" } };
    await make("secretive", { confSchema, config: { password: "hunter22", size: 1 } });
    await change("secretive", { config: { password: "[secret]", size: 2 } });
    expect((await look("secretive")).config).toEqual({ password: "hunter22", size: 2 });
  });
});

describe("deleting a pack", () => {
  test("takes with it what it holds", async () => {
    const { services, session } = world;
    await make("doomed");
    await commit(services, createAction, session, {
      ref: "doomed.ping",
      runtime: "core.action.builtin",
      entrypoint: "core.noop",
    });
    await remove("doomed");
    const left = sql`select ref from attune.action where ref = 'doomed.ping'`;
    expect(await world.all(left)).toEqual([]);
  });

  test("is refused for Attune's own packs, for owners of keys, and while another's action needs its runtime", async () => {
    for (const ref of ["core", "default"]) {
      await expect(remove(ref)).rejects.toMatchObject({ code: "CONFLICT", message: expect.stringContaining("Attune") });
    }
    await make("owner");
    const { id } = await world.one<{ id: string }>(sql`select id::text from attune.pack where ref = 'owner'`);
    const secret = { pack: id, packRef: "owner", name: "token", value: "s3cr3t!" };
    await write(world.services, (tx) => storePackSecret(tx, secret));
    await expect(remove("owner")).rejects.toMatchObject({
      code: "CONFLICT",
      message: expect.stringContaining("pack.owner.token"),
    });
    await make("host");
    await world.all(sql`insert into attune.runtime (ref, pack, pack_ref, runtime_type, name, distributions)
      select 'host.action.x', id, 'host', 'action', 'x', '{}' from attune.pack where ref = 'host'`);
    await world.all(sql`insert into attune.action (ref, label, entrypoint, runtime) select 'default.guest', 'G', 'g', id
      from attune.runtime where ref = 'host.action.x'`);
    await expect(remove("host")).rejects.toMatchObject({
      code: "CONFLICT",
      message: expect.stringContaining("default.guest"),
    });
  });
});

describe("a pack from files", () => {
  test("lets only its config be changed, checked against its settings", async () => {
    await expect(change("core", { label: "Mine" })).rejects.toMatchObject({ code: "CONFLICT" });
    await world.all(sql`update attune.pack set conf_schema = '{"size": {"type": "integer"}}' where ref = 'core'`);
    await expect(change("core", { config: { size: "x" } })).rejects.toMatchObject({
      issues: [{ path: "config.size", message: "must be integer" }],
    });
    await change("core", { config: { size: 4 } });
    expect((await look("core")).config).toEqual({ size: 4 });
  });
});
