import { expect, test } from "vitest";
import { createPace } from "../../src/lib/pace.ts";

/** Whether the turn came without a timer. */
const atOnce = (turn: Promise<void>) =>
  Promise.race([turn.then(() => true), new Promise((resolve) => setImmediate(() => resolve(false)))]);

test("the first turns come at once, later ones must wait", async () => {
  const turn = createPace({ everyMs: 60_000, burst: 3 });
  expect([await atOnce(turn()), await atOnce(turn()), await atOnce(turn())]).toEqual([true, true, true]);
  expect(await atOnce(turn())).toBe(false);
});

test("under load the turns keep their distance, and after a pause they come at once again", async () => {
  const everyMs = 20;
  const turn = createPace({ everyMs, burst: 2 });
  const started = performance.now();
  for (let number = 0; number < 7; number += 1) await turn();
  expect(performance.now() - started).toBeGreaterThanOrEqual(5 * everyMs - 10); // timers may fire early by a millisecond
  await new Promise((resolve) => setTimeout(resolve, 10 * everyMs)); // the pause
  expect([await atOnce(turn()), await atOnce(turn())]).toEqual([true, true]);
});
