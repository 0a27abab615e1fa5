import { execFileSync } from "node:child_process";
import {
  BreakingChangeType,
  buildSchema,
  findSchemaChanges,
  type GraphQLSchema,
  isEnumType,
  isInputObjectType,
  isInterfaceType,
  isObjectType,
} from "graphql";
import { describe, expect, test } from "vitest";
import { schema } from "../src/graphql/schema.ts";

const breaking = new Set<string>(Object.values(BreakingChangeType));

/** Returns the changes that break clients of the released schema, except removals of what it deprecated. */
function breakingChanges(released: GraphQLSchema, present: GraphQLSchema): string[] {
  const deprecated = deprecatedIn(released);
  return findSchemaChanges(released, present)
    .filter(({ type }) => breaking.has(type))
    .map(({ description }) => description)
    .filter((description) => !deprecated.some((coordinate) => description.includes(` ${coordinate} was removed`)));
}

/** Returns the coordinates of deprecated fields, arguments, input fields and enum values. */
function deprecatedIn(released: GraphQLSchema): string[] {
  const marked = (each: { deprecationReason?: string | null | undefined }) =>
    typeof each.deprecationReason === "string";
  return Object.values(released.getTypeMap()).flatMap((type) => {
    if (isEnumType(type))
      return type
        .getValues()
        .filter(marked)
        .map(({ name }) => `${type.name}.${name}`);
    if (isInputObjectType(type))
      return Object.values(type.getFields())
        .filter(marked)
        .map(({ name }) => `${type.name}.${name}`);
    if (!isObjectType(type) && !isInterfaceType(type)) return [];
    return Object.values(type.getFields()).flatMap((field) => [
      ...(marked(field) ? [`${type.name}.${field.name}`] : []),
      ...field.args.filter(marked).map(({ name }) => `${type.name}.${field.name}(${name}:)`),
    ]);
  });
}

const git = (...args: string[]) => execFileSync("git", args, { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });

/** Returns the newest release's tag before this commit; null when there is none. */
function lastRelease(): string | null {
  try {
    return git("describe", "--tags", "--abbrev=0", "--match", "v[0-9]*").trim();
  } catch {
    return null; // no tag, or no repository (a tarball)
  }
}

test("the schema breaks no client of the last release", (context) => {
  const tag = lastRelease();
  if (tag === null) return context.skip("there is no release yet: no tag v* in this repository");
  expect(breakingChanges(buildSchema(git("show", `${tag}:schema.graphql`)), schema)).toEqual([]);
});

describe("a change breaks clients", () => {
  const released = buildSchema(`
    enum Status { OPEN CLOSED OLD @deprecated(reason: "CLOSED") }
    input Filter { id: ID legacy: ID @deprecated(reason: "id") }
    type Query {
      node(id: ID, filter: Filter, way: Int @deprecated(reason: "nothing")): String
      status: Status
      gone: Int @deprecated(reason: "status")
    }`);
  const present = (text: string) => breakingChanges(released, buildSchema(text));

  test("unless it only adds, or removes what a release deprecated", () => {
    expect(
      present(`
        enum Status { OPEN CLOSED WAITING }
        input Filter { id: ID name: String }
        type Query { node(id: ID, filter: Filter, more: Int): String! status: Status others: [String] }`),
    ).toEqual([]);
  });

  test("when it removes or restricts a field, an argument, an input field or a value", () => {
    expect(
      present(`
        enum Status { OPEN }
        input Filter { legacy: ID! must: Int! }
        type Query { node(filter: Filter!): Int }`).sort(),
    ).toEqual([
      "A required field Filter.must was added.",
      "Argument Query.node(filter:) has changed type from Filter to Filter!.",
      "Argument Query.node(id:) was removed.",
      "Enum value Status.CLOSED was removed.",
      "Field Filter.id was removed.",
      "Field Filter.legacy changed type from ID to ID!.",
      "Field Query.node changed type from String to Int.",
      "Field Query.status was removed.",
    ]);
  });
});
