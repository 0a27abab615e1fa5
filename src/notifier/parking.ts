import { comparePositions, type Position } from "./cursor.ts";
import { type Change, type ChangeFilter, wanted } from "./page.ts";

/** A follower that has delivered everything read so far, until a change that it wants comes. */
interface Parked {
  filter: ChangeFilter;
  wake(from: Position): void;
}

export interface Parking {
  /** Wakes those who want one of the changes, which lie behind `from`; what they did not want, they need not look at. */
  wake(changes: Change[], from: Position): void;
  /** Resolves with where to read on: when a wanted change has come, or at once when the signal fires. */
  wait(filter: ChangeFilter, cursor: Position, signal: AbortSignal): Promise<Position>;
}

/** The followers that wait, found by what they wait for: by entity where their filter names one. */
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
    wait: (filter, cursor, signal) =>
      new Promise((resolve) => {
        if (signal.aborted) return resolve(cursor);
        const leave = (next: Position) => {
          remove();
          signal.removeEventListener("abort", aborted);
          resolve(next);
        };
        const aborted = () => leave(cursor);
        signal.addEventListener("abort", aborted, { once: true });
        const remove = add({
          filter,
          wake: (from) => leave(comparePositions(from, cursor) > 0 ? from : cursor),
        });
      }),
  };
}
