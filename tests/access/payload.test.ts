import { sql } from "drizzle-orm";
import {
  type GraphQLObjectType,
  getNamedType,
  isInterfaceType,
  isLeafType,
  isObjectType,
  isRequiredArgument,
  isUnionType,
} from "graphql";
import { afterAll, beforeAll, expect, test } from "vitest";
import { everyGrant, resources } from "../../src/access/grants.ts";
import { schema } from "../../src/graphql/schema.ts";
import { until } from "../support/until.ts";
import { createWorld, type World } from "../support/world.ts";
import { specs } from "./matrix/facts.ts";
import { nodeTypes } from "./matrix/fields.ts";
import type { Role } from "./matrix/roles.ts";
import { createServer, type Server } from "./matrix/server.ts";
import { globalId } from "./matrix/setup.ts";

const canary = "canary-5f1c";

let world: World;
let server: Server;
let everything: Role;
let blind: Role;
beforeAll(async () => {
  world = await createWorld();
  server = await createServer(world.services);
  const identity = String(world.session.identityId);
  const readable = resources.filter((resource) => resource !== "event");
  everything = { name: "everything", identity, grants: everyGrant };
  blind = { name: "blind", identity, grants: readable.map((resource) => ({ resource, actions: ["read"] })) };
  const trigger = await world.trigger();
  const conditions = [
    { field: "secret", operator: "equals", value: "x" },
    { field: "secret", operator: "exists" },
  ];
  const passing = { action: "core.echo", actionParams: { message: "{{ event.payload.secret }}" } };
  await world.rule(trigger, { ...passing, condition: "any", conditions, recordEvaluations: "all" });
  // The reason for its failure quotes the payload.
  await world.rule(trigger, {
    action: "core.sleep",
    actionParams: { seconds: "{{ {'a': 1}[event.payload.secret] }}" },
  });
  await world.event(trigger, { secret: canary });
  const executor = world.startExecutor();
  await until(async () => (await world.all(sql`select from attune.enforcement`)).length === 2, "the enforcements");
  await executor.stop();
});
afterAll(async () => {
  await server[Symbol.asyncDispose]();
  await world[Symbol.asyncDispose]();
});

/** The selections of an object's fields, each to the leaves at most `depth` objects below. */
function selections(type: GraphQLObjectType, depth: number): string[] {
  return Object.values(type.getFields()).flatMap((field) => {
    const named = getNamedType(field.type);
    if (field.args.some(isRequiredArgument)) return [];
    if (isLeafType(named)) return [field.name];
    if (depth === 0) return [];
    if (isUnionType(named) || isInterfaceType(named)) {
      return schema
        .getPossibleTypes(named)
        .flatMap((one) => selections(one, 0).map((leaf) => `${field.name} { ... on ${one.name} { ${leaf} } }`));
    }
    if (!isObjectType(named)) return [];
    const nodes = named.getFields()["nodes"];
    const item = nodes ? getNamedType(nodes.type) : named;
    if (!isObjectType(item)) return [];
    return selections(item, depth - 1).map(
      (inner) => `${field.name}${nodes ? `(first: 3) { nodes { ${inner} } }` : ` { ${inner} }`}`,
    );
  });
}

/** The coordinates at which the role finds the canary. */
async function findsIn(role: Role, typename: string): Promise<string[]> {
  const type = schema.getType(typename);
  const table = specs[typename]?.table;
  if (!isObjectType(type) || !table) return [];
  const ids = await world.all<{ id: string }>(sql.raw(`select id::text from attune.${table} order by id desc limit 3`));
  const found: string[] = [];
  const all = selections(type, 1);
  for (const { id } of ids) {
    for (let start = 0; start < all.length; start += 20) {
      const part = all.slice(start, start + 20);
      const fields = part.map((selection, index) => selection.replace(/^\w+/, (name) => `f${start + index}: ${name}`));
      const document = `query($id: ID!) { node(id: $id) { ... on ${typename} { ${fields.join(" ")} } } }`;
      const { data, errors } = await server.ask(role, document, { id: globalId(typename, id) });
      expect(errors, document).toBeUndefined();
      for (const [key, value] of Object.entries(data.node ?? {}))
        if (JSON.stringify(value).includes(canary)) found.push(`${typename}.${all[Number(key.slice(1))]}`);
    }
  }
  return [...new Set(found)];
}

test("what an event contains is found nowhere without the grant to read events", async () => {
  const seen: string[] = [];
  for (const typename of nodeTypes()) {
    seen.push(...(await findsIn(everything, typename)));
    expect(await findsIn(blind, typename), typename).toEqual([]);
  }
  expect(seen).toEqual(
    expect.arrayContaining([
      "Event.payload",
      "Enforcement.payload",
      "Enforcement.parameters",
      "Enforcement.error",
      "Enforcement.event { payload }",
      "Execution.parameters",
      "Execution.enforcement { payload }",
      "Rule.evaluations(first: 3) { nodes { detail } }",
    ]),
  );
}, 120_000); // every field of every type, on a machine that does other work too
