import { expect, test } from "vitest";
import { createRest, startLoop } from "../../src/lib/loop.ts";
import { stoppable } from "../../src/lib/stoppable.ts";
import { until } from "../support/until.ts";

const never = 1_000_000;

/** Starts a loop whose passes the test ends. */
function held(results: (() => number)[] = []) {
  const passes: { end: () => void; signal: AbortSignal }[] = [];
  const failures: unknown[] = [];
  const loop = startLoop({
    pass: (signal) =>
      new Promise((resolve, reject) => {
        const result = results[passes.length] ?? (() => never);
        passes.push({
          signal,
          end: () => {
            try {
              resolve(result());
            } catch (error) {
              reject(error);
            }
          },
        });
      }),
    failed: (error) => failures.push(error),
  });
  return { loop, passes, failures };
}

const settled = () => new Promise((resolve) => setTimeout(resolve, 20));

test("the first pass runs at once; a wake during a pass runs another, and many wakes run one", async () => {
  const { loop, passes } = held();
  expect(passes).toHaveLength(1);
  for (let n = 0; n < 5; n += 1) loop.wake();
  passes[0]?.end();
  await until(() => passes.length === 2, "the second pass");
  passes[1]?.end();
  await settled();
  expect(passes).toHaveLength(2);
  loop.wake();
  await until(() => passes.length === 3, "the pass after a wake while idle");
  passes[2]?.end();
  await loop[Symbol.asyncDispose]();
});

test("a pass returns the delay of the next one; 0 means at once", async () => {
  const { loop, passes } = held([() => 0, () => 50]);
  passes[0]?.end();
  await until(() => passes.length === 2, "the pass at once");
  const from = performance.now();
  passes[1]?.end();
  await until(() => passes.length === 3, "the pass after 50 ms");
  expect(performance.now() - from).toBeGreaterThanOrEqual(45);
  passes[2]?.end();
  await loop[Symbol.asyncDispose]();
});

const fail = () => {
  throw new Error("away");
};

test("a failed pass is reported and retried after a growing delay, which a success resets", async () => {
  const { loop, passes, failures } = held([fail, fail, fail, () => 0, fail]);
  const delays: number[] = [];
  for (let n = 0; n < 5; n += 1) {
    const from = performance.now();
    passes[n]?.end();
    await until(() => passes.length === n + 2, `pass ${n + 2}`);
    delays.push(performance.now() - from);
  }
  expect(failures).toHaveLength(4);
  const [first, second, third, success, afterSuccess] = delays;
  expect(first).toBeGreaterThanOrEqual(95);
  expect(second).toBeGreaterThanOrEqual(195);
  expect(third).toBeGreaterThanOrEqual(395);
  expect(success).toBeLessThan(300);
  expect(afterSuccess).toBeGreaterThanOrEqual(95);
  expect(afterSuccess).toBeLessThan(350);
  passes[5]?.end();
  await loop[Symbol.asyncDispose]();
});

test("a wake ends the delay after a failure", async () => {
  const { loop, passes, failures } = held(Array.from({ length: 6 }, () => fail));
  const from = performance.now();
  for (let n = 0; n < 6; n += 1) {
    passes[n]?.end();
    await until(() => failures.length === n + 1, "the failure");
    loop.wake();
    await until(() => passes.length === n + 2, "the next pass");
  }
  // Unwoken it would have waited 6 s in all.
  expect(performance.now() - from).toBeLessThan(2000);
  passes[6]?.end();
  await loop[Symbol.asyncDispose]();
});

test("stop signals the pass in flight and waits for it, and no other follows", async () => {
  const { loop, passes, failures } = held();
  let stopped = false;
  const stopping = loop[Symbol.asyncDispose]().then(() => {
    stopped = true;
  });
  await settled();
  expect(stopped).toBe(false);
  expect(passes[0]?.signal.aborted).toBe(true);
  loop.wake();
  passes[0]?.end();
  await stopping;
  await settled();
  expect({ passes: passes.length, failures }).toEqual({ passes: 1, failures: [] });
});

test("stop ends the wait between passes", async () => {
  const { loop, passes } = held();
  passes[0]?.end();
  await settled();
  const from = performance.now();
  await loop[Symbol.asyncDispose]();
  expect(performance.now() - from).toBeLessThan(500);
});

test("ending a rest ends its sleep early, also before the sleep starts, but not before it is armed", async () => {
  const rest = createRest();
  rest.arm();
  const sleeping = rest.sleep(never);
  rest.end();
  await sleeping;
  rest.arm();
  rest.end();
  await rest.sleep(never);
  rest.arm();
  const from = performance.now();
  await rest.sleep(30);
  expect(performance.now() - from).toBeGreaterThanOrEqual(25);
});

test("a stoppable generator's return ends its current wait", async () => {
  let cleaned = false;
  const numbers = stoppable(async function* (signal) {
    try {
      yield 1;
      await new Promise((resolve) => signal.addEventListener("abort", resolve));
      yield 2;
    } finally {
      cleaned = true;
    }
  });
  expect(await numbers.next()).toEqual({ value: 1, done: false });
  const waiting = numbers.next();
  const from = performance.now();
  expect(await numbers.return()).toEqual({ value: undefined, done: true });
  expect(performance.now() - from).toBeLessThan(500);
  await waiting;
  expect(await numbers.next()).toEqual({ value: undefined, done: true });
  expect(cleaned).toBe(true);
});
