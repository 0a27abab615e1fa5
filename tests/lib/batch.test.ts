import { expect, test } from "vitest";
import { createBatcher } from "../../src/lib/batch.ts";

/** Creates a batch whose calls the test ends. */
function held(options: { size: number; lanes: number }) {
  const calls: { items: number[]; end: (results?: number[]) => void; fail: (error: unknown) => void }[] = [];
  const add = createBatcher<number, number>({
    ...options,
    run: (items) =>
      new Promise((resolve, reject) => {
        calls.push({ items, end: (results) => resolve(results ?? items.map((item) => item * 10)), fail: reject });
      }),
  });
  return { add, calls, items: () => calls.map((call) => call.items) };
}

/** Lets pending callbacks run. */
const settled = () => new Promise((resolve) => setImmediate(resolve));

test("a single item is handed over at once", async () => {
  const { add, calls, items } = held({ size: 10, lanes: 1 });
  const result = add(1);
  expect(items()).toEqual([[1]]);
  calls[0]?.end();
  expect(await result).toBe(10);
});

test("items that arrive while a call is in flight are in the next call, in order, up to its size", async () => {
  const { add, calls, items } = held({ size: 3, lanes: 1 });
  const results = [1, 2, 3, 4, 5].map(add);
  expect(items()).toEqual([[1]]);
  for (const round of [0, 1, 2]) {
    calls[round]?.end();
    await settled();
  }
  expect(items()).toEqual([[1], [2, 3, 4], [5]]);
  expect(await Promise.all(results)).toEqual([10, 20, 30, 40, 50]);
});

test("as many calls are in flight as there are lanes", async () => {
  const { add, calls, items } = held({ size: 10, lanes: 2 });
  const results = [1, 2, 3, 4].map(add);
  expect(items()).toEqual([[1], [2]]);
  calls[1]?.end();
  await settled();
  expect(items()).toEqual([[1], [2], [3, 4]]);
  calls[0]?.end();
  calls[2]?.end();
  expect(await Promise.all(results)).toEqual([10, 20, 30, 40]);
});

test("a failed call rejects its items, and the next one runs", async () => {
  const { add, calls } = held({ size: 2, lanes: 1 });
  const results = Promise.allSettled([1, 2, 3, 4].map(add));
  calls[0]?.end();
  await settled();
  calls[1]?.fail(new Error("broken"));
  await settled();
  calls[2]?.end();
  const ends = (await results).map((each) => (each.status === "fulfilled" ? each.value : String(each.reason)));
  expect(ends).toEqual([10, "Error: broken", "Error: broken", 40]);
  const later = add(5);
  calls[3]?.end();
  expect(await later).toBe(50);
});

test("an item without a result rejects", async () => {
  const { add, calls } = held({ size: 2, lanes: 1 });
  const results = Promise.allSettled([1, 2, 3].map(add));
  calls[0]?.end();
  await settled();
  calls[1]?.end([20]);
  const ends = (await results).map(({ status }) => status);
  expect(ends).toEqual(["fulfilled", "fulfilled", "rejected"]);
});
