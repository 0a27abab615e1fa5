import type { GraphQLResolveInfo } from "graphql";
import type { Context } from "./context.ts";

/** Loads what a field needs for all of those objects at once; what the map does not have was not found. */
type Load<T> = (ids: readonly bigint[], ctx: Context, info: GraphQLResolveInfo) => Promise<ReadonlyMap<bigint, T>>;

/**
 * A field's loader that many objects share: what is asked for in one turn of the event loop at the same place of a document
 * becomes one load, so that statements do not grow with a list. `load` is given at each call, for it holds the arguments.
 */
export function createBatch<T>() {
  interface Batch {
    ids: Set<bigint>;
    loaded: Promise<ReadonlyMap<bigint, T>>;
  }
  const waiting = new WeakMap<Context, Map<string, Batch>>();

  return async (id: bigint, load: Load<T>, ctx: Context, info: GraphQLResolveInfo): Promise<T | undefined> => {
    const batches = waiting.get(ctx) ?? new Map<string, Batch>();
    waiting.set(ctx, batches);
    const place = placeOf(info);
    let batch = batches.get(place);
    if (!batch) {
      const ids = new Set<bigint>();
      const loaded = new Promise((resolve) => setImmediate(resolve)).then(() => {
        batches.delete(place);
        return load([...ids], ctx, info);
      });
      batch = { ids, loaded };
      batches.set(place, batch);
    }
    batch.ids.add(id);
    return (await batch.loaded).get(id);
  };
}

/** Where the field stands in the document: there its arguments and its selection are the same for every object of a type. */
function placeOf({ parentType, path }: GraphQLResolveInfo): string {
  const keys: string[] = [];
  for (let step: typeof path | undefined = path; step; step = step.prev) {
    if (typeof step.key === "string") keys.push(step.key);
  }
  return [parentType.name, ...keys].join(" ");
}
