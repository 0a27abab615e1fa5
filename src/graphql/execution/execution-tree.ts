import { encodeBase64, encodeCursorTuple } from "@pothos/core";
import { getSchemaConfig, queryFromInfo } from "@pothos/plugin-drizzle";
import { type SQL, sql } from "drizzle-orm";
import { alias } from "drizzle-orm/pg-core";
import type { GraphQLResolveInfo } from "graphql";
import type { Columns } from "../../access/resource.ts";
import { rows } from "../../db/client.ts";
import { execution } from "../../db/tables/execution.ts";
import { invalid } from "../../errors.ts";
import { globalId } from "../../lib/global-id.ts";
import { createBatchLoader } from "../kit/batch.ts";
import { builder } from "../kit/builder.ts";
import type { Context } from "../kit/context.ts";
import { pageCost } from "../kit/list.ts";
import { loadNode } from "../kit/node.ts";
import { between, limitOf, orderBy, readingOrder } from "../kit/page.ts";
import type { ListArgs } from "../kit/reading.ts";
import { countLimit } from "../kit/totals.ts";
import { Execution, executions } from "./execution.ts";

const maxLevels = 100;
const defaultDepth = 10;

interface TreeArgs extends ListArgs {
  maxDepth?: number | null;
}

/** A page of the descendants of an execution, and whether there are more in the direction of reading. */
interface Page {
  rows: Record<string, unknown>[];
  more: boolean;
}

const arrayOf = (ids: readonly bigint[]) => sql`${`{${ids.join(",")}}`}::text::bigint[]`;

/** Returns a subquery of the ids of the descendants of `t.top`, at most `depth` levels down. */
const below = (depth: number): SQL => sql`(
  with recursive below(id, depth) as (
    select t.top, 0
    union all select c.id, b.depth + 1 from below b join attune.execution c on c.parent = b.id where b.depth < ${depth}::int)
  select id from below where depth > 0)`;

function depthOf({ maxDepth }: TreeArgs): number {
  const depth = maxDepth ?? defaultDepth;
  if (depth < 0 || depth > maxLevels) throw invalid("maxDepth", `must be from 0 to ${maxLevels}, not ${depth}`);
  return depth;
}

/** Returns the parts of the query of a page. A page from the end is read backwards and then reversed. */
function plan(args: TreeArgs, ctx: Context) {
  const { order, condition } = executions.read(args, ctx); // checks the arguments, the cursors too
  const x = alias(execution, "x") as unknown as Columns; // a table has its columns as properties
  return {
    keys: order.keys,
    backward: typeof args.last === "number",
    limit: limitOf(args),
    condition: condition(x),
    bounds: between(args, order, x) ?? sql`true`,
    order: orderBy(readingOrder(args, order), x),
  };
}

/** Returns the selection of the nodes as a query. Each object must call it: the plugin remembers per object which fields were loaded. */
function selectionOf(args: TreeArgs, ctx: Context, info: GraphQLResolveInfo): object {
  const columns = ["id", ...plan(args, ctx).keys];
  return queryFromInfo({
    config: getSchemaConfig(builder),
    context: ctx,
    info,
    paths: [["nodes"], ["edges", "node"]],
    columns: Object.fromEntries(columns.map((key) => [key, true])),
  });
}

/** Loads the pages of several executions: one statement finds the rows, a second one reads the selected fields. */
async function loadPages(
  tops: readonly bigint[],
  args: TreeArgs,
  ctx: Context,
  selection: object,
): Promise<Map<bigint, Page>> {
  const { backward, limit, condition, bounds, order } = plan(args, ctx);
  const found = await ctx.db
    .select({ top: sql<string>`p.top::text`, id: sql<string>`p.id::text` })
    .from(
      sql`(select t.top, q.id, q.place from unnest(${arrayOf(tops)}) as t(top) cross join lateral (
      select x.id, row_number() over (order by ${order}) as place from attune.execution x
      where x.id in ${below(depthOf(args))} and ${condition} and ${bounds}
      order by ${order} limit ${limit}) q) p`,
    )
    .orderBy(sql`p.top, p.place`);
  const ids = [...new Set(found.map(({ id }) => BigInt(id)))];
  const read =
    ids.length === 0
      ? []
      : await ctx.db.query.executions.findMany({ ...selection, where: { id: { in: ids } } } as object);
  const byId = new Map(read.map((row) => [row.id, row]));
  return new Map(
    [...Map.groupBy(found, ({ top }) => BigInt(top))].map(([top, list]) => {
      const page = list.slice(0, limit - 1).flatMap(({ id }) => byId.get(BigInt(id)) ?? []);
      return [top, { rows: backward ? page.reverse() : page, more: list.length === limit }];
    }),
  );
}

