import { type Change, type ChangeFilter, wanted } from "./page.ts";

/** A follower that has delivered everything read so far, until a change that it wants comes. */
interface Parked {
  filter: ChangeFilter;
  wake(from: bigint): void;
}

export interface Parking {
  /** Wakes the followers that want one of the changes, all of which come after `from`; the others need not look at them. */
  wake(changes: Change[], from: bigint): void;
  /** Resolves with the id to read on after: when a wanted change has come, or at once when the signal fires. */
  wait(filter: ChangeFilter, position: bigint, signal: AbortSignal): Promise<bigint>;
}

/** The waiting followers, found by what they wait for: by entity where their filter names one. */
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
          if (wanted(follower.filter, change)) follower.wake(from);
        }
      }
      for (const follower of byEntity.get(null) ?? []) {
        if (changes.some((change) => wanted(follower.filter, change))) follower.wake(from);
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
