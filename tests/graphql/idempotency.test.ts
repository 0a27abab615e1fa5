import { sql } from "drizzle-orm";
import { isInputObjectType } from "graphql";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Session } from "../../src/access/session.ts";
import { schema } from "../../src/graphql/schema.ts";
import { type Api, createApi, createPerson } from "../support/api.ts";
import { createWorld, type World } from "../support/world.ts";

let world: World;
let api: Api;

beforeAll(async () => {
  world = await createWorld();
  api = await createApi(world.services);
});
afterAll(async () => {
  await api[Symbol.asyncDispose]();
  await world[Symbol.asyncDispose]();
});

interface Creating {
  mutation: string;
  /** The payload's field, and the table of the created rows. */
  field: string;
  table: string;
  input(name: string): object;
}

const creating: Creating[] = [
  { mutation: "createTrigger", field: "trigger", table: "trigger", input: (name) => ({ ref: `default.${name}` }) },
  {
    mutation: "createRule",
    field: "rule",
    table: "rule",
    input: (name) => ({ ref: `default.${name}`, trigger: "default.once", action: "core.noop" }),
  },
  {
    mutation: "createEvent",
    field: "event",
    table: "event",
    input: (name) => ({ trigger: "default.once", payload: { name, more: { a: 1, b: [2] } } }),
  },
  {
    mutation: "executeAction",
    field: "execution",
    table: "execution",
    input: (name) => ({ action: "core.echo", parameters: { message: name } }),
  },
];

/** Runs the mutation, by default as the administrator; returns the created entity's id, or the refusal. */
async function create({ mutation, field }: Creating, input: object, session: Session = world.session) {
  const type = `${mutation.charAt(0).toUpperCase()}${mutation.slice(1)}`;
  const document = `mutation ($input: ${type}Input!) { ${mutation}(input: $input) {
    __typename ... on ${type}Payload { created: ${field} { id } } ... on Error { code message } } }`;
  const { data, errors } = await api.ask(session, document, { input });
  expect(errors).toBeUndefined();
  if (data[mutation] === null) return null;
  const { __typename: typename, created, ...refusal } = data[mutation];
  return typename === `${type}Payload` ? (created as { id: string } | null) : { typename, ...refusal };
}

const count = async ({ table }: Creating) =>
  (await world.one<{ count: number }>(sql`select count(*)::int from attune.${sql.identifier(table)}`)).count;

beforeAll(async () => {
  await world.services.db.execute(
    sql`insert into attune.trigger (ref, pack, pack_ref, label) select 'default.once', id, 'default', 'Once'
      from attune.pack where ref = 'default'`,
  );
});

describe.each(creating)("$mutation with an idempotency key", (kind) => {
  test("sent again returns the same entity and creates nothing, in any order of the input's fields", async () => {
    const input = kind.input("again");
    const before = await count(kind);
    const first = await create(kind, { ...input, idempotencyKey: `${kind.mutation}-1` });
    expect(first).toEqual({ id: expect.any(String) });
    const reversed = Object.fromEntries(Object.entries(input).reverse());
    expect(await create(kind, { idempotencyKey: `${kind.mutation}-1`, ...reversed })).toEqual(first);
    expect(await count(kind)).toBe(before + 1);
  });

  test("and another input is a conflict and creates nothing", async () => {
    const before = await count(kind);
    const result = await create(kind, { ...kind.input("other"), idempotencyKey: `${kind.mutation}-1` });
    expect(result).toMatchObject({ typename: "ConflictError", code: "CONFLICT" });
    expect(await count(kind)).toBe(before);
  });

  test("is a conflict when the key was used for another operation", async () => {
    const before = await count(kind);
    const [other = kind] = creating.filter(({ mutation }) => mutation !== kind.mutation);
    await create(other, { ...other.input(`for_${kind.field}`), idempotencyKey: `other-${kind.mutation}` });
    const result = await create(kind, { ...kind.input("other"), idempotencyKey: `other-${kind.mutation}` });
    expect(result).toMatchObject({ typename: "ConflictError" });
    expect(await count(kind)).toBe(before);
  });
});

const [triggers, , events] = creating as [Creating, Creating, Creating, Creating];

test("two concurrent requests create one event, in each of twenty rounds", async () => {
  const before = await count(events);
  for (let round = 1; round <= 20; round += 1) {
    const input = { ...events.input("both"), idempotencyKey: `both-${round}` };
    const [one, two] = await Promise.all([create(events, input), create(events, input)]);
    expect(one).toEqual({ id: expect.any(String) });
    expect(two).toEqual(one);
  }
  expect(await count(events)).toBe(before + 20);
});

test("each identity has its own keys", async () => {
  const other = await createPerson(world.services, "another");
  const input = { ...events.input("mine"), idempotencyKey: "mine" };
  const mine = await create(events, input);
  const theirs = await create(events, input, other);
  expect(theirs).toEqual({ id: expect.any(String) });
  expect(theirs).not.toEqual(mine);
  expect(await create(events, input, other)).toEqual(theirs);
});

test("a refused input leaves the key unused", async () => {
  const refused = await create(events, { trigger: "default.missing", idempotencyKey: "refused" });
  expect(refused).toMatchObject({ typename: "NotFoundError" });
  expect(await create(events, { ...events.input("then"), idempotencyKey: "refused" })).toEqual({
    id: expect.any(String),
  });
});

test("a key expires after a day", async () => {
  const input = { ...events.input("old"), idempotencyKey: "old" };
  const first = await create(events, input);
  const age = (hours: number) =>
    world.services.db.execute(
      sql`update attune.idempotency_key set created = now() - make_interval(hours => ${hours}::int) where key = 'old'`,
    );
  await age(23);
  expect(await create(events, input)).toEqual(first);
  await age(25);
  const second = await create(events, input);
  expect(second).toEqual({ id: expect.any(String) });
  expect(second).not.toEqual(first);
});

test("a replay does not recreate a deleted entity", async () => {
  const input = { ...triggers.input("gone"), idempotencyKey: "gone" };
  await create(triggers, input);
  await world.services.db.execute(sql`delete from attune.trigger where ref = 'default.gone'`);
  expect(await create(triggers, input)).toBeNull();
});

test.each(["", "with space", "x".repeat(201), "ü"])("the key %j is refused", async (idempotencyKey) => {
  const result = await create(events, { ...events.input("x"), idempotencyKey });
  expect(result).toMatchObject({ typename: "InvalidInputError", message: expect.stringMatching(/^idempotencyKey: /) });
});

test("every input of a creation takes a key", () => {
  const inputs = Object.values(schema.getTypeMap()).filter(isInputObjectType);
  const without = inputs
    .filter(({ name }) => /^(Create|ExecuteAction)\w*Input$/.test(name))
    .filter((type) => !("idempotencyKey" in type.getFields()))
    .map(({ name }) => name);
  // It creates a link, by which a file is uploaded once.
  expect(without.filter((name) => name !== "CreateArtifactUploadInput")).toEqual([]);
});
