import { resolveNodes } from "@pothos/plugin-relay";
import { type GraphQLResolveInfo, isObjectType } from "graphql";
import { invalid } from "../../errors.ts";
import { builder } from "./builder.ts";
import type { Context } from "./context.ts";
import { bounded } from "./filter.ts";
import { type DecodedId, decodeId } from "./ids.ts";

const Node = builder.nodeInterfaceRef();

/**
 * Loads an object with the selected fields; null if it does not exist. Objects of one type that are loaded at the same time
 * share one statement.
 */
export async function loadNode({ typename, number }: DecodedId, ctx: Context, info: GraphQLResolveInfo) {
  try {
    const [node] = await resolveNodes(builder, ctx, info, [{ typename, id: String(number) }]);
    return (await node) ?? null;
  } catch (error) {
    // The drizzle plugin's loader reports a missing object only by this message.
    if (error instanceof Error && /^Model \w+\(-?\d+\) not found$/.test(error.message)) return null;
    throw error;
  }
}

function readNodeId(id: string | number | bigint, path: string, info: GraphQLResolveInfo): DecodedId {
  const decoded = decodeId(String(id), path);
  const type = info.schema.getType(decoded.typename);
  if (!isObjectType(type) || !type.getInterfaces().some(({ name }) => name === "Node")) {
    throw invalid(path, `"${id}" is not an id`);
  }
  return decoded;
}

builder.queryField("node", (t) =>
  t.field({
    type: Node,
    nullable: true,
    description: "The object with this id; null if it does not exist.",
    args: { id: t.arg.id({ required: true, description: "The `id` of any object." }) },
    resolve: (_root, { id }, ctx, info) => loadNode(readNodeId(id, "id", info), ctx, info),
  }),
);

builder.queryField("nodes", (t) =>
  t.field({
    type: [Node],
    nullable: { list: true, items: true },
    description: "The objects with these ids, in the same order; null for each that does not exist.",
    args: { ids: t.arg.idList({ required: true, description: "The `id`s of any objects, at most 100." }) },
    complexity: ({ ids }) => ({ field: 1, multiplier: Math.max(1, ids.length) }),
    resolve: (_root, { ids }, ctx, info) => {
      const decoded = bounded(ids, "ids").map((id, index) => readNodeId(id, `ids.${index}`, info));
      return decoded.map((id) => loadNode(id, ctx, info));
    },
  }),
);
