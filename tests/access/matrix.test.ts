import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { until } from "../support/until.ts";
import { specs } from "./matrix/facts.ts";
import { documentFor, type Edge, edges, entrances, nodeTypes, type RootField, rootFields } from "./matrix/fields.ts";
import { holdsAny, type Role } from "./matrix/roles.ts";
import type { Seeds } from "./matrix/seeds.ts";
import type { Answer, Server } from "./matrix/server.ts";
import { codes, createMatrix, globalId, localId, type Matrix } from "./matrix/setup.ts";

/** The fields that anonymous callers may use. */
const publicFields: readonly string[] = ["signIn"];

let matrix: Matrix;
let server: Server;
let seeds: Seeds;
beforeAll(async () => {
  matrix = await createMatrix();
  ({ server, seeds } = matrix);
});
afterAll(() => matrix[Symbol.asyncDispose]());

/** The code with which a field refuses the role before it reads anything; null if it does not. */
const refusalOf = (role: Role | null, may: string | null) =>
  role === null ? "UNAUTHENTICATED" : may !== null && !holdsAny(role, may) ? "FORBIDDEN" : null;

describe("every root field", () => {
  test("is public by name, or declares the grant that it requires", () => {
    const fields = rootFields();
    expect(
      fields
        .filter(({ isPublic }) => isPublic)
        .map(({ name }) => name)
        .sort(),
    ).toEqual([...publicFields].sort());
    const permissions = fields.flatMap(({ may }) => may ?? []);
    expect(permissions.length).toBeGreaterThan(40);
    for (const permission of permissions) expect(permission).toMatch(/^[a-z_]+:[a-z_]+$/);
  });
});

describe("without the required grant", () => {
  /** The response to a document with only this field; for a subscription, its first message. */
  async function use(role: Role | null, field: RootField): Promise<Answer> {
    if (field.root !== "subscription") return await server.ask(role, documentFor(field));
    const stream = await server.follow(role, documentFor(field));
    return (await until(() => stream.seen[0], `a response of ${field.name}`)) as Answer; // `until` waits for the first message
  }

  test("every field refuses an anonymous caller", async () => {
    for (const field of rootFields().filter(({ isPublic }) => !isPublic)) {
      const response = await use(null, field);
      expect(codes(response), field.name).toEqual(["UNAUTHENTICATED"]);
      expect(response.data?.[field.name] ?? null, field.name).toBeNull();
    }
  });

  test("every field that requires a grant refuses a role without one of that kind", async () => {
    for (const role of matrix.roles) {
      for (const field of rootFields().filter(({ may }) => may && !holdsAny(role, may))) {
        const response = await use(role, field);
        const place = `${role.name}: ${field.name}`;
        if (field.root === "mutation" && !response.errors) {
          expect(response.data[field.name], place).toEqual({ __typename: "ForbiddenError" });
        } else {
          expect(codes(response), place).toEqual(["FORBIDDEN"]);
          expect(response.data?.[field.name] ?? null, place).toBeNull();
        }
      }
    }
  });
});

