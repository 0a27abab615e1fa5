import { comparePositions, type Position } from "./cursor.ts";
import type { Change } from "./page.ts";

/** The newest changes, in order, without a gap: all that lie behind `tail` up to `head`. */
export interface Ring {
  push(changes: Change[]): void;
  /** Up to `limit` changes behind the position, and where the next ones begin; null when the ring does not reach back that far. */
  after(position: Position, limit: number): { changes: Change[]; end: Position } | null;
  /** How many changes lie behind the position, as far as the ring reaches. */
  since(position: Position): number;
  head(): Position;
}

/** An empty ring that begins at `start` and keeps at least `size` changes. */
export function createRing(start: Position, size: number): Ring {
  let kept: Change[] = [];
  let tail: Position = start;
  let head: Position = start;
  function firstBehind(position: Position): number {
    let low = 0;
    let high = kept.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      const change = kept[middle];
      if (change && comparePositions(change, position) <= 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }
  return {
    push: (changes) => {
      const last = changes.at(-1);
      if (!last) return;
      kept.push(...changes);
      head = { xid: last.xid, id: last.id };
      // Dropped in large steps: shifting one by one would move the whole list each time.
      if (kept.length > size * 2) {
        const dropped = kept[kept.length - size - 1];
        if (dropped) tail = { xid: dropped.xid, id: dropped.id };
        kept = kept.slice(kept.length - size);
      }
    },
    after: (position, limit) => {
      if (comparePositions(position, tail) < 0) return null;
      const first = firstBehind(position);
      const changes = kept.slice(first, first + limit);
      return { changes, end: changes.length < limit ? head : (changes.at(-1) ?? head) };
    },
    since: (position) => kept.length - firstBehind(position),
    head: () => head,
  };
}
