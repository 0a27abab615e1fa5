import { sql } from "drizzle-orm";
import { type GraphQLInputObjectType, isInputObjectType, isRequiredInputField } from "graphql";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { schema } from "../../src/graphql/schema.ts";
import { readCatalog } from "../db/model/catalog.ts";
import type { Row } from "../db/model/sample.ts";
import { type Api, createApi } from "../support/api.ts";
import { createWorld, type World } from "../support/world.ts";

let world: World;
let api: Api;
let catalog: Awaited<ReturnType<typeof readCatalog>>;
beforeAll(async () => {
  world = await createWorld();
  api = await createApi(world.services);
  catalog = await readCatalog(world.services.db);
  await mutate("createSensor", { ref: "default.watcher", runtime: "core.sensor.shell", entrypoint: "watch.sh" });
  await mutate("createTrigger", { ref: "default.seen" });
  await mutate("createPack", { ref: "mine" });
});
afterAll(async () => {
  await api[Symbol.asyncDispose]();
  await world[Symbol.asyncDispose]();
});

const parameters = { size: { type: "integer" } };

/** The required fields of each entity, and a value for each field that can be empty. */
const entities: Readonly<Record<string, { needs: Row; filled: Row; instead?: Readonly<Record<string, Row>> }>> = {
  Pack: { needs: {}, filled: { description: "d" } },
  Runtime: { needs: {}, filled: { description: "d", installation: { a: 1 } } },
  Action: {
    needs: { runtime: "core.action.builtin", entrypoint: "core.noop" },
    filled: { description: "d", paramSchema: parameters, outSchema: parameters, timeoutSeconds: 5, retry: { max: 1 } },
  },
  Trigger: {
    needs: {},
    filled: { description: "d", paramSchema: parameters, outSchema: parameters, sensor: "default.watcher" },
  },
  Sensor: {
    needs: { runtime: "core.sensor.shell", entrypoint: "watch.sh" },
    filled: { description: "d", paramSchema: parameters },
    instead: { config: { config: { any: 1 } } },
  },
  Policy: {
    needs: { rateMax: 1, rateWindowSeconds: 60 },
    filled: { description: "d", action: "core.noop", method: "CANCEL", threshold: 1 },
    instead: { pack: { pack: "default" }, rateMax: { threshold: 1, method: "CANCEL" } },
  },
  WorkflowDefinition: {
    needs: { definition: { tasks: [{ name: "one", action: "core.noop" }] } },
    filled: { description: "d", paramSchema: parameters, outSchema: parameters },
  },
  Rule: {
    needs: { action: "core.noop", trigger: "default.seen" },
    filled: {
      ...{ description: "d", window: { once: {} }, maxStarts: { count: 1, per: 1 } },
      activeHours: { spans: [{ from: "08:00", to: "18:00" }] },
    },
  },
  PermissionSet: { needs: {}, filled: { label: "l", description: "d" } },
  Identity: { needs: {}, filled: { displayName: "d" } },
  Artifact: { needs: { type: "URL", url: "https://example.org" }, filled: { name: "n", description: "d" } },
  Event: { needs: { trigger: "default.seen" }, filled: { payload: { size: 1 } } },
};

/** Fields that must be null together. */
const together: Readonly<Record<string, string>> = {
  method: "threshold",
  threshold: "method",
  rateMax: "rateWindowSeconds",
  rateWindowSeconds: "rateMax",
};
/** Columns that only become null when the referenced row is deleted; and a field that is not a column. */
const neverEmpty: ReadonlySet<string> = new Set(["Action.runtime", "Rule.action", "Rule.trigger", "Artifact.url"]);
/** Columns that identify a row or that the database sets. */
const ownColumns = ["id", "created", "updated", "changed", "trace_tag"];

const inputs = (verb: "Create" | "Update") =>
  Object.values(schema.getTypeMap()).flatMap((type) => {
    const [, typename] = new RegExp(`^${verb}(\\w+)Input$`).exec(type.name) ?? [];
    const isTried = typename !== undefined && (verb === "Update" || typename in entities);
    return isTried && isInputObjectType(type) ? [{ type, typename }] : [];
  });
const optional = (type: GraphQLInputObjectType) =>
  Object.values(type.getFields()).flatMap((field) => (isRequiredInputField(field) ? [] : [field.name]));
const fieldsOf = (type: GraphQLInputObjectType) => optional(type).filter((name) => name !== "expectedUpdated");
const snake = (name: string) => name.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
const lowerFirst = (text: string) => text.charAt(0).toLowerCase() + text.slice(1);
const tableOf = (typename: string) => snake(lowerFirst(typename));

const canBeEmpty = (typename: string, field: string) => {
  const column = catalog.columns.find(({ table, name }) => table === tableOf(typename) && name === snake(field));
  return !neverEmpty.has(`${typename}.${field}`) && column !== undefined && !column.required;
};

