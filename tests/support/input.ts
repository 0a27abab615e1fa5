import {
  type GraphQLInputObjectType,
  type GraphQLInputType,
  isEnumType,
  isInputObjectType,
  isListType,
  isNonNullType,
} from "graphql";

/** Returns a value for a place in an input: the field's name and description, and the scalar's name. */
export type Leaf = (place: { name: string; type: string; description: string }) => unknown;

const scalars: Readonly<Record<string, unknown>> = {
  ID: btoa("Nothing:1"),
  String: "default.nothing",
  Int: 1,
  Float: 1,
  Boolean: true,
  DateTime: "2026-01-01T00:00:00.000Z",
  BigInt: "1",
  JSON: "nothing",
  JSONObject: {},
  Cursor: "1.1.1",
};

/** Returns a valid value of the scalar. */
export const anyLeaf: Leaf = ({ type }) => scalars[type] ?? "PT1H";

/** Returns an input that the schema allows: with all its fields, or only those that are required. */
export function inputFor(type: GraphQLInputObjectType, options: { full: boolean; leaf: Leaf }, depth = 0): object {
  const fields = Object.values(type.getFields());
  const wanted = type.isOneOf
    ? fields.slice(0, 1)
    : fields.filter((field) => isNonNullType(field.type) || (options.full && depth < 3));
  const entries = wanted.map(({ name, type: of, description }) => {
    const value = (wrapped: GraphQLInputType): unknown => {
      if (isNonNullType(wrapped)) return value(wrapped.ofType);
      if (isListType(wrapped)) return depth < 3 ? [value(wrapped.ofType)] : [];
      if (isInputObjectType(wrapped)) return inputFor(wrapped, options, depth + 1);
      if (isEnumType(wrapped)) return wrapped.getValues()[0]?.name;
      return options.leaf({ name, type: wrapped.name, description: description ?? "" });
    };
    return [name, value(of)] as const;
  });
  return Object.fromEntries(entries);
}