describe("every type with an id", () => {
  const types = nodeTypes().filter((typename) => typename !== "Notification");

  test("has rows of the caller and of others", () => {
    for (const typename of types) {
      const table = specs[typename]?.table ?? "";
      expect([typename, seeds.own.has(table), seeds.others.has(table)]).toEqual([typename, true, true]);
    }
  });

  test.each(types)("%s: only readable rows are listed, counted and found", async (typename) => {
    const lookups = lookupsFor(typename);
    const document = `{ ${lookups.map(({ use }, index) => `e${index}: ${use}`).join(" ")} }`;
    for (const role of matrix.roles) {
      const response = await server.ask(role, document);
      const refused = new Map(response.errors?.map(({ path, extensions }) => [path?.[0], extensions.code]));
      for (const [index, { use, may, ids }] of lookups.entries()) {
        const place = `${role.name}: ${use}`;
        const expected = refusalOf(role, may);
        expect(refused.get(`e${index}`) ?? null, place).toBe(expected);
        const visible = expected ? [] : ids.filter((id) => matrix.reads(role, typename, id));
        const selected = response.data[`e${index}`];
        expect(idsIn(selected), place).toEqual(visible.map((id) => globalId(typename, id)).sort());
        expect(countsIn(selected), place).toEqual(use.includes("totalCount") && !expected ? [visible.length] : []);
      }
    }
  });

  /** Every root field that finds objects of the type, each with the ids that it should find. */
  function lookupsFor(typename: string): { use: string; may: string | null; ids: string[] }[] {
    const { table = "", where } = specs[typename] ?? {};
    const { one, byRef, list } = entrances(typename);
    const all = [...(matrix.facts.get(typename)?.values() ?? [])];
    const filter = where ? `first: 100, where: {${where}}` : "first: 100";
    const lists = list
      ? [
          {
            use: `${list.name}(${filter}) { totalCount { count } nodes { id } }`,
            may: list.may,
            ids: all.map(({ id }) => id),
          },
        ]
      : [];
    const singles = [seeds.own, seeds.others].flatMap((side) => {
      const id = side.get(table) ?? "";
      const ref = matrix.facts.get(typename)?.get(id)?.ref;
      const by = (name: string, value: string) => `${name}: ${JSON.stringify(value)}`;
      return [
        { use: `node(${by("id", globalId(typename, id))}) { id }`, may: null, ids: [id] },
        ...(one ? [{ use: `${one.name}(${by("id", globalId(typename, id))}) { id }`, may: one.may, ids: [id] }] : []),
        ...(byRef && ref ? [{ use: `${byRef.name}(${by("ref", ref)}) { id }`, may: byRef.may, ids: [id] }] : []),
      ];
    });
    return [...lists, ...singles];
  }

  test.each(types)("%s: its fields lead only to readable objects", async (typename) => {
    const all = edges(typename);
    for (let start = 0; start < all.length; start += 20) await expectEdges(typename, all.slice(start, start + 20));
  });

  async function expectEdges(typename: string, links: Edge[]): Promise<void> {
    const selection = links.map((edge, index) => `e${index}: ${edge.selection}`).join(" ");
    const document = `query($id: ID!) { node(id: $id) { ... on ${typename} { ${selection} } } }`;
    const table = specs[typename]?.table ?? "";
    for (const ids of [seeds.own, seeds.others]) {
      const id = globalId(typename, ids.get(table) ?? "");
      const whole = await server.ask(matrix.admin, document, { id });
      expect(whole.errors, typename).toBeUndefined();
      for (const role of matrix.roles) {
        const response = await server.ask(role, document, { id });
        expect(response.errors, `${role.name}: ${typename}`).toBeUndefined();
        const readable = matrix.reads(role, typename, localId(id)[1]);
        expect(response.data.node !== null, `${role.name}: ${typename}`).toBe(readable);
        for (const [index, { path, whole: together }] of readable ? links.entries() : []) {
          const [all, visible] = [whole.data.node[`e${index}`], response.data.node[`e${index}`]];
          const mayRead = (each: string) => matrix.reads(role, ...localId(each));
          const nodes = together ? all.nodes.filter((node: object) => idsIn(node).every(mayRead)) : all;
          const expected = idsIn(nodes).filter(mayRead);
          const place = `${role.name}: ${typename}.${path} of ${localId(id)}`;
          expect(idsIn(visible), place).toEqual(expected);
          expect(countsIn(visible), place).toEqual(countsIn(visible).length > 0 ? [expected.length] : []);
        }
      }
    }
  }
});

/** The ids in a response, sorted. */
function idsIn(value: unknown): string[] {
  if (Array.isArray(value)) return value.flatMap(idsIn).sort();
  if (typeof value !== "object" || value === null) return [];
  const { id } = value as { id?: unknown };
  return typeof id === "string" ? [id] : Object.values(value).flatMap(idsIn).sort();
}

/** The counts in a response. */
function countsIn(value: unknown): number[] {
  if (Array.isArray(value)) return value.flatMap(countsIn);
  if (typeof value !== "object" || value === null) return [];
  const { totalCount } = value as { totalCount?: { count: number } };
  return totalCount === undefined ? Object.values(value).flatMap(countsIn) : [totalCount.count];
}
