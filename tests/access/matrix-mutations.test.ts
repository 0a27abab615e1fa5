import { sql } from "drizzle-orm";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { rows } from "../../src/db/client.ts";
import { factsOf, specs } from "./matrix/facts.ts";
import { rootFields } from "./matrix/fields.ts";
import {
  alsoRequired,
  creating,
  creations,
  decidedByVerbs,
  inputs,
  type Targeted,
  targeted,
  targetFor,
} from "./matrix/mutations.ts";
import { allows, type Facts, holdsAny, holdsWholly, type Role } from "./matrix/roles.ts";
import { roles as myRoles } from "./matrix/server.ts";
import { createMatrix, globalId, localId, type Matrix } from "./matrix/setup.ts";

let matrix: Matrix;
beforeAll(async () => {
  matrix = await createMatrix();
});
afterAll(() => matrix[Symbol.asyncDispose]());

/** A row to try the mutation with, and its facts. */
interface TargetRow {
  facts: Facts;
  value: string;
}

async function createTarget({ name, typename, by }: Targeted, side: "own" | "others"): Promise<TargetRow> {
  const table = specs[typename]?.table ?? "";
  const ref = table === "pack" ? { ref: `${side}-${crypto.randomUUID()}` } : {};
  const id = await matrix.seeds.another(table, side, { ...ref, ...targetFor(name, table) });
  const facts = (await factsOf(matrix.world.services.db, typename, matrix.seeds.me, myRoles)).find(
    (row) => row.id === id,
  );
  if (!facts) throw new Error(`${typename} ${id} has no facts`);
  return { facts, value: by === "id" ? globalId(typename, id) : (facts.ref ?? "") };
}

/** The mutation's result: `done`, or its refusal. */
async function attempt(role: Role, { name, by }: Targeted, { value }: TargetRow, more = inputs[name]): Promise<string> {
  const type = `${name.charAt(0).toUpperCase()}${name.slice(1)}Input`;
  const response = await matrix.server.ask(
    role,
    `mutation($input: ${type}!) { ${name}(input: $input) { __typename ... on Error { message } } }`,
    { input: { ...more, [by]: value } },
  );
  if (response.errors) return response.errors.map(({ extensions, message }) => `${extensions.code}: ${message}`).join();
  const { __typename, message } = response.data[name];
  return __typename.endsWith("Payload") ? "done" : `${__typename}: ${message}`;
}

const exists = async ({ typename }: Targeted, { facts }: TargetRow) =>
  (
    await rows(
      matrix.world.services.db,
      sql`select from ${sql.raw(`attune.${specs[typename]?.table}`)} where id = ${facts.id}::bigint`,
    )
  ).length > 0;

describe("every mutation", () => {
  test("requires a grant by its field, or is listed as checked by its verb", () => {
    const without = rootFields().filter(({ root, may, isPublic }) => root === "mutation" && !may && !isPublic);
    expect(without.map(({ name }) => name).sort()).toEqual([...decidedByVerbs].sort());
    expect(targeted().length).toBeGreaterThan(20);
  });

  test.each(targeted().map((each) => [each.name, each] as const))(
    "%s succeeds exactly for the roles that may",
    async (_name, mutation) => {
      const [resource = "", action = ""] = mutation.may.split(":");
      const created = { own: await createTarget(mutation, "own"), others: await createTarget(mutation, "others") };
      for (const side of ["own", "others"] as const) {
        for (const { name } of matrix.roles) {
          const role = withTargets(name, created);
          const target = created[side];
          const result = await attempt(role, mutation, target);
          const place = `${name}: ${mutation.name} of ${side}: ${result}`;
          if (allows(role, resource, action, target.facts) && holdsRest(role, mutation)) {
            expect(result, place).toBe("done");
            if (isSpent(mutation) || !(await exists(mutation, target)))
              created[side] = await createTarget(mutation, side);
            continue;
          }
          expect(await exists(mutation, target), place).toBe(true);
          if (!holdsAny(role, mutation.may)) expect(result, place).toMatch(/^ForbiddenError\b/);
          else if (!holdsRest(role, mutation)) expect(result, place).toMatch(/^(ForbiddenError|NotFoundError)\b/);
          else if (allows(role, resource, "read", target.facts)) expect(result, place).toMatch(/^ForbiddenError\b/);
          else {
            expect(result, place).toBe(notFound(mutation, target.value));
            const missing = mutation.by === "id" ? globalId(mutation.typename, "999999999") : `${target.value}x`;
            expect(await attempt(role, mutation, { ...target, value: missing }), place).toBe(
              notFound(mutation, missing),
            );
          }
        }
      }
    },
  );

  /** The refusal for a missing row and for an unreadable one. */
  const notFound = ({ may, by }: Targeted, value: string) =>
    `NotFoundError: There is no ${(may.split(":")[0] ?? "").replaceAll("_", " ")} "${by === "id" ? localId(value)[1] : value}".`;

  function holdsRest(role: Role, { name }: Targeted): boolean {
    const { ofMyself, wholly } = alsoRequired[name] ?? {};
    if (wholly && !holdsWholly(role, wholly)) return false;
    const [resource = "", action = ""] = ofMyself?.split(":") ?? [];
    const myself = matrix.facts.get("Identity")?.get(matrix.seeds.me);
    return !ofMyself || (myself !== undefined && allows(role, resource, action, myself));
  }

  /** The role with the refs of the targets added to its constraints. */
  function withTargets(name: string, { own, others }: Record<"own" | "others", TargetRow>): Role {
    const role = matrix.roles.find((each) => each.name === name);
    if (!role) throw new Error(`there is no role ${name}`);
    const more = (refs: string[] | undefined, { facts }: TargetRow) =>
      refs && facts.ref ? [...refs, facts.ref] : refs;
    const grants = role.grants.map(({ constraints = {}, ...grant }) => ({
      ...grant,
      constraints: {
        ...constraints,
        refs: more(constraints.refs, own),
        except_refs: name === "except_refs" ? more(constraints.except_refs, others) : constraints.except_refs,
      },
    }));
    return { ...role, grants };
  }

  /** Whether the mutation works only once on each row. */
  const isSpent = ({ name }: Targeted) => name.startsWith("cancel");

  test.each(creations())("%s creates only rows that the role may create", async (name) => {
    const { typename, input } = creating[name] ?? { typename: "", input: {} };
    const { resource = "", table = "" } = specs[typename] ?? {};
    const by = typename === "Identity" ? "login" : "ref";
    for (const [index, role] of matrix.roles.entries()) {
      for (const pack of ["alpha", "beta", "gamma"]) {
        const ref = refOf(typename, pack, `created_${index}`);
        // Facts that rows of the type lack are also missing when one is created.
        const spec = specs[typename];
        const facts = {
          id: "",
          ref,
          pack: spec?.pack ? (ref.split(".", 1)[0] ?? "") : null,
          owner: typename === "Rule" ? matrix.seeds.me : null,
          always: false,
        };
        const result = await attempt(role, { name, by, may: "", typename }, { value: ref, facts }, input);
        const created = await rows(
          matrix.world.services.db,
          sql`select from ${sql.raw(`attune.${table} t`)} where ${sql.raw(specs[typename]?.ref ?? "")} = ${ref}`,
        );
        const place = `${role.name}: ${name} of ${ref}: ${result}`;
        const noPack = `NotFoundError: There is no pack "${pack}".`;
        if (!holdsAny(role, `${resource}:create`)) expect(result, place).toMatch(/^ForbiddenError\b/);
        else if (isInPack(typename) && !knowsPack(role, pack)) {
          // An existing and a missing pack look the same to a role that may not read it.
          if (pack === "gamma" || !allows(role, resource, "create", facts)) expect(result, place).toBe(noPack);
        } else if (!allows(role, resource, "create", facts)) expect(result, place).toMatch(/^ForbiddenError\b/);
        // A role with constraints may not use the rows that it refers to.
        else if (holdsWholly(role, `${resource}:create`)) expect(result, place).toBe("done");
        expect(created.length, place).toBe(result === "done" ? 1 : 0);
      }
    }
  });

  const isInPack = (typename: string) => !["Pack", "Identity", "Artifact"].includes(typename);

  function knowsPack(role: Role, ref: string): boolean {
    const facts = [...(matrix.facts.get("Pack")?.values() ?? [])].find((each) => each.ref === ref);
    return facts !== undefined && allows(role, "pack", "read", facts);
  }

  function refOf(typename: string, pack: string, name: string): string {
    if (!isInPack(typename)) return `${pack}_${name}`;
    return typename === "Runtime" ? `${pack}.action.${name}` : `${pack}.${name}`;
  }
});

