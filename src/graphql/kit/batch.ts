import type { GraphQLResolveInfo } from "graphql";
import type { Context } from "./context.ts";

/** Loads the values of a field for several objects; objects without a value are missing in the map. */
type Load<T> = (ids: readonly bigint[], ctx: Context, info: GraphQLResolveInfo) => Promise<ReadonlyMap<bigint, T>>;

/**
 * Returns a loader that batches the requests of one turn of the event loop for the same place in a document, so that the number
 * of statements does not grow with a list. `load` is passed to each call because it depends on the arguments.
 */
export function createBatchLoader<T>() {
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

/** Returns the place of a field in the document, where arguments and selection are the same for all objects of a type. */
function placeOf({ parentType, path }: GraphQLResolveInfo): string {
  const keys: string[] = [];
  for (let step: typeof path | undefined = path; step; step = step.prev) {
    if (typeof step.key === "string") keys.push(step.key);
  }
  return [parentType.name, ...keys].join(" ");
}
