import { type SQL, sql } from "drizzle-orm";
import { alias } from "drizzle-orm/pg-core";
import type { GraphQLResolveInfo } from "graphql";
import type { Columns } from "../../access/resource.ts";
import { rows } from "../../db/client.ts";
import { enforcement } from "../../db/tables/enforcement.ts";
import { event } from "../../db/tables/event.ts";
import { execution } from "../../db/tables/execution.ts";
import { invalid } from "../../errors.ts";
import { Event } from "../event/event.ts";
import { createBatch } from "../kit/batch.ts";
import { builder } from "../kit/builder.ts";
import type { Context } from "../kit/context.ts";
import { loadNode } from "../kit/node.ts";
import { onlyReadable } from "../kit/secured.ts";
import { Enforcement } from "../rule/enforcement.ts";
import { Execution } from "./execution.ts";

/** One of the three, by type and number; not looked at yet. */
interface Place {
  typename: "Event" | "Enforcement" | "Execution";
  number: bigint;
}

const maxDepth = 20;
const maxNodes = 200;
const defaultNodes = 50;
/** A cause is one step back: as many as events may follow from one another, with what lies between them. */
const maxCauses = 100;

const TraceNode = builder.unionType("TraceNode", {
  description: "A step of a trace.",
  types: [Event, Enforcement, Execution],
});

/** Of each step what led to it: an enforcement comes of its event, an execution of its parent or its enforcement. */
const back = sql.raw(`
  select 'Execution', e.cause_execution from attune.event e
    where w.kind = 'Event' and e.id = w.id and e.cause_execution is not null
  union all select 'Event', n.event from attune.enforcement n
    where w.kind = 'Enforcement' and n.id = w.id and n.event is not null
  union all select case when x.parent is null then 'Enforcement' else 'Execution' end, coalesce(x.parent, x.enforcement)
    from attune.execution x where w.kind = 'Execution' and x.id = w.id and coalesce(x.parent, x.enforcement) is not null`);

/** Of each step what came of it: the same, read the other way, so that nothing is reached twice. */
const onward = sql.raw(`
  select 'Enforcement', n.id from attune.enforcement n where w.kind = 'Event' and n.event = w.id
  union all select 'Execution', x.id from attune.execution x
    where w.kind = 'Enforcement' and x.enforcement = w.id and x.parent is null
  union all select 'Execution', x.id from attune.execution x where w.kind = 'Execution' and x.parent = w.id
  union all select 'Event', e.id from attune.event e where w.kind = 'Execution' and e.cause_execution = w.id`);

/** Walks from each of the objects, nearest first, at most `depth` steps far and to `limit` others, in one statement. */
async function walk(
  ctx: Context,
  from: { typename: Place["typename"]; ids: readonly bigint[] },
  { step, depth, limit }: { step: SQL; depth: number; limit: number },
): Promise<Map<bigint, Place[]>> {
  const found = await rows<{ top: string; kind: Place["typename"]; id: string }>(
    ctx.db,
    sql`select t.top::text as "top", f.kind as "kind", f.id::text as "id"
      from unnest(${`{${from.ids.join(",")}}`}::text::bigint[]) as t(top) cross join lateral (
        with recursive walk(kind, id, depth) as (
          select ${from.typename}::text, t.top, 0
          union all select s.kind, s.id, w.depth + 1 from walk w cross join lateral (${step}) as s(kind, id)
            where w.depth < ${depth}::int)
        select kind, id, depth from walk where depth > 0 limit ${limit}::int) f
      order by t.top, f.depth, f.kind, f.id`,
  );
  const places = new Map<bigint, Place[]>();
  for (const { top, kind, id } of found) {
    const list = places.get(BigInt(top)) ?? [];
    list.push({ typename: kind, number: BigInt(id) });
    places.set(BigInt(top), list);
  }
  return places;
}

type Node = typeof TraceNode.$inferType;

/** Loads what is there and may be read, in one statement for each of the three types. */
async function loadPlaces(places: readonly Place[], ctx: Context, info: GraphQLResolveInfo): Promise<Node[]> {
  const nodes = await Promise.all(places.map((place) => loadNode(place, ctx, info)));
  return nodes.filter((node) => node !== null) as Node[]; // of the types that were asked for
}

/** The number given, or the default; InvalidInputError when it is out of its bounds. */
function boundedBy(value: number | null | undefined, name: string, bounds: { default: number; max: number }): number {
  const number = value ?? bounds.default;
  if (number < 0 || number > bounds.max) throw invalid(name, `must be from 0 to ${bounds.max}, not ${number}`);
  return number;
}

const causesOf = createBatch<Place[]>();
const effectsOf = createBatch<Place[]>();

