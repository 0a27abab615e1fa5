import { type Change, type ChangeFilter, passesFilter } from "./page.ts";

/** A follower that has delivered every change read so far, and waits for the next one that passes its filter. */
interface Parked {
  filter: ChangeFilter;
  wake(from: bigint): void;
}

/** The followers that wait for changes. */
export interface Parking {
  /** Wakes the followers whose filters one of the changes passes. All changes are after `from`. */
  wake(changes: Change[], from: bigint): void;
  /** Resolves when a change passes the filter or the signal fires, with the id after which to continue reading. */
  wait(filter: ChangeFilter, position: bigint, signal: AbortSignal): Promise<bigint>;
}

/** Creates an empty parking. Followers are indexed by the entity of their filters, if any. */
export function createParking(): Parking {
  const byEntity = new Map<bigint | null, Set<Parked>>();
  function add(follower: Parked): () => void {
    const { entityId } = follower.filter;
    const group = byEntity.get(entityId) ?? new Set();
    byEntity.set(entityId, group.add(follower));
    return () => {
      group.delete(follower);
      if (group.size === 0 && byEntity.get(entityId) === group) byEntity.delete(entityId);
    };
  }
  return {
    wake: (changes, from) => {
      for (const change of changes) {
        for (const follower of byEntity.get(change.entityId) ?? []) {
          if (passesFilter(follower.filter, change)) follower.wake(from);
        }
      }
      for (const follower of byEntity.get(null) ?? []) {
        if (changes.some((change) => passesFilter(follower.filter, change))) follower.wake(from);
      }
    },
    wait: (filter, position, signal) =>
      new Promise((resolve) => {
        if (signal.aborted) return resolve(position);
        const leave = (next: bigint) => {
          remove();
          signal.removeEventListener("abort", aborted);
          resolve(next);
        };
        const aborted = () => leave(position);
        signal.addEventListener("abort", aborted, { once: true });
        const remove = add({ filter, wake: (from) => leave(from > position ? from : position) });
      }),
  };
}
