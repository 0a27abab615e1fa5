import { sql } from "drizzle-orm";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { setKey } from "../../src/access/key.ts";
import { createPermissionSet } from "../../src/access/permission.ts";
import { createArtifact } from "../../src/artifact/artifact.ts";
import { createAction } from "../../src/catalog/action.ts";
import { createPack, deletePack, updatePack } from "../../src/catalog/pack.ts";
import type { JsonObject } from "../../src/lib/json.ts";
import { createPolicy } from "../../src/policy/policy.ts";
import { createPerson } from "../support/api.ts";
import { commit } from "../support/commit.ts";
import { createWorld, type World } from "../support/world.ts";

let world: World;
beforeAll(async () => {
  world = await createWorld();
});
afterAll(() => world[Symbol.asyncDispose]());

const create = (ref: string, fields = {}) => commit(world.services, createPack, world.session, { ref, ...fields });
const change = (ref: string, patch: object, expectedUpdated: Date | null = null) =>
  commit(world.services, updatePack, world.session, { ref, patch, expectedUpdated });
const remove = (ref: string) => commit(world.services, deletePack, world.session, { ref });
const findRow = (ref: string) =>
  world.one<{ label: string; config: JsonObject; description: string | null; tags: string[]; updated: string }>(
    sql`select label, config, description, to_json(tags) as tags, to_char(updated at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') as updated
      from attune.pack where ref = ${ref}`,
  );

const sealedOf = async (ref: string) => {
  const { secrets } = await world.one<{ secrets: Record<string, string> }>(
    sql`select secrets from attune.pack where ref = ${ref}`,
  );
  const opened = Object.entries(secrets).map(([path, sealed]) => [path, world.services.keyring.open(sealed)]);
  return Object.fromEntries(opened);
};

