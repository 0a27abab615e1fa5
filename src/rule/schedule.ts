import { Cron } from "croner";
import { invalid } from "../errors.ts";
import type { JsonObject } from "../lib/json.ts";
import { recurrence } from "./recurrence.ts";

/** When a timer ticks. */
export interface Schedule {
  /** Identifies it: a timer whose schedule is unchanged keeps its next tick. */
  kind: string;
  /** Returns the first tick after `now`, in milliseconds since 1970, of a timer whose last one was due at `last`; null when there is none. */
  next(last: number, now: number): number | null;
}

/**
 * What the database puts before the kind of a timer whose tick was due while its trigger was disabled, when that is enabled again: the tick
 * does not happen.
 */
export const staleMark = "stale:";

/** What happens to ticks that passed while nothing ran the timers. */
export type MissedTicks = "skip" | "once" | "all";

const unitSeconds: Readonly<Record<string, number>> = { seconds: 1, minutes: 60, hours: 3600, days: 86_400 };
const longestSeconds = 10 * 365 * 86_400;

function interval({ unit, interval: count }: JsonObject): Schedule {
  const seconds = typeof unit === "string" && typeof count === "number" ? (unitSeconds[unit] ?? 0) * count : 0;
  if (!(seconds >= 1 && seconds <= longestSeconds)) {
    throw invalid("triggerParams.interval", "must be an interval of at least one second and at most ten years");
  }
  const step = seconds * 1000;
  return {
    kind: `interval:${seconds}`,
    next: (last, now) => last + step * (1 + Math.max(0, Math.floor((now - last) / step))),
  };
}

/** In how many years a new schedule must tick for the first time. */
const furthestYears = 20;

/** Returns whether a new schedule whose first tick is then can be meant. A schedule that has ticked may pause for longer. */
export const isTooFar = (first: number, now: number) => first > now + furthestYears * 365.25 * 86_400_000;

/** Returns the name of a time zone. Throws InvalidInputError at `path` when there is no such zone. */
export function requireZone(timezone: unknown, path = "triggerParams.timezone"): string {
  const zone = String(timezone);
  try {
    new Intl.DateTimeFormat("en", { timeZone: zone });
  } catch {
    throw invalid(path, `there is no time zone "${zone}": expected one such as UTC or Europe/Berlin`);
  }
  return zone;
}

function cron({ expression, timezone = "UTC" }: JsonObject): Schedule {
  const zone = requireZone(timezone);
  const text = String(expression ?? "").trim();
  let pattern: Cron;
  try {
    pattern = new Cron(text, { mode: "5-or-6-parts", timezone: zone, paused: true });
  } catch (error) {
    const reason = error instanceof Error ? error.message.replace(/^Cron\w*: */, "") : String(error);
    throw invalid(
      "triggerParams.expression",
      `is not a cron expression (${reason}): expected five or six parts such as "30 6 * * MON-FRI"; the sixth, in front, is for seconds`,
    );
  }
  const next = (now: number) => pattern.nextRun(new Date(now))?.getTime() ?? null;
  if (next(Date.now()) === null) throw invalid("triggerParams.expression", "never ticks: check its day and month");
  return { kind: `cron:${zone}:${text}`, next: (_last, now) => next(now) };
}

function datetime({ date }: JsonObject): Schedule {
  const text = String(date ?? "");
  const at = /(Z|[+-]\d\d:\d\d)$/i.test(text) ? Date.parse(text) : Number.NaN;
  if (Number.isNaN(at)) {
    throw invalid("triggerParams.date", "must be a date with a time and a zone such as 2030-01-31T09:00:00+01:00");
  }
  return { kind: `datetime:${new Date(at).toISOString()}`, next: (_last, now) => (at > now ? at : null) };
}

function rrule({ rrule: rule, start, timezone = "UTC" }: JsonObject): Schedule {
  const zone = requireZone(timezone);
  const text = String(rule ?? "").trim();
  const next = recurrence(text, String(start ?? ""), zone);
  return { kind: `rrule:${zone}:${start}:${text}`, next: (_last, now) => next(now) };
}

const kinds: ReadonlyMap<string, (params: JsonObject) => Schedule> = new Map([
  ["core.intervaltimer", interval],
  ["core.crontimer", cron],
  ["core.datetimetimer", datetime],
  ["core.rruletimer", rrule],
]);

/** The schedules that were used last, by trigger and parameters: to read one can take 0.2 s, when its ticks are counted and rare. */
const known = new Map<string, Schedule>();
const mostKnown = 1000;

/** Returns the schedule of a rule by its trigger and `trigger_params`; null for a trigger that is no timer. Throws InvalidInputError. */
export function scheduleOf(triggerRef: string, params: JsonObject): Schedule | null {
  const read = kinds.get(triggerRef);
  if (read === undefined) return null;
  const key = JSON.stringify([triggerRef, params]);
  const schedule = known.get(key) ?? read(params);
  known.delete(key); // to be the last again
  known.set(key, schedule);
  const [oldest] = known.keys();
  if (known.size > mostKnown && oldest !== undefined) known.delete(oldest);
  return schedule;
}

/** Returns the next ticks after that time, at most `count`. */
export function nextTicks(schedule: Schedule, from: number, count: number): Date[] {
  const ticks: Date[] = [];
  for (let at = schedule.next(from, from); at !== null && ticks.length < count; at = schedule.next(at, at)) {
    ticks.push(new Date(at));
  }
  return ticks;
}

/** A tick that comes later than this, in milliseconds, counts as missed. */
const graceMs = 60_000;
/** Missed ticks are made up for at most this time, in milliseconds. */
const longestBackMs = 24 * 3600 * 1000;

/**
 * Returns whether a tick that was due at `due` still happens, and when the next one is due, by what the rule wants of missed ticks: `skip`
 * drops those that are more than a minute late, `once` lets the first of them happen, `all` each of the last 24 hours.
 */
export function judgeTick(
  schedule: Schedule,
  missed: MissedTicks,
  { due, now }: { due: number; now: number },
): { happens: boolean; next: number | null } {
  if (missed === "all") {
    const from = Math.max(due, now - longestBackMs);
    return { happens: due >= now - longestBackMs, next: schedule.next(due, from) };
  }
  return { happens: missed === "once" || now - due <= graceMs, next: schedule.next(due, now) };
}
