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
import { createBatchLoader } from "../kit/batch.ts";
import { builder } from "../kit/builder.ts";
import type { Context } from "../kit/context.ts";
import { loadNode } from "../kit/node.ts";
import { onlyReadable } from "../kit/secured.ts";
import { Enforcement } from "../rule/enforcement.ts";
import { Execution } from "./execution.ts";

/** A reference to an event, enforcement or execution, not loaded yet. */
interface TraceStep {
  typename: "Event" | "Enforcement" | "Execution";
  number: bigint;
}

const maxDepth = 20;
const maxNodes = 200;
const defaultNodes = 50;
/** The maximum number of causes: each is one step back. It covers the longest chain of events with the steps between them. */
const maxCauses = 100;

const TraceNode = builder.unionType("TraceNode", {
  description: "A step of a trace.",
  types: [Event, Enforcement, Execution],
});

/** The cause of each step: an event for its enforcement, a parent or an enforcement for an execution. */
const back = sql.raw(`
  select 'Execution', e.cause_execution from attune.event e
    where w.kind = 'Event' and e.id = w.id and e.cause_execution is not null
  union all select 'Event', n.event from attune.enforcement n
    where w.kind = 'Enforcement' and n.id = w.id and n.event is not null
  union all select case when x.parent is null then 'Enforcement' else 'Execution' end, coalesce(x.parent, x.enforcement)
    from attune.execution x where w.kind = 'Execution' and x.id = w.id and coalesce(x.parent, x.enforcement) is not null`);

/** The effects of each step: the inverse of its cause, so that no step is reached twice. */
const onward = sql.raw(`
  select 'Enforcement', n.id from attune.enforcement n where w.kind = 'Event' and n.event = w.id
  union all select 'Execution', x.id from attune.execution x
    where w.kind = 'Enforcement' and x.enforcement = w.id and x.parent is null
  union all select 'Execution', x.id from attune.execution x where w.kind = 'Execution' and x.parent = w.id
  union all select 'Event', e.id from attune.event e where w.kind = 'Execution' and e.cause_execution = w.id`);

/** Returns the steps reached from each object, nearest first, up to `depth` steps away and at most `limit`, with one statement. */
async function walk(
  ctx: Context,
  from: { typename: TraceStep["typename"]; ids: readonly bigint[] },
  { step, depth, limit }: { step: SQL; depth: number; limit: number },
): Promise<Map<bigint, TraceStep[]>> {
  const found = await rows<{ top: string; kind: TraceStep["typename"]; id: string }>(
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
  const places = new Map<bigint, TraceStep[]>();
  for (const { top, kind, id } of found) {
    const list = places.get(BigInt(top)) ?? [];
    list.push({ typename: kind, number: BigInt(id) });
    places.set(BigInt(top), list);
  }
  return places;
}

type Node = typeof TraceNode.$inferType;

/** Loads the steps that exist and that the session may read, with one statement per type. */
async function loadSteps(places: readonly TraceStep[], ctx: Context, info: GraphQLResolveInfo): Promise<Node[]> {
  const nodes = await Promise.all(places.map((place) => loadNode(place, ctx, info)));
  return nodes.filter((node) => node !== null) as Node[]; // of the types of the union
}

/** Returns the given number or the default. Throws InvalidInputError if it is out of bounds. */
function boundedBy(value: number | null | undefined, name: string, bounds: { default: number; max: number }): number {
  const number = value ?? bounds.default;
  if (number < 0 || number > bounds.max) throw invalid(name, `must be from 0 to ${bounds.max}, not ${number}`);
  return number;
}

const causesOf = createBatchLoader<TraceStep[]>();
const effectsOf = createBatchLoader<TraceStep[]>();

const readableOnly = "Objects that you may not read are left out; the steps beyond them are not.";

function addDirections(typename: TraceStep["typename"], ref: typeof Execution): void {
  builder.objectField(ref, "causes", (t) =>
    t.field({
      type: [TraceNode],
      nullable: true,
      description: `What led to it, from the nearest step back to the first cause: event, enforcement, execution and so on. ${readableOnly}`,
      args: {
        first: t.arg.int({
          description: `The maximum number of steps: ${maxCauses} by default and at most.`,
        }),
      },
      complexity: ({ first }) => ({ field: 1, multiplier: Math.max(1, first ?? maxCauses) }),
      resolve: async ({ id }, args, ctx, info) => {
        const depth = boundedBy(args.first, "first", { default: maxCauses, max: maxCauses });
        const load = (ids: readonly bigint[]) => walk(ctx, { typename, ids }, { step: back, depth, limit: depth });
        return await loadSteps((await causesOf(id, load, ctx, info)) ?? [], ctx, info);
      },
    }),
  );
  builder.objectField(ref, "effects", (t) =>
    t.field({
      type: [TraceNode],
      nullable: true,
      description: `What followed from it, nearest first: events, their enforcements, their executions and so on. ${readableOnly}`,
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
        return await loadSteps((await effectsOf(id, load, ctx, info)) ?? [], ctx, info);
      },
    }),
  );
}

// The resolvers read only the id of the parent, which all three types have.
addDirections("Event", Event as unknown as typeof Execution);
addDirections("Enforcement", Enforcement as unknown as typeof Execution);
addDirections("Execution", Execution);

const always = () => sql`true`;

/** Returns the steps of a trace that the session may read, oldest first. */
async function findTrace(ctx: Context, tag: string, limit: number): Promise<TraceStep[]> {
  const [e, n, x] = [alias(event, "e"), alias(enforcement, "n"), alias(execution, "x")];
  const readable = (table: string, aliased: unknown) => onlyReadable(ctx.session, table, always)(aliased as Columns); // a table has its columns as properties
  const found = await ctx.db
    .select({ kind: sql<TraceStep["typename"]>`t.kind`, id: sql<string>`t.id::text` })
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
      return await loadSteps(await findTrace(ctx, tag, limit), ctx, info);
    },
  }),
);
