import { isInputObjectType } from "graphql";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Grant } from "../../src/access/grants.ts";
import { schema } from "../../src/graphql/schema.ts";
import type { Row } from "../db/model/sample.ts";
import { createMatrix, type Matrix } from "./matrix/setup.ts";

let matrix: Matrix;
beforeAll(async () => {
  matrix = await createMatrix();
  await must("createSensor", { ref: "alpha.watcher", runtime: "core.sensor.shell", entrypoint: "watch.sh" });
});
afterAll(() => matrix[Symbol.asyncDispose]());

/** A field of a mutation's input that names another row than the one created or changed. */
interface Naming {
  mutation: string;
  field: string;
  /** The resource that it names, and an existing row of it. */
  names: string;
  existing: string;
  /** The input that names it. */
  input(ref: string): Row;
  /** Creates the row that an update changes. */
  before?: readonly [string, Row];
  /** The grants that the verb requires for its own row and for the other names. */
  grants: readonly Grant[];
  /** The result once the role may read the named row. */
  readable: "done" | "ForbiddenError";
}

const inAlpha = { pack_refs: ["alpha"] };
const grant = (resource: string, actions: string[], constraints?: Grant["constraints"]): Grant => ({
  resource,
  actions,
  constraints,
});
const execute = grant("action", ["execute"]);
const noop = { runtime: "core.action.builtin", entrypoint: "core.noop" };
const watch = { runtime: "core.sensor.shell", entrypoint: "watch.sh" };
const atMost = { rateMax: 1, rateWindowSeconds: 60 };
const connection = { trigger: "core.webhook", action: "core.noop" };

/** The field in the create mutation and in the update mutation. */
function both(
  kind: string,
  base: Row,
  { also = [], ...naming }: Pick<Naming, "field" | "names" | "existing" | "readable"> & { also?: readonly Grant[] },
): Naming[] {
  const grantsOf = (action: string) => [grant(kind.toLowerCase(), [action], inAlpha), ...also];
  return [
    {
      ...naming,
      mutation: `create${kind}`,
      input: (ref) => ({ ref: "{new}", ...base, [naming.field]: ref }),
      grants: grantsOf("create"),
    },
    {
      ...naming,
      mutation: `update${kind}`,
      before: [`create${kind}`, { ref: "{new}", ...base }],
      input: (ref) => ({ ref: "{new}", [naming.field]: ref }),
      grants: grantsOf("update"),
    },
  ];
}

const owners = { identity: "somebody", pack: "core", action: "core.noop", sensor: "alpha.watcher" };
const content = { contentType: "text/plain", size: "1", sha256: "ab".repeat(32) };

const namings: readonly Naming[] = [
  ...both("Action", noop, {
    field: "runtime",
    names: "runtime",
    existing: "core.action.builtin",
    readable: "done",
    also: [execute],
  }),
  ...both("Sensor", watch, { field: "runtime", names: "runtime", existing: "core.sensor.python", readable: "done" }),
  ...both("Trigger", {}, { field: "sensor", names: "sensor", existing: "alpha.watcher", readable: "done" }),
  ...both(
    "Policy",
    { ...atMost, pack: "alpha" },
    {
      field: "pack",
      names: "pack",
      existing: "core",
      readable: "ForbiddenError",
    },
  ),
  ...both("Rule", connection, {
    field: "trigger",
    names: "trigger",
    existing: "core.alert",
    readable: "done",
    also: [execute],
  }),
  ...both("Rule", connection, {
    field: "action",
    names: "action",
    existing: "core.noop",
    readable: "ForbiddenError",
    also: [grant("trigger", ["read"])],
  }),
  {
    mutation: "createPolicy",
    field: "action",
    names: "action",
    existing: "core.noop",
    input: (ref) => ({ ref: "{new}", ...atMost, action: ref }),
    grants: [grant("policy", ["create"], inAlpha)],
    readable: "ForbiddenError",
  },
  {
    mutation: "updatePolicy",
    field: "action",
    names: "action",
    existing: "core.noop",
    before: ["createPolicy", { ref: "{new}", ...atMost, pack: "alpha" }],
    input: (ref) => ({ ref: "{new}", action: ref, pack: null }),
    grants: [grant("policy", ["update"], inAlpha)],
    readable: "ForbiddenError",
  },
  {
    mutation: "createEvent",
    field: "trigger",
    names: "trigger",
    existing: "core.webhook",
    input: (ref) => ({ trigger: ref, payload: {} }),
    grants: [grant("event", ["create"], inAlpha)],
    readable: "ForbiddenError",
  },
  {
    mutation: "createInquiry",
    field: "assignedTo",
    names: "identity",
    existing: "somebody",
    input: (ref) => ({ prompt: "?", assignedTo: ref }),
    grants: [grant("inquiry", ["create"], { owner: "self" })],
    readable: "ForbiddenError",
  },
  ...["createArtifact", "createArtifactUpload"].map(
    (mutation): Naming => ({
      mutation,
      field: "owner",
      names: "identity",
      existing: "somebody",
      input: (ref) => ({
        ref: "{new}",
        type: "OTHER",
        scope: "IDENTITY",
        owner: ref,
        ...(mutation === "createArtifact" ? {} : content),
      }),
      grants: [grant("artifact", ["create"], { owner: "self" })],
      readable: "ForbiddenError",
    }),
  ),
  ...Object.entries(owners).map(
    ([names, existing]): Naming => ({
      mutation: "setKey",
      field: "owner",
      names,
      existing,
      input: (ref) => ({ owner: { [names]: ref }, name: "{name}", value: "secret" }),
      grants: [grant("key", ["create"], inAlpha)],
      readable: "ForbiddenError",
    }),
  ),
  ...["createApiToken", "setPassword"].map(
    (mutation): Naming => ({
      mutation,
      field: "login",
      names: "identity",
      existing: "somebody",
      input: (ref) =>
        mutation === "setPassword" ? { login: ref, password: "correct horse battery" } : { login: ref, label: "t" },
      grants: [grant("identity", ["update"], { refs: ["nobody"] })],
      readable: "ForbiddenError",
    }),
  ),
];

