import { describe, expect, test } from "vitest";
import { ExhaustedError, type Meter } from "../../src/lang/meter.ts";
import { inShares } from "../../src/rule/shares.ts";

/** What the conditions of one rule may use, in units of work. */
const budget = 32_000_000;

/** Does work of so many units for each item. Returns the names of those that finish, and how much was done in all, in budgets. */
async function work(items: readonly { name: string; units: number }[]) {
  let total = 0;
  const finished: string[] = [];
  const seen: string[] = [];
  const use = ({ units }: { units: number }, meter: Meter) => {
    try {
      for (let left = units; left > 0; left -= 1000) {
        meter.charge(Math.min(left, 1000));
        total += Math.min(left, 1000);
      }
      return true;
    } catch (error) {
      if (error instanceof ExhaustedError) return false;
      throw error;
    }
  };
  await inShares(items, use, ({ name }, isDone) => {
    seen.push(name);
    if (isDone) finished.push(name);
  });
  expect([...seen].sort()).toEqual(items.map(({ name }) => name).sort());
  return { finished, total: total / budget };
}

const many = (count: number, name: string, units: number) =>
  Array.from({ length: count }, (_, n) => ({ name: `${name}${n}`, units }));

describe("the rules of an event", () => {
  test("have each its whole budget, if there are ten", async () => {
    expect((await work([...many(9, "heavy", 0.9 * budget), ...many(1, "beyond", 2 * budget)])).finished).toHaveLength(
      9,
    );
  });

  test("that are quick finish among a thousand slow ones, and so do some that need much, whatever their order", async () => {
    const quick = many(900, "quick", 10_000);
    const heavy = many(3, "heavy", 0.9 * budget);
    const slow = many(7, "slow", 2 * budget);
    for (const items of [
      [...slow, ...heavy, ...quick],
      [...quick, ...heavy, ...slow],
    ]) {
      expect((await work(items)).finished.sort()).toEqual([...heavy, ...quick].map(({ name }) => name).sort());
    }
  });

  test("take together no more than two shares of ten budgets", async () => {
    const { finished, total } = await work([...many(999, "slow", 2 * budget), ...many(1, "quick", 1000)]);
    expect(finished).toEqual(["quick0"]);
    expect(total).toBeLessThan(21);
    expect((await work(many(40, "slow", 2 * budget))).total).toBeLessThan(21);
  });
});
