import { createMeter, type Meter } from "../lang/meter.ts";
import { inTurn } from "./turn.ts";

/** Together the rules of an event have the budget of so many rules: with no more rules than these, each has all that a rule may use. */
const wholeBudgets = 10;
/** However many rules there are, each has this share of a budget, which is enough for all that is usual. */
const leastShare = 0.01;

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
  const late: { item: T; result: R }[] = [];
  for (const item of items) {
    const meter = createMeter(share);
    const result = await inTurn(() => work(item, meter));
    if (meter.isExhausted()) late.push({ item, result });
    else done(item, result);
  }
  const more = shareOf(late.length);
  for (const { item, result } of late) {
    const meter = createMeter(more);
    done(item, more > share ? await inTurn(() => work(item, meter)) : result);
  }
}

const shareOf = (count: number) => Math.max(leastShare, Math.min(1, wholeBudgets / Math.max(1, count)));
