import { GraphQLError, Kind, type ValueNode } from "graphql";
import { InvalidInputError } from "../../errors.ts";
import type { Json, JsonObject } from "../../lib/json.ts";
import { parseExactly, requireShape } from "../../lib/json-text.ts";

/** The types of the API's own scalars: parsed inputs, and outputs of resolvers. */
export type Scalars = {
  ID: { Input: string; Output: string | bigint };
  DateTime: { Input: Date; Output: Date };
  JSON: { Input: NonNullable<unknown>; Output: Json };
  JSONObject: { Input: JsonObject; Output: JsonObject };
  BigInt: { Input: bigint; Output: bigint };
  Cursor: { Input: string; Output: string };
};

const instant = /^(\d{4})-(\d{2})-(\d{2})T\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:\d{2})$/i;
const maxBigInt = 2n ** 63n - 1n;

function refused(message: string): GraphQLError {
  return new GraphQLError(message, { extensions: { code: "BAD_USER_INPUT" } });
}

function parseDateTime(value: unknown): Date {
  const [text, year, month, day] = (typeof value === "string" && instant.exec(value)) || [];
  const date = new Date(text ?? "");
  // JavaScript takes February 30 for March 2.
  const lastDay = new Date(Date.UTC(Number(year), Number(month), 0)).getUTCDate();
  if (Number.isNaN(date.getTime()) || Number(day) > lastDay) {
    throw refused(`${JSON.stringify(value)} is not a point in time such as "2026-11-21T09:30:00.000Z"`);
  }
  return date;
}

/** Returns a whole number that fits a signed 64-bit column; null for any other value. */
export function parseBigInt(value: unknown): bigint | null {
  const text = typeof value === "number" && Number.isSafeInteger(value) ? String(value) : value;
  if (typeof text !== "string" || !/^-?\d{1,19}$/.test(text)) return null;
  const number = BigInt(text);
  return number <= maxBigInt && number >= -maxBigInt ? number : null;
}

function toBigInt(value: unknown): bigint {
  const number = parseBigInt(value);
  if (number === null) throw refused(`${JSON.stringify(value)} is not a whole number of at most 64 bits`);
  return number;
}

function toObject(value: unknown): JsonObject {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) {
    return toJson(value) as JsonObject;
  }
  throw refused("must be a JSON object");
}

function toJson(value: unknown): NonNullable<Json> {
  try {
    requireShape(value);
  } catch (error) {
    throw error instanceof InvalidInputError ? refused(error.message) : error;
  }
  return value as NonNullable<Json>; // from JSON text or a literal, and never called with null
}

function toText(value: unknown): string {
  if (typeof value === "string") return value;
  throw refused("must be a string");
}

type Variables = { [name: string]: unknown } | null | undefined;

function literal(node: ValueNode, variables: Variables): Json {
  switch (node.kind) {
    case Kind.NULL:
      return null;
    case Kind.INT:
    case Kind.FLOAT:
      return parseExactly(node.value) as Json; // checked with the whole value
    case Kind.STRING:
    case Kind.ENUM:
    case Kind.BOOLEAN:
      return node.value;
    case Kind.LIST:
      return node.values.map((value) => literal(value, variables));
    case Kind.OBJECT:
      return Object.fromEntries(
        node.fields
          .filter(({ value }) => value.kind !== Kind.VARIABLE || variables?.[value.name.value] !== undefined)
          .map((field) => [field.name.value, literal(field.value, variables)]),
      );
    case Kind.VARIABLE:
      return (variables?.[node.name.value] ?? null) as Json; // parsed as the variable's own type
    default:
      throw new Error(node satisfies never);
  }
}

/** The options of each scalar: description, parsing and serialisation. */
export const scalarOptions = {
  DateTime: {
    description: 'A point in time in ISO 8601 with milliseconds, in UTC: "2026-11-21T09:30:00.000Z".',
    specifiedByURL: "https://scalars.graphql.org/andimarek/date-time.html",
    serialize: (value: unknown) => (value instanceof Date ? value : new Date(String(value))).toISOString(),
    parseValue: parseDateTime,
  },
  JSON: {
    description: "Any JSON value.",
    specifiedByURL: "https://www.rfc-editor.org/rfc/rfc8259",
    serialize: (value: unknown) => value,
    parseValue: toJson,
    parseLiteral: (node: ValueNode, variables: Variables) => toJson(literal(node, variables)),
  },
  JSONObject: {
    description: "A JSON object: names with any JSON values.",
    specifiedByURL: "https://www.rfc-editor.org/rfc/rfc8259#section-4",
    serialize: (value: unknown) => value,
    parseValue: toObject,
    parseLiteral: (node: ValueNode, variables: Variables) => toObject(literal(node, variables)),
  },
  BigInt: {
    description:
      "A whole number of up to 64 bits, written as a decimal string, because JSON numbers lose digits beyond 2^53.",
    specifiedByURL: "https://www.rfc-editor.org/rfc/rfc7493#section-2.2",
    serialize: (value: unknown) => String(value),
    parseValue: toBigInt,
    parseLiteral: (node: ValueNode) => toBigInt("value" in node ? node.value : null),
  },
  Cursor: {
    description:
      "An opaque position in a stream. Pass the `cursor` of the last message as `after` to continue after it.",
    specifiedByURL: "https://relay.dev/graphql/connections.htm#sec-Cursor",
    serialize: (value: unknown) => String(value),
    parseValue: toText,
  },
} as const;