const filtered = "Objects that you may not read are left out; the steps beyond them are not.";

function addDirections(typename: Place["typename"], ref: typeof Execution): void {
  builder.objectField(ref, "causes", (t) =>
    t.field({
      type: [TraceNode],
      nullable: true,
      description: `What led to it, from the nearest step back to the first cause: event, enforcement, execution and so on. ${filtered}`,
      args: {
        first: t.arg.int({
          description: `The maximum number of steps: ${maxCauses} by default and at most.`,
        }),
      },
      complexity: ({ first }) => ({ field: 1, multiplier: Math.max(1, first ?? maxCauses) }),
      resolve: async ({ id }, args, ctx, info) => {
        const depth = boundedBy(args.first, "first", { default: maxCauses, max: maxCauses });
        const load = (ids: readonly bigint[]) => walk(ctx, { typename, ids }, { step: back, depth, limit: depth });
        return await loadPlaces((await causesOf(id, load, ctx, info)) ?? [], ctx, info);
      },
    }),
  );
  builder.objectField(ref, "effects", (t) =>
    t.field({
      type: [TraceNode],
      nullable: true,
      description: `What followed from it, nearest first: events, their enforcements, their executions and so on. ${filtered}`,
      args: {
        maxDepth: t.arg.int({
          defaultValue: maxDepth,
          description: `The maximum number of steps, at most ${maxDepth}.`,
        }),
        first: t.arg.int({
          description: `The maximum number of objects: ${defaultNodes} by default, at most ${maxNodes}.`,
        }),
      },
      complexity: ({ first }) => ({ field: 1, multiplier: Math.max(1, first ?? defaultNodes) }),
      resolve: async ({ id }, args, ctx, info) => {
        const depth = boundedBy(args.maxDepth, "maxDepth", { default: maxDepth, max: maxDepth });
        const limit = boundedBy(args.first, "first", { default: defaultNodes, max: maxNodes });
        const load = (ids: readonly bigint[]) => walk(ctx, { typename, ids }, { step: onward, depth, limit });
        return await loadPlaces((await effectsOf(id, load, ctx, info)) ?? [], ctx, info);
      },
    }),
  );
}

// Of the parent nothing is read but its id, which each of them has.
addDirections("Event", Event as unknown as typeof Execution);
addDirections("Enforcement", Enforcement as unknown as typeof Execution);
addDirections("Execution", Execution);

const everything = () => sql`true`;

/** Everything of a trace that the session may read, oldest first. */
async function findTrace(ctx: Context, tag: string, limit: number): Promise<Place[]> {
  const [e, n, x] = [alias(event, "e"), alias(enforcement, "n"), alias(execution, "x")];
  const readable = (table: string, aliased: unknown) =>
    onlyReadable(ctx.session, table, everything)(aliased as Columns); // a table has its columns as properties
  const found = await ctx.db
    .select({ kind: sql<Place["typename"]>`t.kind`, id: sql<string>`t.id::text` })
    .from(
      sql`(
        (select 'Event' as kind, 1 as rank, e.id, e.created from attune.event e
          where e.trace_tag = ${tag} and ${readable("events", e)} order by e.created, e.id limit ${limit})
        union all
        (select 'Enforcement', 2, n.id, n.created from attune.enforcement n
          where n.id in (select enforcement from attune.execution where trace_tag = ${tag}
              union select m.id from attune.enforcement m join attune.event o on o.id = m.event where o.trace_tag = ${tag})
            and ${readable("enforcements", n)} order by n.created, n.id limit ${limit})
        union all
        (select 'Execution', 3, x.id, x.created from attune.execution x
          where x.trace_tag = ${tag} and ${readable("executions", x)} order by x.created, x.id limit ${limit})) t`,
    )
    .orderBy(sql`t.created, t.rank, t.id`)
    .limit(limit);
  return found.map(({ kind, id }) => ({ typename: kind, number: BigInt(id) }));
}

builder.queryField("trace", (t) =>
  t.field({
    type: [TraceNode],
    nullable: true,
    description: "The events, enforcements and executions of one trace that you may read, oldest first.",
    args: {
      tag: t.arg.string({ required: true, description: "The trace tag." }),
      first: t.arg.int({
        description: `The maximum number of objects: ${defaultNodes} by default, at most ${maxNodes}.`,
      }),
    },
    complexity: ({ first }) => ({ field: 1, multiplier: Math.max(1, first ?? defaultNodes) }),
    resolve: async (_root, { tag, first }, ctx, info) => {
      const limit = boundedBy(first, "first", { default: defaultNodes, max: maxNodes });
      return await loadPlaces(await findTrace(ctx, tag, limit), ctx, info);
    },
  }),
);
