import { type ActiveHours, activeHours, type Weekday, weekdays } from "../catalog/active-hours.ts";
import type { CriterionOutcome } from "../lang/criteria.ts";
import { quote } from "../lang/quote.ts";
import type { Json } from "../lib/json.ts";
import { checkInput } from "../schema/input.ts";
import { requireZone, type Schedule } from "./schedule.ts";
import { withoutNulls } from "./window.ts";

const dayMinutes = 24 * 60;
const weekMinutes = 7 * dayMinutes;
const minuteMs = 60_000;

/** Active hours that can be asked about a time. */
export interface Hours {
  /** Returns what a rule's evaluation says of an event of that time: whether it is within the hours. */
  judge(time: number): CriterionOutcome;
  isActive(time: number): boolean;
  /** Returns how many minutes of local time pass until a span begins. */
  untilNextSpan(time: number): number;
  /** Whether no minute of the week is left out. */
  areAlways: boolean;
}

/** Checks the active hours of a rule and returns them as they are stored: null is no limit. Throws InvalidInputError with every fault, below `path`. */
export function checkActiveHours(given: unknown, path: string): ActiveHours | null {
  if (given === undefined || given === null) return null;
  const hours = checkInput(activeHours, withoutNulls(given), path);
  requireZone(hours.timezone, `${path}.timezone`);
  return hours;
}

/** Compiles active hours, which were checked. Their times are those that clocks in the zone show: an hour that is left out or comes twice changes the length of a span. */
export function compileHours(hours: ActiveHours): Hours {
  const read = createClock(hours.timezone);
  const active = new Uint8Array(weekMinutes);
  const begins: number[] = [];
  for (const { days, from, to } of hours.spans) {
    const [first, end] = [minutesOf(from), minutesOf(to)];
    const length = end > first ? end - first : end + dayMinutes - first;
    for (const day of days) {
      const start = weekdays.indexOf(day) * dayMinutes + first;
      begins.push(start);
      for (let minute = start; minute < start + length; minute++) active[minute % weekMinutes] = 1;
    }
  }
  const expected = quote(hours as unknown as Json);
  const isActive = (time: number) => active[read(time)] === 1;
  return {
    isActive,
    areAlways: active.every((each) => each === 1),
    untilNextSpan: (time) => {
      const now = read(time);
      return Math.min(...begins.map((start) => (start - now + weekMinutes) % weekMinutes || weekMinutes));
    },
    judge: (time) => {
      const minute = read(time);
      const common = { path: "activeHours", operator: "within", expected, error: null };
      return { ...common, actual: showMinute(minute), result: active[minute] === 1 };
    },
  };
}

const minutesOf = (time: string) => Number(time.slice(0, 2)) * 60 + Number(time.slice(3));

function showMinute(minute: number): string {
  const day: Weekday = weekdays[Math.floor(minute / dayMinutes)] ?? "mon";
  const two = (value: number) => String(value).padStart(2, "0");
  return `${day} ${two(Math.floor((minute % dayMinutes) / 60))}:${two(minute % 60)}`;
}

/** Returns the function from a time to the minute of the week that clocks in the zone show. */
function createClock(timeZone: string): (time: number) => number {
  const format = new Intl.DateTimeFormat("en-US", {
    ...{ timeZone, hourCycle: "h23", weekday: "short", hour: "2-digit", minute: "2-digit" },
  });
  let known = { from: Number.NaN, minute: 0 };
  return (time) => {
    const from = Math.floor(time / minuteMs); // no zone has had an offset of seconds since there are computers
    if (from === known.from) return known.minute;
    const parts = new Map(format.formatToParts(from * minuteMs).map(({ type, value }) => [type, value]));
    const day = weekdays.indexOf((parts.get("weekday") ?? "").toLowerCase() as Weekday);
    const minute = day * dayMinutes + Number(parts.get("hour")) * 60 + Number(parts.get("minute"));
    known = { from, minute };
    return minute;
  };
}

/** In local time, by how much the clocks of two zones may be changed while the time until a span passes. */
const marginMinutes = 180;
const aheadMs = 366 * dayMinutes * minuteMs;
/** A schedule with more ticks to look at is not judged. */
const mostTicks = 1000;

/** Returns whether it is sure that none of the schedule's ticks within a year from that time falls into the hours. */
export function neverTicksWithin(schedule: Schedule, hours: Hours, now: number): boolean {
  let at = now;
  for (let count = 0; count < mostTicks; count += 1) {
    const tick = schedule.next(at, at);
    if (tick === null || tick > now + aheadMs) return true;
    if (hours.isActive(tick)) return false;
    const until = hours.untilNextSpan(tick);
    at = until > marginMinutes ? tick + (until - marginMinutes) * minuteMs : tick;
  }
  return false;
}
