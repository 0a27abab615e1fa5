import {
  type GraphQLArgument,
  type GraphQLField,
  type GraphQLInputType,
  type GraphQLNamedType,
  type GraphQLSchema,
  getNamedType,
  isAbstractType,
  isEnumType,
  isInputObjectType,
  isInterfaceType,
  isLeafType,
  isListType,
  isNonNullType,
  isObjectType,
} from "graphql";
import { createRandom, type Random } from "./random.ts";

export interface Generated {
  kind: "query" | "mutation" | "subscription";
  query: string;
  variables: Record<string, unknown>;
}

const deepest = 5;
const long = "long ".repeat(2000);
const texts = [
  "open",
  "open.item1",
  "open.item2",
  "open.new",
  "core.noop",
  "",
  " ",
  "%",
  "_\\%",
  "\u0000",
  "\ud800",
  "ünïcödé 🎈",
  "'; drop table attune.pack; --",
  "{{ event.payload.x }}",
  "../../etc/passwd",
  "x.y.z",
  "null",
  long,
];
const numbers = [0, 1, 2, 3, -1, 100, 101, 2 ** 31 - 1, -(2 ** 31)];
const wholes = ["0", "-1", "1", "9223372036854775807", "9223372036854775808", "1e3", "", 7];
const instants = [
  "2026-01-01T00:00:00.000Z",
  "1970-01-01T00:00:00Z",
  "9999-12-31T23:59:59.999Z",
  "0000-01-01T00:00:00Z",
  "yesterday",
  "",
];
const jsons: readonly unknown[] = [
  null,
  0,
  "text",
  "\u0000",
  [],
  {},
  { a: { b: [1, "two", null] } },
  { message: "hi" },
  { __proto__: 1, constructor: 2 },
  [[[[[]]]]],
  1e308,
];
/** Values that are invalid for most types. */
const wrong: readonly unknown[] = [null, true, -1.5, "wrong", [], [null], {}, { unknown: 1 }, 1e100];

/** Returns a generator of documents: valid ones over the whole schema, with values at and beyond the limits of their types, and broken ones. */
export function createDocuments(schema: GraphQLSchema, seed: number): () => Generated {
  const random = createRandom(seed);
  const nodes = Object.values(schema.getTypeMap()).filter(
    (type) => isObjectType(type) && type.getInterfaces().some(({ name }) => name === "Node"),
  );
  const roots = {
    query: Object.values(schema.getQueryType()?.getFields() ?? {}),
    mutation: Object.values(schema.getMutationType()?.getFields() ?? {}),
    subscription: Object.values(schema.getSubscriptionType()?.getFields() ?? {}),
  };
  const possible = (type: GraphQLNamedType) => (isAbstractType(type) ? schema.getPossibleTypes(type) : []);
  return () => {
    const kind = random.chance(0.72) ? "query" : random.chance(0.9) ? "mutation" : "subscription";
    return writeDocument({ random, roots: roots[kind], kind, nodes: nodes.map(({ name }) => name), possible });
  };
}

interface Source {
  random: Random;
  kind: Generated["kind"];
  roots: readonly GraphQLField<unknown, unknown>[];
  nodes: readonly string[];
  possible(type: GraphQLNamedType): readonly GraphQLNamedType[];
}

