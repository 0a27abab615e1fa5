import { sql } from "drizzle-orm";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Grant } from "../../src/access/grants.ts";
import { setEnabled } from "../../src/access/rows.ts";
import type { Session } from "../../src/access/session.ts";
import { createAction, deleteAction, updateAction } from "../../src/catalog/action.ts";
import { commit } from "../support/commit.ts";
import { createWorld, type World } from "../support/world.ts";

let world: World;
beforeAll(async () => {
  world = await createWorld();
  await world.startWorker();
});
afterAll(() => world[Symbol.asyncDispose]());

const noop = { runtime: "core.action.builtin", entrypoint: "core.noop" };
const create = (ref: string, fields: object = {}, session: Session = world.session) =>
  commit(world.services, createAction, session, { ref, ...noop, ...fields });
const change = (ref: string, patch: object, session: Session = world.session) =>
  commit(world.services, updateAction, session, { ref, patch });
const holding = (...grants: Grant[]): Session => ({ ...world.session, grants });
const findRow = (ref: string) =>
  world.one<{ row: Record<string, unknown> }>(sql`select to_jsonb(a) as row from attune.action a where ref = ${ref}`);

describe("an action created by hand", () => {
  test("runs a built-in with its own parameters, or a file of its pack's release", async () => {
    await create("default.ping", { paramSchema: { note: { type: "string", default: "hi" } }, timeoutSeconds: 5 });
    const ping = await world.ended(await world.execute("default.ping"));
    expect(ping).toMatchObject({ status: "completed", config: { note: "hi" } });
    await create("core.loud", {
      runtime: "core.action.shell",
      entrypoint: "actions/echo.sh",
      parameterDelivery: "file",
      parameterFormat: "dotenv",
      paramSchema: { message: { type: "string", default: "loud" } },
    });
    const loud = await world.ended(await world.execute("core.loud"));
    expect(loud.result).toMatchObject({ exit_code: 0, data: expect.stringContaining("loud") });
  });

  test("cannot run anything else", async () => {
    const entrypoint = (fields: object) => create("default.odd", fields);
    const refused = (message: string) => ({
      code: "BAD_USER_INPUT",
      issues: [{ path: "entrypoint", message: expect.stringContaining(message) }],
    });
    await expect(entrypoint({ entrypoint: "core.nop" })).rejects.toMatchObject(refused('did you mean "core.noop"?'));
    await expect(entrypoint({ entrypoint: "core.inquire" })).rejects.toMatchObject(refused("one of"));
    const shell = { runtime: "core.action.shell", entrypoint: "actions/echo.sh" };
    await expect(entrypoint(shell)).rejects.toMatchObject(refused("use core.action.builtin"));
    for (const path of ["../../etc/passwd", "/bin/sh", "actions/shell.sh"]) {
      await expect(create("core.odd", { ...shell, entrypoint: path })).rejects.toMatchObject(refused("one of"));
    }
    await expect(entrypoint({ runtime: "core.action.none" })).rejects.toMatchObject({
      code: "NOT_FOUND",
      kind: "runtime",
    });
    await expect(entrypoint({ runtime: "core.sensor.shell" })).rejects.toMatchObject({ issues: [{ path: "runtime" }] });
    await expect(create("nowhere.odd")).rejects.toMatchObject({ code: "NOT_FOUND", kind: "pack" });
  });

  test("is refused with every error at its path", async () => {
    await expect(
      create("default.faulty", { paramSchema: { message: { type: "txt" } }, timeoutSeconds: 0, label: "" }),
    ).rejects.toMatchObject({
      issues: expect.arrayContaining(
        ["paramSchema.message.type", "timeoutSeconds", "label"].map((path) => expect.objectContaining({ path })),
      ),
    });
    await create("default.twice");
    await expect(create("default.twice")).rejects.toMatchObject({ code: "CONFLICT" });
  });

  test("does not bypass grants: to execute what it runs, or those in its permission sets", async () => {
    const blind: Grant[] = [
      { resource: "action", actions: ["create", "update"] },
      { resource: "action", actions: ["execute"], constraints: { except_refs: ["core.noop"] } },
    ];
    const creator = holding(...blind, { resource: "*", actions: ["read"] });
    await expect(create("default.detour", {}, creator)).rejects.toMatchObject({ code: "FORBIDDEN" });
    // Unreadable rows are not found: the runtime, and the action that runs the same entry point.
    await expect(create("default.detour", {}, holding(...blind))).rejects.toMatchObject({
      code: "NOT_FOUND",
      kind: "runtime",
    });
    const half = holding(...blind, { resource: "runtime", actions: ["read"] });
    await expect(create("default.detour", {}, half)).rejects.toMatchObject({
      issues: [{ path: "entrypoint", message: expect.not.stringContaining("core.noop") }],
    });
    await create("default.detour", { entrypoint: "core.http_request" }, creator);
    await expect(change("default.detour", noop, creator)).rejects.toMatchObject({ code: "FORBIDDEN" });
    const sets = { entrypoint: "core.http_request", permissionSetRefs: ["core.admin"] };
    await expect(create("default.grand", sets, creator)).rejects.toMatchObject({ code: "FORBIDDEN" });
    await create("default.grand", sets);
    await expect(change("default.grand", { label: "Mine" }, creator)).rejects.toMatchObject({ code: "FORBIDDEN" });
    const none = { code: "NOT_FOUND", kind: "permission_set", ref: "core.none" };
    await expect(create("default.no_set", { permissionSetRefs: ["core.none"] })).rejects.toMatchObject(none);
    const reader = holding({ resource: "action", actions: ["read"] });
    await expect(change("default.grand", {}, reader)).rejects.toMatchObject({ code: "FORBIDDEN" });
    await expect(change("default.missing", {}, reader)).rejects.toMatchObject({ code: "NOT_FOUND" });
  });

  test("changes only in the fields given, if any", async () => {
    await create("default.changing", { description: "Before.", timeoutSeconds: 5 });
    const { row } = await findRow("default.changing");
    await change("default.changing", {});
    expect((await findRow("default.changing")).row).toEqual(row);
    await change("default.changing", { timeoutSeconds: null, outputFormat: "json" });
    expect((await findRow("default.changing")).row).toMatchObject({
      timeout_seconds: null,
      output_format: "json",
      label: "default.changing",
      description: "Before.",
    });
    await expect(change("default.gone", {})).rejects.toMatchObject({ code: "NOT_FOUND", ref: "default.gone" });
  });

  test("is deleted, and its executions keep its ref", async () => {
    const { services, session } = world;
    await create("default.brief");
    const id = await world.execute("default.brief");
    await world.ended(id);
    await commit(services, deleteAction, session, { ref: "default.brief" });
    expect(await world.execution(id)).toMatchObject({ action: null, status: "completed" });
    await expect(commit(services, deleteAction, session, { ref: "default.brief" })).rejects.toMatchObject({
      code: "NOT_FOUND",
    });
  });
});

test("users can only enable or disable a pack's own action", async () => {
  const { services, session } = world;
  await expect(change("core.echo", { label: "Mine" })).rejects.toMatchObject({ code: "CONFLICT" });
  await expect(commit(services, deleteAction, session, { ref: "core.echo" })).rejects.toMatchObject({
    code: "CONFLICT",
  });
  await commit(services, setEnabled("action"), session, { ref: "core.echo", enabled: false });
  await expect(world.execute("core.echo", { message: "x" })).rejects.toMatchObject({ code: "CONFLICT" });
  await change("core.echo", { enabled: true });
  expect((await findRow("core.echo")).row).toMatchObject({ enabled: true });
});
