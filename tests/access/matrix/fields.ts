import {
  type GraphQLField,
  type GraphQLInputType,
  type GraphQLObjectType,
  type GraphQLOutputType,
  getNamedType,
  isAbstractType,
  isEnumType,
  isInputObjectType,
  isInterfaceType,
  isLeafType,
  isListType,
  isNonNullType,
  isObjectType,
  isRequiredArgument,
  isRequiredInputField,
  isUnionType,
} from "graphql";
import { schema } from "../../../src/graphql/schema.ts";

/** A root field and who may use it, as it declares. */
export interface RootField {
  root: "query" | "mutation" | "subscription";
  name: string;
  /** A permission such as rule:read; null requires only a session, and the rows found decide the rest. */
  may: string | null;
  /** Whether it declares that it requires no session. */
  isPublic: boolean;
  field: GraphQLField<unknown, unknown>;
}

interface Declared {
  authScopes?: { may?: string; signedIn?: boolean };
  skipTypeScopes?: boolean;
}

/** Every root field, with what it declares to the scope-auth plugin, or as the permission of a mutation. */
export function rootFields(): RootField[] {
  const roots = {
    query: schema.getQueryType(),
    mutation: schema.getMutationType(),
    subscription: schema.getSubscriptionType(),
  };
  return Object.entries(roots).flatMap(([root, type]) =>
    Object.values(type?.getFields() ?? {}).map((field) => {
      const { authScopes, skipTypeScopes = false } = (field.extensions["pothosOptions"] ?? {}) as Declared;
      const scopes = typeof authScopes === "object" ? authScopes : {};
      const permission = (field.extensions["may"] ?? null) as string | readonly string[] | null;
      return {
        root: root as RootField["root"],
        name: field.name,
        // If one of several permissions is enough, the rows found decide.
        may: scopes.may ?? (typeof permission === "string" ? permission : null),
        isPublic: skipTypeScopes && !scopes.may && !scopes.signedIn,
        field,
      };
    }),
  );
}

const isNode = (type: unknown): type is GraphQLObjectType =>
  isObjectType(type) && type.getInterfaces().some(({ name }) => name === "Node");

/** The names of every type that `node(id:)` finds. */
export const nodeTypes = (): string[] =>
  Object.values(schema.getTypeMap())
    .filter(isNode)
    .map(({ name }) => name);

/** The root fields that find objects of the type. */
export function entrances(typename: string): { one?: RootField; byRef?: RootField; list?: RootField } {
  const queries = rootFields().filter(({ root }) => root === "query");
  const of = (name: string, arg: string | null) =>
    queries.find(
      ({ field }) =>
        getNamedType(field.type).name === name &&
        !isListType(nullable(field.type)) &&
        (arg === null || field.args.some((each) => each.name === arg)),
    );
  const found = { one: of(typename, "id"), byRef: of(typename, "ref"), list: of(`${typename}Connection`, null) };
  return Object.fromEntries(Object.entries(found).filter(([, field]) => field !== undefined));
}

const nullable = (type: GraphQLOutputType) => (isNonNullType(type) ? type.ofType : type);

/** An edge from an object to objects with ids: the selection that reads their ids, and its path in the response. */
export interface Edge {
  from: string;
  path: string;
  selection: string;
  /** Whether an object on the way is readable only together with all those that it leads to. */
  whole: boolean;
}

/** Every edge from the type: its own fields, and those of objects without an id inside it. */
export function edges(typename: string): Edge[] {
  const type = schema.getType(typename);
  if (!isObjectType(type)) throw new Error(`${typename} is no object type`);
  return edgesOf(type, 2).map(({ whole = false, ...edge }) => ({ from: typename, whole, ...edge }));
}

/** The selection of all edges of an object. */
const all = (type: GraphQLObjectType) =>
  edgesOf(type, 0)
    .map(({ selection }) => selection)
    .join(" ");

function edgesOf(type: GraphQLObjectType, depth: number): (Omit<Edge, "from" | "whole"> & { whole?: boolean })[] {
  return Object.values(type.getFields()).flatMap((field) => {
    const named = getNamedType(field.type);
    if (field.args.some(isRequiredArgument)) return [];
    if (isLeafType(named) || named.name === "PageInfo") return [];
    const wrap = (inner: string) => ({ path: field.name, selection: `${field.name} { ${inner} }` });
    if (isNode(named) || isAbstract(named)) return [wrap(found(named))];
    if (!isObjectType(named) || depth === 0) return [];
    const nodes = named.getFields()["nodes"];
    const item = nodes ? getNamedType(nodes.type) : named;
    if (isNode(item)) return [wrap(`totalCount { count } nodes { ${found(item)} }`)];
    if (!isObjectType(item)) return [];
    // Of a group, a slot is readable with its execution; an execution's own slot is readable with it in any case.
    const whole =
      ["RuleEvaluation", "RuleWindow"].includes(item.name) || (item.name === "PolicySlot" && nodes !== undefined);
    if (whole) return [{ path: field.name, selection: `${field.name} { nodes { ${all(item)} } }`, whole }];
    return edgesOf(item, depth - 1).map((edge) => ({
      ...edge,
      path: `${field.name}.${edge.path}`,
      selection: nodes ? `${field.name} { nodes { ${edge.selection} } }` : `${field.name} { ${edge.selection} }`,
    }));
  });
}

const isAbstract = (type: unknown): boolean => isAbstractType(type) && (isUnionType(type) || isInterfaceType(type));

/** The selection that identifies an object. */
function found(type: unknown): string {
  return isUnionType(type)
    ? `__typename ${type
        .getTypes()
        .map(({ name }) => `... on ${name} { id }`)
        .join(" ")}`
    : "__typename id";
}

/** A document that uses the root field, with arguments valid for their types. */
export function documentFor({ root, field }: RootField): string {
  const given = field.args.filter(isRequiredArgument).map((arg) => `${arg.name}: ${literal(arg.type)}`);
  const named = getNamedType(field.type);
  const selection = isLeafType(named) ? "" : " { __typename }";
  return `${root} { ${field.name}${given.length > 0 ? `(${given.join(", ")})` : ""}${selection} }`;
}

function literal(type: GraphQLInputType): string {
  const inner = isNonNullType(type) ? type.ofType : type;
  if (isListType(inner)) return `[${literal(inner.ofType)}]`;
  if (isEnumType(inner)) return inner.getValues()[0]?.name ?? "";
  if (isInputObjectType(inner)) {
    const fields = Object.values(inner.getFields());
    const needed = inner.isOneOf ? fields.slice(0, 1) : fields.filter(isRequiredInputField);
    return `{${needed.map((field) => `${field.name}: ${literal(field.type)}`).join(", ")}}`;
  }
  return literals[String(inner)] ?? `"x"`;
}

const literals: Readonly<Record<string, string>> = {
  ID: `"${btoa("Pack:1")}"`,
  Int: "1",
  Float: "1",
  Boolean: "true",
  BigInt: '"1"',
  JSON: "{}",
  JSONObject: "{}",
  DateTime: '"2026-01-01T00:00:00Z"',
};