let count = 0;
const withNames = (input: Row, ref: string): Row => JSON.parse(JSON.stringify(input).replaceAll("{new}", ref));

async function ask(grants: readonly Grant[], mutation: string, input: Row): Promise<string> {
  count += 1;
  const role = { name: `namer ${count}`, identity: matrix.seeds.me, grants };
  const type = `${mutation.charAt(0).toUpperCase()}${mutation.slice(1)}`;
  const filled = JSON.parse(JSON.stringify(input).replaceAll("{name}", `name${count}`));
  const { data, errors } = await matrix.server.ask(
    role,
    `mutation($input: ${type}Input!) { ${mutation}(input: $input) { __typename ... on Error { message } } }`,
    { input: filled },
  );
  expect(errors, mutation).toBeUndefined();
  const { __typename, message } = data[mutation];
  return __typename === `${type}Payload` ? "done" : `${__typename}: ${message}`;
}

async function must(mutation: string, input: Row): Promise<void> {
  expect(await ask(matrix.admin.grants, mutation, input)).toBe("done");
}

describe("another row that an input names", () => {
  test("is tested here for every such field", () => {
    const fields = ["runtime", "sensor", "action", "trigger", "pack", "owner", "assignedTo"];
    const declared = Object.values(schema.getTypeMap()).flatMap((type) => {
      if (!isInputObjectType(type) || !/^(Create|Update|Set)\w+Input$/.test(type.name)) return [];
      const mutation = `${type.name.charAt(0).toLowerCase()}${type.name.slice(1, -"Input".length)}`;
      return Object.keys(type.getFields()).flatMap((field) => (fields.includes(field) ? [`${mutation}.${field}`] : []));
    });
    const tested = new Set(namings.map(({ mutation, field }) => `${mutation}.${field}`));
    expect(declared.length).toBeGreaterThan(15);
    expect(declared.filter((each) => !tested.has(each))).toEqual([]);
  });

  test.each(namings.map((naming) => [naming.mutation, naming.field, naming.names, naming] as const))(
    "%s: a row that may not be read is not found (%s: %s)",
    async (mutation, _field, names, { existing, input, before, grants, readable }) => {
      const missing = `${existing}-missing`;
      const attempt = async (held: readonly Grant[], named: string) => {
        count += 1;
        const ref = `alpha.created_${count}`;
        if (before) await must(before[0], withNames(before[1], ref));
        return await ask(held, mutation, withNames(input(named), ref));
      };
      const notFound = (ref: string) => `NotFoundError: There is no ${names} "${ref}".`;
      expect(await attempt(grants, existing)).toBe(notFound(existing));
      expect(await attempt(grants, missing)).toBe(notFound(missing));
      const reading = [...grants, grant(names, ["read"])];
      expect(await attempt(reading, existing)).toMatch(new RegExp(`^${readable}\\b`));
      expect(await attempt(reading, missing)).toBe(notFound(missing));
    },
  );

  test("the tasks of a workflow: an action that may not be read is not found", async () => {
    const attempt = (held: readonly Grant[], action: string) =>
      ask([grant("workflow_definition", ["create"], inAlpha), ...held], "createWorkflowDefinition", {
        ref: "alpha.{name}",
        definition: { tasks: [{ name: "one", action }] },
      });
    const unknown = (ref: string) => `InvalidInputError: definition.tasks.0.action: there is no action "${ref}"`;
    expect(await attempt([], "core.noop")).toBe(unknown("core.noop"));
    expect(await attempt([], "core.missing")).toBe(unknown("core.missing"));
    expect(await attempt([grant("action", ["read"])], "core.noop")).toMatch(/^ForbiddenError\b/);
    expect(await attempt([execute], "core.noop")).toBe("done");
  });
});

describe("a row that is created unless it exists", () => {
  const key = (name: string) => ({ owner: { pack: "alpha" }, name, value: "secret" });
  const upload = (ref: string) => ({ ref, type: "OTHER", ...content });

  test.each<[string, string, (name: string) => Row, string]>([
    ["setKey", "key", key, "pack.alpha.there"],
    ["createArtifactUpload", "artifact", upload, "there"],
  ])(
    "%s: an unreadable row conflicts for a role that may create it, and no other role learns of it",
    async (mutation, resource, input, ref) => {
      await must(mutation, input("there"));
      const creator = [grant(resource, ["create"])];
      const conflict = new RegExp(`^ConflictError: There is an? ${resource} "${ref}" already\\.$`);
      expect(await ask(creator, mutation, input("there"))).toMatch(conflict);
      expect(await ask(creator, mutation, input("new"))).toBe("done");
      const other = [grant(resource, ["create", "update"], { refs: ["another"] }), grant("pack", ["read"])];
      const refused = async (name: string) => (await ask(other, mutation, input(name))).replace(name, "NAME");
      expect(await refused("there")).toMatch(/^ForbiddenError\b/);
      expect(await refused("there")).toBe(await refused("nowhere"));
      const reader = [...other, grant(resource, ["read"])];
      expect(await ask(reader, mutation, input("there"))).toMatch(/^ForbiddenError: You may not update\b/);
    },
  );
});
