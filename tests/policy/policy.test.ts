import { sql } from "drizzle-orm";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Grant } from "../../src/access/grants.ts";
import type { Session } from "../../src/access/session.ts";
import {
  createPolicy,
  deletePolicy,
  type PolicyFields,
  setPolicyEnabled,
  updatePolicy,
} from "../../src/policy/policy.ts";
import { commit } from "../support/commit.ts";
import { createWorld, type World } from "../support/world.ts";

let world: World;
beforeAll(async () => {
  world = await createWorld();
});
afterAll(() => world[Symbol.asyncDispose]());

const atMost = (threshold: number) => ({ method: "enqueue", threshold }) as const;
const create = (ref: string, fields: PolicyFields = atMost(1), session: Session = world.session) =>
  commit(world.services, createPolicy, session, { ref, ...fields });
const change = (ref: string, patch: PolicyFields, session: Session = world.session) =>
  commit(world.services, updatePolicy, session, { ref, patch });
const remove = (ref: string, session: Session = world.session) =>
  commit(world.services, deletePolicy, session, { ref });
const holding = (...grants: Grant[]): Session => ({ ...world.session, grants });
const findRow = (ref: string) =>
  world.one<Record<string, unknown>>(
    sql`select p.name, p.enabled, p.method, p.threshold, p.rate_max as rate, p.rate_window_seconds as seconds, a.ref as action, k.ref as pack
      from attune.policy p left join attune.action a on a.id = p.action left join attune.pack k on k.id = p.pack where p.ref = ${ref}`,
  );

describe("a policy", () => {
  test("applies to an action, a pack's actions, or all actions", async () => {
    await create("default.all");
    expect(await findRow("default.all")).toMatchObject({ name: "default.all", action: null, pack: null, threshold: 1 });
    await create("default.one", {
      ...atMost(2),
      action: "core.echo",
      parameters: ["message"],
      tags: ["x"],
      priority: -1,
    });
    expect(await findRow("default.one")).toMatchObject({ action: "core.echo", pack: null });
    await create("default.packs", { rateMax: 5, rateWindowSeconds: 60, pack: "core" });
    expect(await findRow("default.packs")).toMatchObject({ pack: "core", method: null, rate: 5, seconds: 60 });
    await expect(create("default.odd", { ...atMost(1), action: "core.none" })).rejects.toMatchObject({
      kind: "action",
    });
    await expect(create("default.odd", { ...atMost(1), pack: "none" })).rejects.toMatchObject({ kind: "pack" });
    await expect(create("nowhere.odd")).rejects.toMatchObject({ code: "NOT_FOUND", kind: "pack" });
    await expect(create("default.all")).rejects.toMatchObject({ code: "CONFLICT" });
  });

  test.each<[string, PolicyFields, string[]]>([
    ["nothing to limit", {}, ["threshold"]],
    ["a method without a threshold", { method: "cancel" }, ["threshold"]],
    ["a threshold without a method", { threshold: 1 }, ["method"]],
    ["half a rate", { ...atMost(1), rateMax: 1 }, ["rateWindowSeconds"]],
    ["the other half", { rateWindowSeconds: 1 }, ["rateMax"]],
    [
      "no limits",
      { method: "cancel", threshold: 0, rateMax: -1, rateWindowSeconds: 0 },
      ["threshold", "rateMax", "rateWindowSeconds"],
    ],
    ["two faults at once", { threshold: 1, rateMax: 1 }, ["method", "rateWindowSeconds"]],
    ["an action and a pack", { ...atMost(1), action: "core.echo", pack: "core" }, ["pack"]],
  ])("with %s is refused at its fields", async (_what, fields, paths) => {
    await expect(create("default.faulty", fields)).rejects.toMatchObject({
      code: "BAD_USER_INPUT",
      issues: paths.map((path) => expect.objectContaining({ path })),
    });
  });

  test("changes only in the fields given, and must be valid as a whole", async () => {
    await create("default.changing", { ...atMost(3), action: "core.echo" });
    await change("default.changing", {});
    await change("default.changing", { threshold: 4 });
    expect(await findRow("default.changing")).toMatchObject({ threshold: 4, method: "enqueue", action: "core.echo" });
    await change("default.changing", {
      method: null,
      threshold: null,
      rateMax: 1,
      rateWindowSeconds: 5,
      action: null,
      pack: "core",
    });
    expect(await findRow("default.changing")).toMatchObject({ threshold: null, rate: 1, action: null, pack: "core" });
    await expect(change("default.changing", { rateMax: null })).rejects.toMatchObject({
      issues: [{ path: "rateMax" }],
    });
    await expect(change("default.changing", { action: "core.echo" })).rejects.toMatchObject({
      issues: [{ path: "pack" }],
    });
    await commit(world.services, setPolicyEnabled, world.session, { ref: "default.changing", enabled: false });
    expect(await findRow("default.changing")).toMatchObject({ enabled: false });
    await remove("default.changing");
    await expect(remove("default.changing")).rejects.toMatchObject({ code: "NOT_FOUND" });
    await expect(change("default.changing", {})).rejects.toMatchObject({ code: "NOT_FOUND" });
  });

  test("reaches no further than the grants of the user who creates or changes it", async () => {
    const local = holding({
      resource: "policy",
      actions: ["create", "update", "delete"],
      constraints: { pack_refs: ["default"] },
    });
    await expect(create("default.global", atMost(1), local)).rejects.toMatchObject({ code: "FORBIDDEN" });
    const onCore = { ...atMost(1), action: "core.echo" };
    await expect(create("default.core", onCore, local)).rejects.toMatchObject({ code: "NOT_FOUND", kind: "action" });
    const reader = { ...local, grants: [...local.grants, { resource: "action", actions: ["read"] }] };
    await expect(create("default.core", onCore, reader)).rejects.toMatchObject({ code: "FORBIDDEN" });
    await create("default.local", { ...atMost(1), pack: "default" }, local);
    await expect(change("default.local", { pack: null }, local)).rejects.toMatchObject({ code: "FORBIDDEN" });
    await create("default.wide");
    await expect(change("default.wide", { pack: "default" }, local)).rejects.toMatchObject({ code: "FORBIDDEN" });
    await expect(remove("default.wide", local)).rejects.toMatchObject({ code: "FORBIDDEN" });
    const disabling = commit(world.services, setPolicyEnabled, local, { ref: "default.wide", enabled: false });
    await expect(disabling).rejects.toMatchObject({ code: "FORBIDDEN" });
    await remove("default.local", local);
  });
});