/** Writes one document and collects the variables and fragments that its fields need. */
function writeDocument({ random, kind, roots, nodes, possible }: Source): Generated {
  const variables: Record<string, unknown> = {};
  const declared: string[] = [];
  const fragments: string[] = [];
  let aliases = 0;

  function leaf(name: string): unknown {
    switch (name) {
      case "ID":
        return random.chance(0.1) ? random.pick(texts) : globalId();
      case "String":
        return random.pick(texts);
      case "Int":
        return random.pick(numbers);
      case "Float":
        return random.pick([0.5, ...numbers]);
      case "Boolean":
        return random.chance(0.5);
      case "BigInt":
        return random.pick(wholes);
      case "DateTime":
        return random.pick(instants);
      case "JSONObject":
        return random.pick([{}, { message: "hi" }, { type: "string" }, { x: { type: "integer" } }, ...jsons.slice(6)]);
      case "JSON":
        return random.pick(jsons);
      default:
        return random.pick(["1.1.1", "0.0.0", "", "PT1H", "x", "1795251234.829.15"]);
    }
  }

  /** An id of an existing object, possibly hidden, or of none. */
  function globalId(): string {
    const number = random.chance(0.9) ? random.below(8) : random.pick(["0", "-1", "9223372036854775808", "x", ""]);
    return btoa(`${random.chance(0.97) ? random.pick(nodes) : "Nothing"}:${number}`);
  }

  function value(type: GraphQLInputType, depth: number): unknown {
    if (random.chance(0.015)) return random.pick(wrong);
    if (isNonNullType(type)) return value(type.ofType, depth);
    if (isListType(type))
      return Array.from({ length: random.pick([0, 1, 1, 2, 3]) }, () => value(type.ofType, depth + 1));
    if (isEnumType(type)) return random.pick(type.getValues()).name;
    if (!isInputObjectType(type)) return leaf(type.name);
    const fields = Object.values(type.getFields());
    const chosen = type.isOneOf
      ? [random.pick(fields)]
      : fields.filter((field) => isNonNullType(field.type) || random.chance(depth > 3 ? 0.05 : 0.25));
    return Object.fromEntries(chosen.map((field) => [field.name, value(field.type, depth + 1)]));
  }

  function argument({ name, type }: GraphQLArgument): string {
    const variable = `v${declared.length}`;
    declared.push(`$${variable}: ${type}`);
    const paging = name === "first" || name === "last";
    variables[variable] = paging && random.chance(0.9) ? 1 + random.below(3) : value(type, 0);
    return `${name}: $${variable}`;
  }

  function field(each: GraphQLField<unknown, unknown>, depth: number): string {
    const connection = /Connection$/.test(getNamedType(each.type).name);
    const given = each.args.filter(
      ({ name, type }) => isNonNullType(type) || random.chance(connection && name === "first" ? 0.9 : 0.25),
    );
    const named = random.chance(0.05) && aliases < 29;
    if (named) aliases += 1;
    const broken = random.chance(0.003) ? "x" : "";
    const directive = random.chance(0.02) ? ` @${random.pick(["skip", "include"])}(if: ${random.chance(0.5)})` : "";
    return `${named ? `alias${aliases}: ` : ""}${each.name}${broken}${given.length > 0 ? `(${given.map(argument).join(", ")})` : ""}${directive}${selection(getNamedType(each.type), depth + 1)}`;
  }

  function selection(type: GraphQLNamedType, depth: number): string {
    if (isLeafType(type)) return random.chance(0.002) ? " { x }" : "";
    const parts = ["__typename"];
    if (isObjectType(type) || isInterfaceType(type)) {
      const fields = Object.values(type.getFields()).filter(
        (each) => depth < deepest || isLeafType(getNamedType(each.type)),
      );
      const isPage = /Connection$/.test(type.name);
      const wanted = isPage ? fields.filter(({ name }) => name !== "edges" || random.chance(0.2)) : fields;
      const count = Math.min(wanted.length, isPage ? wanted.length : 1 + random.below(5));
      const first = random.below(Math.max(wanted.length, 1));
      // Consecutive fields of the type, so that none appears twice with other arguments.
      for (let i = 0; i < count; i += 1) {
        const each = wanted[(first + i) % wanted.length];
        if (each) parts.push(field(each, depth));
      }
    }
    const members = possible(type).slice();
    const some = type.name.endsWith("Result")
      ? members
      : random.chance(0.6)
        ? members.slice(random.below(members.length || 1)).slice(0, 2)
        : [];
    if (depth < deepest) for (const member of some) parts.push(spread(member, depth));
    return ` { ${parts.join(" ")} }`;
  }

  function spread(type: GraphQLNamedType, depth: number): string {
    const body = selection(type, depth);
    if (random.chance(0.7)) return `... on ${type.name}${body}`;
    const name = `f${fragments.length}`;
    fragments.push(`fragment ${name} on ${type.name}${body}`);
    return `...${name}`;
  }

  const many = kind === "subscription" ? 1 : 1 + random.below(2);
  const start = random.below(roots.length);
  const body = Array.from({ length: many }, (_, i) => roots[(start + i) % roots.length])
    .filter((root) => root !== undefined)
    .map((root) => field(root, 0));
  const head = declared.length > 0 ? `(${declared.join(", ")})` : "";
  return { kind, query: excessive(`${kind} Fuzz${head} { ${body.join(" ")} } ${fragments.join(" ")}`), variables };

  /** Sometimes exceeds a limit by far. */
  function excessive(document: string): string {
    if (!random.chance(0.03)) return document;
    const much = random.pick([
      Array.from({ length: 40 }, (_, i) => `a${i}: __typename`).join(" "),
      "__typename ".repeat(420),
      "__typename ".repeat(6000),
      "__typename @skip(if: false) ".repeat(60),
      `${"... { ".repeat(120)}__typename${" }".repeat(120)}`,
    ]);
    return document.replace("{", `{ ${much}`);
  }
}
