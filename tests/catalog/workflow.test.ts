import { sql } from "drizzle-orm";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Session } from "../../src/access/session.ts";
import {
  createWorkflowDefinition,
  deleteWorkflowDefinition,
  updateWorkflowDefinition,
} from "../../src/catalog/workflow.ts";
import type { JsonObject } from "../../src/lib/json.ts";
import { commit } from "../support/commit.ts";
import { createWorld, type World } from "../support/world.ts";

let world: World;
beforeAll(async () => {
  world = await createWorld();
});
afterAll(() => world[Symbol.asyncDispose]());

const graph: JsonObject = {
  tasks: [
    { name: "first", action: "core.noop", next: [{ do: "second" }] },
    { name: "second", action: "core.echo" },
  ],
};
const create = (ref: string, definition: JsonObject = graph, session: Session = world.session) =>
  commit(world.services, createWorkflowDefinition, session, { ref, definition });
const change = (ref: string, patch: object) =>
  commit(world.services, updateWorkflowDefinition, world.session, { ref, patch });
const findRow = (ref: string) =>
  world.one<{ row: Record<string, unknown> }>(
    sql`select to_jsonb(w) as row from attune.workflow_definition w where ref = ${ref}`,
  );

describe("a workflow", () => {
  test("is stored unchanged", async () => {
    await create("default.flow");
    expect((await findRow("default.flow")).row).toMatchObject({
      definition: graph,
      version: "1.0.0",
      pack_ref: "default",
    });
    await expect(create("default.flow")).rejects.toMatchObject({ code: "CONFLICT" });
    await expect(create("nowhere.flow")).rejects.toMatchObject({ code: "NOT_FOUND", kind: "pack" });
  });

  test.each<[string, JsonObject, string[]]>([
    ["no tasks", {}, ["definition.tasks"]],
    ["an empty list", { tasks: [] }, ["definition.tasks"]],
    ["tasks that are none", { tasks: ["core.noop"] }, ["definition.tasks.0"]],
    ["a task without anything", { tasks: [{}] }, ["definition.tasks.0.name", "definition.tasks.0.action"]],
    [
      "a duplicate name and an unknown action",
      {
        tasks: [
          { name: "a", action: "core.noop" },
          { name: "a", action: "core.nop" },
        ],
      },
      ["definition.tasks.1.name", "definition.tasks.1.action"],
    ],
  ])("with %s is refused at its place", async (_what, definition, paths) => {
    await expect(create("default.faulty", definition)).rejects.toMatchObject({
      code: "BAD_USER_INPUT",
      issues: paths.map((path) => expect.objectContaining({ path })),
    });
  });

  test("contains only actions that its author may execute and grants that the author holds", async () => {
    const author: Session = {
      ...world.session,
      grants: [
        { resource: "workflow_definition", actions: ["create"] },
        { resource: "action", actions: ["execute"], constraints: { refs: ["core.noop"] } },
      ],
    };
    // An unreadable action is not found.
    await expect(create("default.beyond", graph, author)).rejects.toMatchObject({
      issues: [{ path: "definition.tasks.1.action" }],
    });
    const reader = { ...author, grants: [...author.grants, { resource: "*", actions: ["read"] }] };
    await expect(create("default.beyond", graph, reader)).rejects.toMatchObject({ code: "FORBIDDEN" });
    const task = { name: "a", action: "core.noop" };
    await create("default.within", { tasks: [task] }, author);
    const privileged = { tasks: [{ ...task, permission_set_refs: ["core.admin"] }] };
    const hidden = { code: "NOT_FOUND", kind: "permission_set", ref: "core.admin" };
    await expect(create("default.beyond", privileged, author)).rejects.toMatchObject(hidden);
    await expect(create("default.beyond", privileged, reader)).rejects.toMatchObject({ code: "FORBIDDEN" });
  });

  test("changes only in the fields given, and is deleted", async () => {
    await create("default.changing");
    const { row } = await findRow("default.changing");
    await change("default.changing", {});
    expect((await findRow("default.changing")).row).toEqual(row);
    await change("default.changing", { version: "1.1.0", tags: ["x"] });
    expect((await findRow("default.changing")).row).toMatchObject({ version: "1.1.0", tags: ["x"], definition: graph });
    await expect(change("default.changing", { definition: { tasks: [] }, version: "1" })).rejects.toMatchObject({
      issues: [{ path: "version" }],
    });
    await world.all(sql`insert into attune.action (ref, label, entrypoint, workflow) select 'default.stand_in', 'S', 's', id
      from attune.workflow_definition where ref = 'default.changing'`);
    const { services, session } = world;
    await commit(services, deleteWorkflowDefinition, session, { ref: "default.changing" });
    expect(await world.one(sql`select workflow from attune.action where ref = 'default.stand_in'`)).toEqual({
      workflow: null,
    });
    const gone = commit(services, deleteWorkflowDefinition, session, { ref: "default.changing" });
    await expect(gone).rejects.toMatchObject({ code: "NOT_FOUND" });
  });
});
