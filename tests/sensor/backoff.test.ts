import { describe, expect, test } from "vitest";
import { readConfig } from "../../src/config.ts";
import { countFailure, delayAfter } from "../../src/sensor/backoff.ts";
import { lookMs } from "../../src/sensor/supervise.ts";

describe("the delay before a sensor is started again", () => {
  test("doubles from one second to five minutes", () => {
    const delays = Array.from({ length: 12 }, (_, index) => delayAfter(index + 1) / 1000);
    expect(delays).toEqual([1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]);
    expect(delayAfter(10_000)).toBe(300_000);
  });

  test("begins anew after the sensor ran for a minute", () => {
    expect([countFailure(0, 10), countFailure(4, 59_999), countFailure(4, 60_000)]).toEqual([1, 5, 1]);
  });
});

test("by default another server has found a lost lease within 25 s, which leaves five of the 30 for the start", () => {
  const { sensorLeaseMs: leaseMs } = readConfig({}, false);
  expect(leaseMs + lookMs(leaseMs)).toBeLessThanOrEqual(25_000);
});
