import type { Change } from "./page.ts";

/** The newest changes, in order and complete: all those after the id `tail`, up to the id `head`. */
export interface Ring {
  /** Adds the changes after the old head, up to the new one. */
  push(changes: Change[], head: bigint): void;
  /** Returns at most `limit` changes after the id, and the id after which to continue; null when older ones have been dropped. */
  after(id: bigint, limit: number): { changes: Change[]; end: bigint } | null;
  /** Returns how many changes in the ring are after the id. */
  since(id: bigint): number;
  head(): bigint;
}

/** Creates an empty ring that begins after the id `start` and keeps at least `size` changes. */
export function createRing(start: bigint, size: number): Ring {
  let kept: Change[] = [];
  let tail = start;
  let head = start;
  function firstAfter(id: bigint): number {
    let low = 0;
    let high = kept.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      const change = kept[middle];
      if (change && change.id <= id) low = middle + 1;
      else high = middle;
    }
    return low;
  }
  return {
    push: (changes, newHead) => {
      kept.push(...changes);
      head = newHead;
      // Dropped in large steps: shifting one by one would move the whole list each time.
      if (kept.length > size * 2) {
        tail = kept[kept.length - size - 1]?.id ?? tail;
        kept = kept.slice(kept.length - size);
      }
    },
    after: (id, limit) => {
      if (id < tail) return null;
      const first = firstAfter(id);
      const changes = kept.slice(first, first + limit);
      return { changes, end: changes.length < limit ? head : (changes.at(-1)?.id ?? head) };
    },
    since: (id) => kept.length - firstAfter(id),
    head: () => head,
  };
}