function toConnection({ rows: page, more }: Page, args: TreeArgs, ctx: Context) {
  const { keys, backward } = plan(args, ctx);
  const edges = page.map((node) => {
    const values = keys.map((key) => node[key]);
    return { cursor: encodeBase64(`DC:${encodeCursorTuple(values)}`), node };
  });
  return {
    edges,
    pageInfo: {
      startCursor: edges[0]?.cursor ?? null,
      endCursor: edges.at(-1)?.cursor ?? null,
      hasNextPage: backward ? typeof args.before === "string" : more,
      hasPreviousPage: backward ? more : typeof args.after === "string",
    },
  };
}

async function countBelow(tops: readonly bigint[], args: TreeArgs, ctx: Context): Promise<Map<bigint, number>> {
  const { condition } = plan(args, ctx);
  const found = await ctx.db.select({ top: sql<string>`p.top::text`, count: sql<string>`p.count::text` }).from(
    sql`(select t.top, (select count(*) from (select from attune.execution x
      where x.id in ${below(depthOf(args))} and ${condition} limit ${countLimit}) c) as count from unnest(${arrayOf(tops)}) as t(top)) p`,
  );
  return new Map(found.map(({ top, count }) => [BigInt(top), Number(count)]));
}

/** Returns the ids of the ancestors of each execution that the session may read, topmost first. */
async function loadAbove(ids: readonly bigint[], ctx: Context): Promise<Map<bigint, bigint[]>> {
  const found = await rows<{ bottom: string; id: string }>(
    ctx.db,
    sql`with recursive above(bottom, id, height) as (
        select x.id, x.parent, 1 from attune.execution x where x.id = any (${arrayOf(ids)}) and x.parent is not null
        union all select a.bottom, x.parent, a.height + 1 from above a join attune.execution x on x.id = a.id
          where x.parent is not null and a.height < ${maxLevels}::int)
      select bottom::text as "bottom", id::text as "id" from above order by bottom, height desc`,
  );
  const readable = await ctx.db.query.executions.findMany({
    columns: { id: true },
    where: { id: { in: [...new Set(found.map(({ id }) => BigInt(id)))] } },
  });
  const may = new Set(readable.map(({ id }) => id));
  const above = found.map(({ bottom, id }) => ({ bottom: BigInt(bottom), id: BigInt(id) }));
  return new Map(
    [...Map.groupBy(above, ({ bottom }) => bottom)].map(([bottom, list]) => [
      bottom,
      list.map(({ id }) => id).filter((id) => may.has(id)),
    ]),
  );
}

const pages = createBatchLoader<Page>();
const counts = createBatchLoader<number>();
const ancestors = createBatchLoader<bigint[]>();
const paths = createBatchLoader<bigint[]>();

builder.objectField(Execution, "descendants", (t) =>
  t.connection(
    {
      type: Execution,
      description: "Its descendants: its children, their children, and so on.",
      args: {
        ...executions.args,
        maxDepth: t.arg.int({
          defaultValue: defaultDepth,
          description: `The maximum number of levels, at most ${maxLevels}.`,
        }),
      },
      complexity: pageCost,
      resolve: async ({ id }, args, ctx, info) => {
        const selection = selectionOf(args, ctx, info);
        const page = await pages(id, (ids) => loadPages(ids, args, ctx, selection), ctx, info);
        const totalCount = async () => (await counts(id, (ids) => countBelow(ids, args, ctx), ctx, info)) ?? 0;
        return { ...toConnection(page ?? { rows: [], more: false }, args, ctx), totalCount } as never; // rows as the plugin reads them
      },
    },
    executions.connection as never, // of the same type, which its TypeScript type does not show
  ),
);

builder.objectField(Execution, "ancestors", (t) =>
  t.field({
    type: [Execution],
    description: `Its ancestors that you may read, topmost first, at most ${maxLevels}.`,
    complexity: { field: 1, multiplier: defaultDepth },
    resolve: async ({ id }, _args, ctx, info) => {
      const above = (await ancestors(id, (ids) => loadAbove(ids, ctx), ctx, info)) ?? [];
      const nodes = await Promise.all(above.map((number) => loadNode({ typename: "Execution", number }, ctx, info)));
      return nodes.filter((node) => node !== null) as (typeof Execution.$inferType)[]; // only executions were loaded
    },
  }),
);

builder.objectField(Execution, "path", (t) =>
  t.field({
    type: ["ID"],
    description: "The ids of its ancestors that you may read, topmost first, followed by its own.",
    resolve: async ({ id }, _args, ctx, info) => {
      const above = (await paths(id, (ids) => loadAbove(ids, ctx), ctx, info)) ?? [];
      return [...above, id].map((each) => globalId("Execution", each));
    },
  }),
);