describe("a pack created by hand", () => {
  test("is created with the required fields or with all, and keeps their values", async () => {
    await create("small");
    expect(await findRow("small")).toMatchObject({ label: "small", config: {}, description: null, tags: [] });
    const confSchema = { region: { type: "string", default: "eu" }, size: { type: "integer", required: true } };
    await create("full", {
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
    expect(await findRow("full")).toMatchObject({ config: { region: "eu", size: 3 }, tags: ["a", "b"] });
  });

  test("is refused with every error at its path", async () => {
    await expect(
      create("Bad Ref", {
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
    await expect(create("bad", { confSchema, config: { size: "x", more: 1 } })).rejects.toMatchObject({
      issues: expect.arrayContaining([
        expect.objectContaining({ path: "config.size" }),
        expect.objectContaining({ path: "config.more" }),
      ]),
    });
    await create("taken");
    await expect(create("taken")).rejects.toMatchObject({
      code: "CONFLICT",
      message: 'There is a pack "taken" already.',
    });
  });

  test("changes only in the fields given, if any", async () => {
    await create("changed", { description: "Before.", tags: ["a"] });
    const before = await findRow("changed");
    await change("changed", {});
    expect(await findRow("changed")).toEqual(before);
    await change("changed", { label: "New", description: null });
    const after = await findRow("changed");
    expect(after).toMatchObject({ label: "New", description: null, tags: ["a"] });
    expect(after.updated > before.updated).toBe(true);
    await expect(change("changed", { label: "Late" }, new Date(before.updated))).rejects.toMatchObject({
      code: "CONFLICT",
    });
    await change("changed", { label: "In time" }, new Date(after.updated));
    await expect(change("missing", {})).rejects.toMatchObject({ code: "NOT_FOUND", kind: "pack", ref: "missing" });
    await expect(remove("missing")).rejects.toMatchObject({ code: "NOT_FOUND" });
  });

  test("keeps a secret whose masked text is sent back", async () => {
    const confSchema = { password: { type: "string", secret: true }, size: { type: "integer" } };
    await create("secretive", { confSchema, config: { password: "hunter22", size: 1 } });
    await change("secretive", { config: { password: "[secret]", size: 2 } });
    expect((await findRow("secretive")).config).toEqual({ password: "[secret]", size: 2 });
    expect(await sealedOf("secretive")).toEqual({ "/password": "hunter22" });
    await change("secretive", { config: { password: "hunter23" } });
    expect(await sealedOf("secretive")).toEqual({ "/password": "hunter23" });
    await change("secretive", { config: {} });
    expect(await sealedOf("secretive")).toEqual({});
    await expect(change("secretive", { config: { password: "[secret]" } })).rejects.toMatchObject({
      issues: [{ path: "config.password", message: "is hidden: give its value, because it has none yet" }],
    });
  });

  test("tells nothing about a secret by a schema that shows or checks it", async () => {
    const confSchema = {
      password: { type: "string", secret: true },
      auth: { type: "object", properties: { pin: { type: "string", secret: true } } },
    };
    await create("guessed", { confSchema, config: { password: "hunter22", auth: { pin: "481516" } } });
    const config = { password: "[secret]", auth: { pin: "[secret]" } };
    for (const schema of [
      { ...confSchema, password: { type: "string", secret: true, pattern: "^h" } },
      { ...confSchema, password: { type: "string", secret: true, pattern: "^x" } },
      { ...confSchema, password: { type: "string" } },
    ]) {
      for (const patch of [{ confSchema: schema, config }, { confSchema: schema }]) {
        await expect(change("guessed", patch)).rejects.toMatchObject({
          issues: [
            { path: "config.password", message: "is hidden: give its value, because its declaration has changed" },
          ],
        });
      }
    }
    const auth = { ...confSchema.auth, enum: [{ pin: "481516" }] };
    await expect(change("guessed", { confSchema: { ...confSchema, auth } })).rejects.toMatchObject({
      issues: [expect.objectContaining({ path: "config.auth.pin" })],
    });
    const reordered = { auth: confSchema.auth, password: { secret: true, type: "string" } };
    await change("guessed", { confSchema: reordered, config });
    expect(await sealedOf("guessed")).toEqual({ "/password": "hunter22", "/auth/pin": "481516" });
    await change("guessed", { confSchema: { password: { type: "string" } }, config: { password: "shown" } });
    expect((await findRow("guessed")).config).toEqual({ password: "shown" });
    expect(await sealedOf("guessed")).toEqual({});
  });
});

describe("deleting a pack", () => {
  test("takes along the permission sets, policies and artifacts that belong to it, and no others", async () => {
    const { services, session } = world;
    await create("leaving");
    await create("staying");
    for (const pack of ["leaving", "staying"]) {
      await commit(services, createPermissionSet, session, { ref: `${pack}.set` });
      await commit(services, createPolicy, session, { ref: `${pack}.limit`, method: "enqueue", threshold: 1 });
      await commit(services, createArtifact, session, {
        ref: `${pack}-report`,
        type: "other",
        scope: "pack",
        owner: pack,
      });
    }
    const left = () =>
      world.all<{ kind: string }>(
        sql`select split_part(ref, '.', 1) || ' set' as kind from attune.permission_set where pack_ref in ('leaving', 'staying')
          union all select split_part(ref, '.', 1) || ' policy' from attune.policy
          union all select owner || ' artifact' from attune.artifact order by 1`,
      );
    expect(await left()).toHaveLength(6);
    const ofPack = sql`select p.ref from attune.permission_set s join attune.pack p on p.id = s.pack where s.ref = 'leaving.set'`;
    expect(await world.one(ofPack)).toEqual({ ref: "leaving" });
    await remove("leaving");
    expect((await left()).map(({ kind }) => kind)).toEqual(["staying artifact", "staying policy", "staying set"]);
  });

  test("deletes its contents too", async () => {
    const { services, session } = world;
    await create("doomed");
    await commit(services, createAction, session, {
      ref: "doomed.ping",
      runtime: "core.action.builtin",
      entrypoint: "core.noop",
    });
    await remove("doomed");
    const remaining = sql`select ref from attune.action where ref = 'doomed.ping'`;
    expect(await world.all(remaining)).toEqual([]);
  });

  test("is refused for Attune's own packs, for owners of keys, and while an action of another pack needs its runtime", async () => {
    for (const ref of ["core", "default"]) {
      await expect(remove(ref)).rejects.toMatchObject({ code: "CONFLICT", message: expect.stringContaining("Attune") });
    }
    await create("owner");
    const token = { owner: { pack: "owner" }, name: "token", value: "s3cr3t!", encrypted: true, expectedUpdated: null };
    await commit(world.services, setKey, world.session, token);
    await expect(remove("owner")).rejects.toMatchObject({
      code: "CONFLICT",
      message: expect.stringContaining("pack.owner.token"),
    });
    await create("host");
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

describe("packs made by hand that need others", () => {
  test("are refused while those are missing or in another version, and in circles", async () => {
    await create("plank", { version: "1.4.0" });
    await expect(create("shelf", { dependencies: ["plank@^2", "nail"] })).rejects.toMatchObject({
      issues: [
        { path: "dependencies.0", message: 'expected "plank" in a version ^2, and it has the version 1.4.0' },
        { path: "dependencies.1", message: expect.stringContaining('there is no pack "nail"') },
      ],
    });
    await create("shelf", { dependencies: ["plank@^1.2"] });
    await expect(change("plank", { dependencies: ["shelf"] })).rejects.toMatchObject({
      issues: [
        {
          path: "dependencies.0",
          message: "the packs would depend on each other: plank needs shelf needs plank",
        },
      ],
    });
    await expect(change("shelf", { dependencies: ["plank@2"] })).rejects.toMatchObject({ code: "BAD_USER_INPUT" });
    await change("shelf", { dependencies: ["plank@>=1"] });
    await change("shelf", { dependencies: [] });
  });

  test("keep those: a version out of their ranges and a deletion are refused, with who needs what", async () => {
    await create("clay", { version: "1.0.0" });
    await create("brick", { version: "3.1.0", dependencies: ["clay@^1"] });
    await create("wall", { dependencies: ["brick", "clay"] });
    await change("clay", { version: "1.9.0" });
    await expect(change("clay", { version: "2.0.0" })).rejects.toMatchObject({
      issues: [
        {
          path: "version",
          message: '"brick" 3.1.0 (clay@^1) needs it in another version: update it first, or keep 1.9.0',
        },
      ],
    });
    await expect(remove("clay")).rejects.toMatchObject({
      code: "CONFLICT",
      message:
        '"brick" 3.1.0 (clay@^1) and "wall" 1.0.0 (clay) need the pack "clay": delete them first, or update them to versions that do without.',
    });
    // Sessions that may not read them learn how many there are.
    const grants = [
      { resource: "pack", actions: ["*"], constraints: { pack_refs: ["clay"] } },
      { resource: "pack", actions: ["read"], constraints: { pack_refs: ["wall"] } },
    ];
    const narrow = await createPerson(world.services, "potter", { grants });
    await expect(commit(world.services, deletePack, narrow, { ref: "clay" })).rejects.toMatchObject({
      message: expect.stringMatching(
        /^"wall" 1\.0\.0 \(clay\) and 1 other pack that you may not read need the pack "clay": /,
      ),
    });
    const patch = { version: "2.0.0" };
    await expect(commit(world.services, updatePack, narrow, { ref: "clay", patch })).rejects.toMatchObject({
      issues: [{ path: "version", message: expect.stringMatching(/^1 pack that you may not read needs it/) }],
    });
    await expect(
      commit(world.services, updatePack, narrow, { ref: "clay", patch: { dependencies: ["brick"] } }),
    ).rejects.toMatchObject({
      issues: [
        { path: "dependencies.0", message: expect.stringContaining('there is no pack "brick"') },
        { path: "dependencies.0", message: "the packs would depend on each other" },
      ],
    });
    await remove("wall");
    await change("brick", { dependencies: [] });
    await remove("clay");
  });
});

test("a pack is not deleted while another one that needs it is created, whichever comes first", async () => {
  for (let round = 0; round < 8; round += 1) {
    const [needed, needing] = [`needed${round}`, `needing${round}`];
    await create(needed);
    const ended = await Promise.allSettled([create(needing, { dependencies: [needed] }), remove(needed)]);
    expect(ended.map(({ status }) => status).sort()).toEqual(["fulfilled", "rejected"]);
    const left = await world.all<{ ref: string }>(
      sql`select ref from attune.pack where ref in (${needed}, ${needing}) order by ref`,
    );
    expect([[needed, needing], []]).toContainEqual(left.map(({ ref }) => ref));
  }
});

describe("a pack from files", () => {
  test("accepts changes only to its config, validated against its schema", async () => {
    await expect(change("core", { label: "Mine" })).rejects.toMatchObject({ code: "CONFLICT" });
    await world.all(sql`update attune.pack set conf_schema = '{"size": {"type": "integer"}}' where ref = 'core'`);
    await expect(change("core", { config: { size: "x" } })).rejects.toMatchObject({
      issues: [{ path: "config.size", message: "expected a whole number, not a string" }],
    });
    await change("core", { config: { size: 4 } });
    expect((await findRow("core")).config).toEqual({ size: 4 });
  });
});
