import { sql } from "drizzle-orm";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Grant } from "../../src/access/grants.ts";
import type { Session } from "../../src/access/session.ts";
import type { Row } from "../db/model/sample.ts";
import { type Api, createApi, createPerson } from "../support/api.ts";
import { createWorld, type World } from "../support/world.ts";

let world: World;
let api: Api;
let me: Session;

/** A set that the session holds, one that it does not hold, one with an unreadable grant, and one that does not exist. */
const sets = { held: "default.held", wide: "default.wide", broken: "default.broken", missing: "default.missing" };

const held: Grant = { resource: "rule", actions: ["read"] };
const reading: Grant = { resource: "permission_set", actions: ["read"] };
const assigning: Grant = { resource: "permission_set", actions: ["assign"] };

beforeAll(async () => {
  world = await createWorld();
  api = await createApi(world.services);
  me = await createPerson(world.services, "me", { grants: [] });
  await must("createPermissionSet", { ref: sets.held, grants: [held] });
  await must("createPermissionSet", { ref: sets.wide, grants: [held, { resource: "rule", actions: ["delete"] }] });
  await must("createPermissionSet", { ref: sets.broken });
  await world.all(
    sql`update attune.permission_set set grants = '[{"resource": "rule", "constraints": {"packs": ["ops"]}}]' where ref = ${sets.broken}`,
  );
  await must("createTrigger", { ref: "default.seen" });
  await must("createIdentity", { login: "friend" });
});
afterAll(async () => {
  await api[Symbol.asyncDispose]();
  await world[Symbol.asyncDispose]();
});

async function ask(session: Session, mutation: string, input: Row): Promise<string> {
  const type = `${mutation.charAt(0).toUpperCase()}${mutation.slice(1)}`;
  const { data, errors } = await api.ask(
    session,
    `mutation($input: ${type}Input!) { ${mutation}(input: $input) { __typename ... on Error { message } } }`,
    { input },
  );
  expect(errors, mutation).toBeUndefined();
  const { __typename, message } = data[mutation];
  return __typename === `${type}Payload` ? "done" : `${__typename}: ${message}`;
}

async function must(mutation: string, input: Row): Promise<void> {
  expect(await ask(world.session, mutation, input)).toBe("done");
}

let count = 0;
const next = (kind: string) => {
  count += 1;
  return `${kind}${count}`;
};

const noop = { runtime: "core.action.builtin", entrypoint: "core.noop" };
const graph = (permission_set_refs: string[]) => ({
  tasks: [{ name: "one", action: "core.noop", permission_set_refs }],
});
const grant = (resource: string, ...actions: string[]): Grant => ({ resource, actions });

/** Creates an action with the permission set; a missing set was deleted after the action was created. */
async function actionWith(set: string): Promise<string> {
  const ref = `default.${next("action")}`;
  await must("createAction", { ref, ...noop });
  await world.all(sql`update attune.action set permission_set_refs = array[${set}] where ref = ${ref}`);
  return ref;
}

/** Every verb that passes on a permission set, with the other grants that it requires. */
const verbs: readonly (readonly [string, readonly Grant[], (set: string) => Promise<Row>])[] = [
  [
    "createAction",
    [grant("action", "create", "execute"), grant("runtime", "read")],
    async (set) => ({ ref: `default.${next("made")}`, ...noop, permissionSetRefs: [set] }),
  ],
  [
    "updateAction",
    [grant("action", "update", "execute")],
    async (set) => {
      const ref = `default.${next("made")}`;
      await must("createAction", { ref, ...noop });
      return { ref, permissionSetRefs: [set] };
    },
  ],
  ["executeAction", [grant("action", "execute")], async (set) => ({ action: await actionWith(set), parameters: {} })],
  [
    "createRule",
    [grant("rule", "create"), grant("trigger", "read"), grant("action", "execute")],
    async (set) => ({ ref: `default.${next("made")}`, trigger: "default.seen", action: await actionWith(set) }),
  ],
  [
    "createWorkflowDefinition",
    [grant("workflow_definition", "create"), grant("action", "execute")],
    async (set) => ({ ref: `default.${next("made")}`, definition: graph([set]) }),
  ],
  [
    "updateWorkflowDefinition",
    [grant("workflow_definition", "update"), grant("action", "execute")],
    async (set) => {
      const ref = `default.${next("made")}`;
      await must("createWorkflowDefinition", { ref, definition: graph([]) });
      return { ref, definition: graph([set]) };
    },
  ],
  ["createApiToken", [], async (set) => ({ label: "t", permissionSetRefs: [set] })],
];

/** Verbs that also require a grant to assign the set. */
const assigningVerbs: typeof verbs = [
  ["createIdentity", [grant("identity", "create")], async (set) => ({ login: next("new"), permissionSets: [set] })],
  ["assignPermissionSet", [grant("identity", "update")], async (set) => ({ login: "friend", permissionSet: set })],
  ["addPermissionSetToRole", [], async (set) => ({ role: next("role"), permissionSet: set })],
];

const notFound = (set: string) => `NotFoundError: There is no permission set "${set}".`;
const notHeld = "ForbiddenError: You may not grant rule:delete: you do not hold it yourself.";
const notAssigned = /^ForbiddenError: You may not assign the permission set/;

describe("a verb that passes on a permission set requires every grant in it", () => {
  test.each(verbs)("%s", async (mutation, grants, input) => {
    const attempt = async (set: string, ...more: Grant[]) =>
      await ask({ ...me, grants: [...grants, held, ...more] }, mutation, await input(set));
    expect(await attempt(sets.missing, reading)).toBe(notFound(sets.missing));
    expect(await attempt(sets.missing)).toBe(notFound(sets.missing));
    expect(await attempt(sets.wide)).toBe(notFound(sets.wide));
    expect(await attempt(sets.wide, reading)).toBe(notHeld);
    expect(await attempt(sets.wide, assigning)).toBe(notHeld);
    // A set whose grants are all held may be passed on without reading it; an unreadable grant grants nothing.
    expect(await attempt(sets.held)).toBe("done");
    expect(await attempt(sets.broken)).toBe("done");
  });

  test.each(assigningVerbs)("%s, and the grant to assign it", async (mutation, grants, input) => {
    const attempt = async (set: string, ...more: Grant[]) =>
      await ask({ ...me, grants: [...grants, held, ...more] }, mutation, await input(set));
    const another: Grant = { ...assigning, constraints: { refs: ["default.another"] } };
    expect(await attempt(sets.missing, reading, assigning)).toBe(notFound(sets.missing));
    expect(await attempt(sets.missing, another)).toBe(notFound(sets.missing));
    expect(await attempt(sets.wide, another)).toBe(notFound(sets.wide));
    expect(await attempt(sets.wide, another, reading)).toMatch(notAssigned);
    expect(await attempt(sets.wide, assigning)).toBe(notHeld);
    expect(await attempt(sets.held, another)).toBe(notFound(sets.held));
    expect(await attempt(sets.held, another, reading)).toMatch(notAssigned);
    expect(await attempt(sets.held, assigning)).toBe("done");
    expect(await attempt(sets.broken, assigning)).toBe("done");
  });
});
