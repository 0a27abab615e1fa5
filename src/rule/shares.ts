import { createMeter, type Meter } from "../lang/meter.ts";
import { inTurn } from "./turn.ts";

/** Together the rules of an event have the budget of so many rules: with no more rules than these, each has all that a rule may use. */
const wholeBudgets = 5;

/**
 * Does the work for each item with a meter of its own, so that all together take a bounded time, however many and slow they are. First each has an equal
 * share of what there is. Those that do not finish within theirs begin anew when all others are done, with equal shares again: what is quick is not cut
 * short by what is slow, whatever the order. `done` is called once for each item; between items other work gets its turn.
 */
export async function inShares<T, R>(
  items: readonly T[],
  work: (item: T, meter: Meter) => R,
  done: (item: T, result: R) => void,
): Promise<void> {
  const share = shareOf(items.length);
  const late: T[] = [];
  for (const item of items) {
    const meter = createMeter(share);
    const result = await inTurn(() => work(item, meter));
    if (share < 1 && meter.isExhausted()) late.push(item);
    else done(item, result);
  }
  const more = shareOf(late.length);
  for (const item of late) {
    const meter = createMeter(more);
    done(item, await inTurn(() => work(item, meter)));
  }
}

const shareOf = (count: number) => Math.min(1, wholeBudgets / Math.max(1, count));