describe("an update or delete", () => {
  const updates = targeted().filter(({ name, may }) => name.startsWith("update") && may.endsWith(":update"));
  const all = targeted().filter(({ may, by }) => /:(update|delete)$/.test(may) && ["ref", "id", "login"].includes(by));

  test.each(updates.map((each) => [each.name, each] as const))(
    "%s without a field returns the row unchanged",
    async (_name, mutation) => {
      const table = specs[mutation.typename]?.table ?? "";
      const target = await createTarget(mutation, "own");
      const read = () =>
        rows(
          matrix.world.services.db,
          sql`select to_jsonb(t) as row from ${sql.raw(`attune.${table}`)} t where id = ${target.facts.id}::bigint`,
        );
      const before = await read();
      const type = `${mutation.name.charAt(0).toUpperCase()}${mutation.name.slice(1)}Input`;
      const response = await matrix.server.ask(
        matrix.admin,
        `mutation($input: ${type}!) { result: ${mutation.name}(input: $input) { ... on ${type.replace("Input", "Payload")} { row: ${mutation.typename.charAt(0).toLowerCase()}${mutation.typename.slice(1)} { id } } } }`,
        { input: { [mutation.by]: target.value } },
      );
      expect(response.errors).toBeUndefined();
      expect(response.data.result.row.id).toBe(globalId(mutation.typename, target.facts.id));
      expect(await read()).toEqual(before);
    },
  );

  test.each(updates.filter(({ name }) => name !== "updateEvent").map((each) => [each.name, each] as const))(
    "%s of a row that has changed since it was read is a ConflictError",
    async (_name, mutation) => {
      const target = await createTarget(mutation, "own");
      const result = await attempt(matrix.admin, mutation, target, { expectedUpdated: "2026-01-01T00:00:00.000Z" });
      const noun = (mutation.may.split(":")[0] ?? "").replaceAll("_", " ");
      expect(result.replace(/\d{4}-\d\d-\d\dT[\d:.]+Z/, "WHEN")).toBe(
        `ConflictError: The ${noun} "${target.facts.ref}" was changed at WHEN: read it again.`,
      );
    },
  );

  test.each(all.map((each) => [each.name, each] as const))(
    "%s of a missing row is a NotFoundError",
    async (_name, mutation) => {
      const value =
        mutation.by === "id"
          ? globalId(mutation.typename, "999999999")
          : (missing[mutation.typename] ?? "alpha.missing");
      const result = await attempt(matrix.admin, mutation, {
        value,
        facts: { id: "", ref: null, pack: null, owner: null, always: false },
      });
      expect(result).toMatch(/^NotFoundError: There is no [a-z_ ]+ "[^"]+"\.$/);
    },
  );

  const missing: Readonly<Record<string, string>> = { Pack: "missing", Runtime: "alpha.action.missing" };
});
