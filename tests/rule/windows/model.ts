import fc from "fast-check";
import type { WindowDefinition } from "../../../src/catalog/window.ts";
import type { JsonObject } from "../../../src/lib/json.ts";

/** An event of one key at a second of the fake clock: a match of the rule, or what answers one. */
export interface Happening {
  event: string;
  second: number;
  isMatch: boolean;
}

/** A start with an event, at a second of the fake clock. */
export interface Begun {
  event: string;
  second: number;
}

/**
 * What a window starts, by a clock that ticks second by second. At each it looks first at what is due, then at what happens. It keeps the
 * whole history, and shares no code with what it models.
 */
export function simulate(window: WindowDefinition, happenings: readonly Happening[], until: number): Begun[] {
  const starts: Begun[] = [];
  let waiting: Happening[] = [];
  for (let second = 0; second <= until; second += 1) {
    const first = waiting[0];
    const last = waiting.at(-1);
    if (first && last && isDue(window, { first: first.second, last: last.second, second })) {
      starts.push({ event: (window.absence ? first : last).event, second });
      waiting = [];
    }
    for (const happening of happenings.filter((each) => each.second === second)) {
      if (!happening.isMatch) {
        if (window.absence) waiting = [];
        continue;
      }
      if (startsAtOnce(window, starts, { waiting, second })) {
        starts.push({ event: happening.event, second });
        waiting = [];
      } else waiting.push(happening);
    }
  }
  return starts;
}

function isDue(window: WindowDefinition, { first, last, second }: { first: number; last: number; second: number }) {
  if (window.absence) return second - first === window.absence.within;
  if (!window.debounce) return false;
  const { quiet, max } = window.debounce;
  return second - last === quiet || second - first === max;
}

function startsAtOnce(
  { throttle, count, once }: WindowDefinition,
  starts: readonly Begun[],
  { waiting, second }: { waiting: readonly Happening[]; second: number },
): boolean {
  if (throttle) return starts.every((start) => second - start.second >= throttle.per);
  if (once) {
    const { per } = once;
    const period = (at: number) => (per === undefined ? 0 : Math.floor(at / per));
    return starts.every((start) => period(start.second) !== period(second));
  }
  if (!count) return false;
  return waiting.filter((each) => second - each.second <= count.within).length + 1 >= count.times;
}

const few = fc.integer({ min: 1, max: 12 });

/** Generated windows of every kind, with times of a few seconds. */
export const windows: fc.Arbitrary<WindowDefinition> = fc.oneof(
  fc.record({ throttle: fc.record({ per: few }) }),
  fc
    .tuple(few, fc.option(few))
    .map(([quiet, max]) => ({ debounce: max === null ? { quiet } : { quiet, max: quiet + max } })),
  fc.record({ count: fc.record({ times: fc.integer({ min: 2, max: 5 }), within: few }) }),
  fc.record({
    absence: few.map((within) => ({ of: { condition: "all" as const, conditions: [] as JsonObject[] }, within })),
  }),
  fc.option(few).map((per) => ({ once: per === null ? {} : { per } })),
);

/** Generated histories of one key within a minute, in order. */
export const histories: fc.Arbitrary<Happening[]> = fc
  .array(fc.tuple(fc.integer({ min: 0, max: 60 }), fc.boolean(), fc.boolean()), { maxLength: 40 })
  .map((steps) =>
    steps
      .map(([second, one, other]) => ({ second, isMatch: one || other }))
      .sort((a, b) => a.second - b.second)
      .map((each, index) => ({ ...each, event: String(index + 1) })),
  );
