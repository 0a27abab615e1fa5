import { RRuleTemporal } from "rrule-temporal";
import { invalid } from "../errors.ts";

/** The parts of a rule and what each may contain: the library ignores what it does not know. */
const parts: ReadonlyMap<string, RegExp> = new Map(
  Object.entries({
    FREQ: /^(SECONDLY|MINUTELY|HOURLY|DAILY|WEEKLY|MONTHLY|YEARLY)$/,
    INTERVAL: /^[1-9]\d{0,5}$/,
    COUNT: /^[1-9]\d*$/,
    UNTIL: /^\d{8}T\d{6}Z$/,
    BYSECOND: list("[0-5]?\\d"),
    BYMINUTE: list("[0-5]?\\d"),
    BYHOUR: list("[01]?\\d|2[0-3]"),
    BYDAY: list("([+-]?[1-9]\\d?)?(MO|TU|WE|TH|FR|SA|SU)"),
    BYMONTHDAY: list("[+-]?([1-9]|[12]\\d|3[01])"),
    BYYEARDAY: list("[+-]?[1-9]\\d{0,2}"),
    BYWEEKNO: list("[+-]?([1-9]|[1-4]\\d|5[0-3])"),
    BYMONTH: list("[1-9]|1[0-2]"),
    BYSETPOS: list("[+-]?[1-9]\\d{0,2}"),
    WKST: /^(MO|TU|WE|TH|FR|SA|SU)$/,
  }),
);

/** A rule that counts is expanded whole, because its ticks follow only from all before them. */
const mostCounted = 366;

/**
 * Returns the function from a time to the next one after it, both in milliseconds since 1970, of a recurrence rule (RFC 5545) that begins at a local
 * time in a zone that exists; null when there is none. Throws InvalidInputError at `triggerParams.rrule` and `triggerParams.start`, also for a rule
 * that never ticks.
 */
export function recurrence(rule: string, start: string, timezone: string): (now: number) => number | null {
  const text = rule
    .trim()
    .toUpperCase()
    .replace(/^RRULE:/, "");
  const counted = checkParts(text);
  const local = localTime(start);
  let next: (now: number) => number | null;
  try {
    const rrule = new RRuleTemporal({ rruleString: `DTSTART;TZID=${timezone}:${local}\nRRULE:${text}`, strict: true });
    if (counted) {
      const ticks = rrule.all().map(({ epochMilliseconds }) => epochMilliseconds);
      next = (now) => ticks.find((tick) => tick > now) ?? null;
    } else next = (now) => rrule.next(new Date(now), false)?.epochMilliseconds ?? null;
  } catch (error) {
    throw refused(error);
  }
  // From two days before its start as UTC, which is before its start in any zone.
  if (first(next, Date.parse(`${start}Z`) - 2 * 86_400_000) === null) {
    throw invalid("triggerParams.rrule", "never ticks: check its days and months, and that UNTIL is after the start");
  }
  return next;
}

function first(next: (now: number) => number | null, from: number): number | null {
  try {
    return next(from);
  } catch (error) {
    if (error instanceof Error && error.message.includes("exceeded")) return null; // the library gave up the search
    throw refused(error);
  }
}

function refused(error: unknown): Error {
  const reason = error instanceof Error ? error.message : String(error);
  const never = reason.includes("exceeded");
  return invalid(
    "triggerParams.rrule",
    never
      ? "ticks too rarely or never: check its days and months"
      : `is not a recurrence rule (${reason}): expected one such as "FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1"`,
  );
}

/** Checks every part of the rule by itself. Returns whether it counts its ticks. */
function checkParts(text: string): boolean {
  const path = "triggerParams.rrule";
  const seen = new Map<string, string>();
  for (const part of text.split(";")) {
    const [name = "", value = ""] = part.split(/=(.*)/s);
    const pattern = parts.get(name);
    if (pattern === undefined) {
      throw invalid(
        path,
        `has the part "${part}": expected parts such as FREQ=WEEKLY;BYDAY=MO, named ${[...parts.keys()].join(", ")}`,
      );
    }
    if (seen.has(name)) throw invalid(path, `has ${name} twice: expected each part once`);
    if (!pattern.test(value)) throw invalid(path, `has ${name}=${value}: ${expectation(name)}`);
    seen.set(name, value);
  }
  if (!seen.has("FREQ")) throw invalid(path, "has no FREQ: expected one such as FREQ=WEEKLY;BYDAY=MO");
  const count = seen.get("COUNT");
  if (count !== undefined && Number(count) > mostCounted) {
    throw invalid(path, `has COUNT=${count}: expected at most ${mostCounted}; give the end by UNTIL instead`);
  }
  return count !== undefined;
}

function expectation(name: string): string {
  if (name === "UNTIL") return "expected a time in UTC such as 20301231T235959Z";
  if (name === "INTERVAL" || name === "COUNT") return "expected a whole number of at least 1";
  return "expected values of RFC 5545, in a list separated by commas where several are allowed";
}

/** Returns the local time in the form of RFC 5545. Throws InvalidInputError when there is no such day or time of day. */
function localTime(start: string): string {
  const time = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d$/.test(start) ? Date.parse(`${start}Z`) : Number.NaN;
  if (Number.isNaN(time) || new Date(time).toISOString().slice(0, 19) !== start) {
    throw invalid(
      "triggerParams.start",
      "must be a date and a time of day in the timer's zone, without a zone of its own, such as 2026-01-05T09:00:00",
    );
  }
  return start.replace(/[-:]/g, "");
}

function list(item: string): RegExp {
  return new RegExp(`^(${item})(,(${item}))*$`);
}
