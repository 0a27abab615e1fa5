import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { WindowDefinition } from "../../../src/catalog/window.ts";
import {
  type Budget,
  decide,
  emptyState,
  fullBudget,
  isIdle,
  passTime,
  type Start,
  spend,
  type WindowState,
} from "../../../src/rule/decide.ts";
import { type Begun, type Happening, histories, simulate, windows } from "./model.ts";

const end = 100;
const asStart = ({ event, second }: Begun): Start => ({ event, at: second * 1000 });

/** Decides step by step. Between the steps the time may pass, and the state is stored, and forgotten when it says nothing. */
function run(window: WindowDefinition, history: readonly Happening[], looks: readonly boolean[]): Start[] {
  const starts: Start[] = [];
  let stored: string | null = null;
  const keep = (state: WindowState) => {
    stored = isIdle(state) ? null : JSON.stringify(state);
  };
  const look = (at: number) => {
    if (stored === null) return;
    const passed = passTime(JSON.parse(stored), at);
    starts.push(...passed.starts);
    keep(passed.state);
  };
  for (const [index, { event, second, isMatch }] of history.entries()) {
    const at = second * 1000;
    if (looks[index]) look(at);
    const state = stored === null ? emptyState(at) : JSON.parse(stored);
    const decided = decide(window, state, { event, at, isMatch });
    starts.push(...decided.starts);
    keep(decided.state);
  }
  look(end * 1000);
  return starts;
}

describe("a window", () => {
  test("starts what the model starts, whenever the time is looked at and whatever is stored in between", () => {
    const looks = fc.array(fc.boolean(), { minLength: 40, maxLength: 40 });
    const kinds = new Map<string, number>();
    fc.assert(
      fc.property(windows, histories, looks, (window, history, when) => {
        const expected = simulate(window, history, end).map(asStart);
        expect(run(window, history, when)).toEqual(expected);
        const kind = Object.keys(window)[0] ?? "";
        kinds.set(kind, (kinds.get(kind) ?? 0) + expected.length);
      }),
      { numRuns: 3000 },
    );
    expect([...kinds].filter(([, starts]) => starts > 100)).toHaveLength(5);
  });

  test("takes an event that comes late as simultaneous with the newest it has seen", () => {
    const window: WindowDefinition = { throttle: { per: 10 } };
    const first = decide(window, emptyState(0), { event: "2", at: 50_000, isMatch: true });
    const late = decide(window, first.state, { event: "1", at: 30_000, isMatch: true });
    expect(late).toMatchObject({ starts: [], isHeld: true, state: { at: 50_000, count: 1 } });
  });

  test("whose event was deleted starts nothing and ends", () => {
    const waiting: WindowState = { ...emptyState(0), from: 0, dueAt: 5000, event: null, count: 1 };
    expect(passTime(waiting, 5000)).toEqual({ state: emptyState(5000), starts: [] });
  });
});

describe("a limit of starts", () => {
  test("never allows more than its count in a period, nothing in a pause, and holds back nothing else", () => {
    const limits = fc.record({
      count: fc.integer({ min: 1, max: 5 }),
      per: fc.integer({ min: 1, max: 10 }),
      pause: fc.integer({ min: 1, max: 20 }),
    });
    const gaps = fc.array(fc.integer({ min: 0, max: 3000 }), { maxLength: 60 });
    fc.assert(
      fc.property(limits, gaps, (limit, steps) => {
        let budget: Budget = fullBudget();
        let at = 0;
        const allowed: number[] = [];
        const trips: number[] = [];
        for (const gap of steps) {
          at += gap;
          const spent = spend(budget, limit, at);
          budget = JSON.parse(JSON.stringify(spent.budget));
          const isPaused = trips.some((trip) => at >= trip && at < trip + limit.pause * 1000);
          if (spent.trips) trips.push(at);
          if (spent.isAllowed) allowed.push(at);
          expect(spent.isAllowed).toBe(!isPaused && !spent.trips);
        }
        for (const trip of trips) {
          const before = allowed.filter((each) => each <= trip && each > trip - limit.per * 1000);
          expect(before.length).toBeGreaterThanOrEqual(limit.count);
        }
        // Of so many starts that follow one another, a whole period or a pause lies between the first and the last.
        for (const [index, start] of allowed.entries()) {
          const later = allowed[index + 2 * limit.count];
          if (later !== undefined)
            expect(later - start).toBeGreaterThanOrEqual(Math.min(limit.per, limit.pause) * 1000);
        }
      }),
      { numRuns: 1000 },
    );
  });
});