let count = 0;
function nameFor(typename: string): { by: string; name: Row } {
  count += 1;
  const refs: Readonly<Record<string, string>> = {
    Pack: `created-${count}`,
    Runtime: `mine.action.created_${count}`,
    Identity: `created-${count}`,
    Artifact: `created-${count}`,
  };
  if (typename === "Event") return { by: "id", name: {} };
  const ref = refs[typename] ?? `default.created_${count}`;
  if (typename === "Identity") return { by: "login", name: { login: ref } };
  return { by: typename === "Artifact" ? "id" : "ref", name: { ref } };
}

async function mutate(name: string, input: Row): Promise<{ __typename: string; issues?: unknown; id?: string }> {
  const type = name.charAt(0).toUpperCase() + name.slice(1);
  const field = lowerFirst(name.replace(/^(create|update)/, ""));
  const { data, errors } = await api.ask(
    world.session,
    `mutation($input: ${type}Input!) { ${name}(input: $input) { __typename ... on ${type}Payload { created: ${field} { id } }
      ... on Error { message } ... on InvalidInputError { issues { path message } } } }`,
    { input },
  );
  expect(errors).toBeUndefined();
  return { ...data[name], id: data[name].created?.id };
}

/** A new row: its id in the database, the input that identifies it in an update, and its name. */
interface Created {
  id: string;
  by: Row;
  name: Row;
}

async function create(typename: string, fields: Row): Promise<Created> {
  const { by, name } = nameFor(typename);
  const created = await mutate(`create${typename}`, { ...name, ...entities[typename]?.needs, ...fields });
  expect(created, JSON.stringify(created)).toMatchObject({ __typename: `Create${typename}Payload` });
  return { id: atob(created.id ?? "").split(":")[1] ?? "", by: by === "id" ? { id: created.id } : name, name };
}

const rowOf = async (typename: string, id: string) =>
  (
    await world.one<{ row: Record<string, unknown> }>(
      sql`select to_jsonb(t) as row from ${sql.raw(`attune.${tableOf(typename)}`)} t where id = ${id}::bigint`,
    )
  ).row;

test("covers every entity that has an update", () => {
  expect(
    inputs("Update")
      .map(({ typename }) => typename)
      .sort(),
  ).toEqual(Object.keys(entities).sort());
});

describe.each(inputs("Update").map(({ typename, type }) => [typename, fieldsOf(type)] as const))(
  "null in an update of %s",
  (typename, fields) => {
    test.each(fields)("in %s clears the field if it can be empty, and is refused otherwise", async (field) => {
      const { filled = {}, instead = {} } = entities[typename] ?? {};
      const { id, by } = await create(typename, instead[field] ?? filled);
      const patch = { [field]: null, ...(together[field] ? { [together[field]]: null } : {}) };
      // Otherwise only a timer sets an event's config.
      if (typename === "Event") await mutate("updateEvent", { ...by, config: { any: 1 } });
      const before = await rowOf(typename, id);
      if (canBeEmpty(typename, field)) expect(before[snake(field)], "must be filled before").not.toBeNull();
      const result = await mutate(`update${typename}`, { ...by, ...patch });
      const after = await rowOf(typename, id);
      if (canBeEmpty(typename, field)) {
        expect(result, JSON.stringify(result)).toMatchObject({ __typename: `Update${typename}Payload` });
        expect(after[snake(field)]).toBeNull();
      } else {
        const message = "must not be null: leave it out to keep what is stored";
        expect(result).toMatchObject({ __typename: "InvalidInputError", issues: [{ path: field, message }] });
        expect(after).toEqual(before);
      }
    });
  },
);

test.each(inputs("Create").map(({ typename, type }) => [typename, type] as const))(
  "null in the creation of %s is the same as leaving the field out",
  async (typename, type) => {
    const needed = Object.keys(entities[typename]?.needs ?? {});
    const nulls = Object.fromEntries(
      optional(type)
        .filter((name) => !needed.includes(name))
        .map((name) => [name, null]),
    );
    expect(Object.keys(nulls).length).toBeGreaterThan(1);
    expect(await shapeOf(typename, await create(typename, nulls))).toEqual(
      await shapeOf(typename, await create(typename, {})),
    );
  },
);

/** Returns the stored row without its own columns and name. */
async function shapeOf(typename: string, { id, name: { ref, login } }: Created): Promise<string> {
  const columns = Object.entries(await rowOf(typename, id)).filter(([column]) => !ownColumns.includes(column));
  const name = String(ref ?? login ?? "unnamed");
  // A runtime's name is the last part of its ref.
  return JSON.stringify(columns)
    .replaceAll(name, "NAME")
    .replaceAll(`"${name.split(".").at(-1)}"`, '"NAME"');
}
