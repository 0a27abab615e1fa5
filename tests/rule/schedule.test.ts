import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, test, vi } from "vitest";
import type { JsonObject } from "../../src/lib/json.ts";
import { judgeTick, nextTicks, scheduleOf } from "../../src/rule/schedule.ts";

const cron = (expression: string, timezone = "UTC") => {
  const schedule = scheduleOf("core.crontimer", { expression, timezone });
  if (schedule === null) throw new Error("no schedule");
  return schedule;
};
const ticks = (expression: string, timezone: string, from: string, count: number) =>
  nextTicks(cron(expression, timezone), Date.parse(from), count).map((tick) => tick.toISOString().slice(0, 16));

describe("a cron expression", () => {
  test.each([
    ["30 6 * * MON-FRI", "UTC", "2026-11-27T06:30:00Z", ["2026-11-30T06:30", "2026-12-01T06:30"]],
    ["0 12 1 */3 *", "UTC", "2026-11-27T00:00:00Z", ["2027-01-01T12:00", "2027-04-01T12:00"]],
    ["@daily", "Asia/Kathmandu", "2026-11-27T00:00:00Z", ["2026-11-27T18:15", "2026-11-28T18:15"]],
    ["0 0 29 2 *", "UTC", "2026-11-27T00:00:00Z", ["2028-02-29T00:00", "2032-02-29T00:00"]],
    // At 2:00 the clocks go to 3:00: what is due between takes place at 3:00.
    ["30 2 * * *", "Europe/Berlin", "2027-03-27T12:00:00Z", ["2027-03-28T01:00", "2027-03-29T00:30"]],
    ["30 2 * * *", "America/New_York", "2027-03-13T12:00:00Z", ["2027-03-14T07:00", "2027-03-15T06:30"]],
    // At 3:00 (2:00) they go back an hour: what is due in that hour takes place once.
    ["30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", ["2026-10-25T00:30", "2026-10-26T01:30"]],
    ["30 1 * * *", "America/New_York", "2026-10-31T12:00:00Z", ["2026-11-01T05:30", "2026-11-02T06:30"]],
  ] as const)("%s in %s after %s", (expression, timezone, from, expected) => {
    expect(ticks(expression, timezone, from, expected.length)).toEqual(expected);
  });

  test.each(["Europe/Berlin", "America/New_York"])(
    "each half hour ticks 50 times on the day of 25 hours in %s, and 46 on that of 23",
    (timezone) => {
      const count = (day: string) => {
        const local = new Intl.DateTimeFormat("sv", { timeZone: timezone, dateStyle: "short" });
        const from = Date.parse(`${day}T00:00:00Z`) - 86_400_000;
        return nextTicks(cron("*/30 * * * *", timezone), from, 150).filter((tick) => local.format(tick) === day).length;
      };
      const [autumn, spring] =
        timezone === "Europe/Berlin" ? ["2026-10-25", "2027-03-28"] : ["2026-11-01", "2027-03-14"];
      expect([count(autumn), count(spring)]).toEqual([50, 46]);
    },
  );

  test("ticks strictly later each time, and after any time as after the tick before it", () => {
    const part = (most: number) =>
      fc.oneof(
        fc.constant("*"),
        fc.integer({ min: 0, max: most }).map(String),
        fc.integer({ min: 1, max: most }).map((n) => `*/${n}`),
      );
    const zone = fc.constantFrom("UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe");
    const start = fc.integer({ min: Date.parse("2026-01-01"), max: Date.parse("2028-01-01") });
    fc.assert(
      fc.property(
        part(59),
        part(23),
        zone,
        start,
        fc.double({ min: 0, max: 1, noNaN: true }),
        (minute, hour, timezone, from, share) => {
          const schedule = cron(`${minute} ${hour} * * *`, timezone);
          const walk = nextTicks(schedule, from, 6).map(Number);
          for (const [index, tick] of walk.entries()) {
            const before = walk[index - 1] ?? from;
            expect(tick).toBeGreaterThan(before);
            const between = before + Math.floor((tick - before - 1) * share);
            expect(schedule.next(0, between)).toBe(tick);
          }
        },
      ),
      { numRuns: 150 },
    );
  });
});

describe("a recurrence rule", () => {
  const rrule = (rule: string, timezone = "UTC", start = "2026-01-05T09:00:00") => {
    const schedule = scheduleOf("core.rruletimer", { rrule: rule, timezone, start });
    if (schedule === null) throw new Error("no schedule");
    return schedule;
  };

  test.each([
    ["FREQ=DAILY", "Europe/Berlin", "2026-11-27T22:00:00Z", ["2026-11-28T08:00", "2026-11-29T08:00"]],
    ["FREQ=DAILY", "UTC", "2020-01-01T00:00:00Z", ["2026-01-05T09:00", "2026-01-06T09:00"]],
    ["FREQ=WEEKLY;INTERVAL=2;BYDAY=MO", "UTC", "2026-11-27T00:00:00Z", ["2026-12-07T09:00", "2026-12-21T09:00"]],
    ["RRULE:freq=weekly;byday=mo", "UTC", "2026-11-27T00:00:00Z", ["2026-11-30T09:00"]],
    [
      "FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1",
      "UTC",
      "2026-12-01T00:00:00Z",
      ["2026-12-31T09:00", "2027-01-29T09:00"],
    ],
    ["FREQ=MONTHLY;BYMONTHDAY=31", "UTC", "2027-02-01T00:00:00Z", ["2027-03-31T09:00", "2027-05-31T09:00"]],
    ["FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=29", "UTC", "2026-11-27T00:00:00Z", ["2028-02-29T09:00", "2032-02-29T09:00"]],
    ["FREQ=DAILY;COUNT=3", "UTC", "2026-01-05T09:00:00Z", ["2026-01-06T09:00", "2026-01-07T09:00"]],
    ["FREQ=DAILY;UNTIL=20260107T090000Z", "UTC", "2026-01-05T09:00:00Z", ["2026-01-06T09:00", "2026-01-07T09:00"]],
    // What falls in the hour that is left out does not take place.
    [
      "FREQ=DAILY;BYHOUR=2;BYMINUTE=30",
      "Europe/Berlin",
      "2027-03-27T00:00:00Z",
      ["2027-03-27T01:30", "2027-03-29T00:30"],
    ],
    [
      "FREQ=DAILY;BYHOUR=2;BYMINUTE=30",
      "America/New_York",
      "2027-03-13T00:00:00Z",
      ["2027-03-13T07:30", "2027-03-15T06:30"],
    ],
    // What falls in the hour that is repeated takes place once.
    [
      "FREQ=DAILY;BYHOUR=2;BYMINUTE=30",
      "Europe/Berlin",
      "2026-10-24T12:00:00Z",
      ["2026-10-25T00:30", "2026-10-26T01:30"],
    ],
    [
      "FREQ=DAILY;BYHOUR=1;BYMINUTE=30",
      "America/New_York",
      "2026-10-31T12:00:00Z",
      ["2026-11-01T05:30", "2026-11-02T06:30"],
    ],
    ["FREQ=HOURLY", "Europe/Berlin", "2026-10-24T23:30:00Z", ["2026-10-25T00:00", "2026-10-25T02:00"]],
    [
      "FREQ=MINUTELY;INTERVAL=30",
      "Europe/Berlin",
      "2026-10-25T00:00:00Z",
      ["2026-10-25T00:30", "2026-10-25T01:00", "2026-10-25T01:30", "2026-10-25T02:00"],
    ],
  ] as const)("%s in %s after %s", (rule, timezone, from, expected) => {
    const found = nextTicks(rrule(rule, timezone), Date.parse(from), expected.length);
    expect(found.map((tick) => tick.toISOString().slice(0, 16))).toEqual(expected);
  });

  test("ticks as the table of docs/timers.md says", () => {
    const rows = [...readFileSync("docs/timers.md", "utf8").matchAll(/^\| `(FREQ=\S+)` \| (.*) \|$/gm)];
    expect(rows).toHaveLength(6);
    for (const [, rule = "", expected = ""] of rows) {
      const found = nextTicks(rrule(rule), 0, 3).map((tick) => tick.toISOString().slice(0, 16));
      expect({ rule, ticks: found.join(", ") }).toEqual({ rule, ticks: expected });
    }
  });

  test.each(["FREQ=DAILY;COUNT=3", "FREQ=DAILY;UNTIL=20260107T090000Z"])("%s ends", (rule) => {
    expect(nextTicks(rrule(rule), 0, 10)).toHaveLength(3);
    expect(rrule(rule).next(0, Date.parse("2026-01-07T09:00:00Z"))).toBeNull();
  });

  test("ticks strictly later each time, and after any time as after the tick before it", () => {
    const frequency = fc.constantFrom("MINUTELY", "HOURLY", "DAILY", "WEEKLY", "MONTHLY");
    const narrowed = fc.constantFrom("", ";BYHOUR=1,2,3", ";BYDAY=SU,MO", ";BYMINUTE=0,30", ";COUNT=300");
    const zone = fc.constantFrom("UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe");
    const from = fc.integer({ min: Date.parse("2026-01-01"), max: Date.parse("2028-01-01") });
    const share = fc.double({ min: 0, max: 1, noNaN: true });
    fc.assert(
      fc.property(
        frequency,
        fc.constantFrom(1, 2, 5),
        narrowed,
        zone,
        from,
        share,
        (freq, interval, rest, timezone, at, part) => {
          const schedule = rrule(`FREQ=${freq};INTERVAL=${interval}${rest}`, timezone, "2026-01-04T01:30:00");
          const walk = nextTicks(schedule, at, 6).map(Number);
          for (const [index, tick] of walk.entries()) {
            const before = walk[index - 1] ?? at;
            expect(tick).toBeGreaterThan(before);
            expect(schedule.next(0, before + Math.floor((tick - before - 1) * part))).toBe(tick);
          }
        },
      ),
      { numRuns: 150 },
    );
  });

  test("costs little even where it begins long ago or is impossible", () => {
    const began = performance.now();
    expect(
      nextTicks(rrule("FREQ=SECONDLY;INTERVAL=7", "Europe/Berlin", "1971-01-01T00:00:00"), Date.now(), 100),
    ).toHaveLength(100);
    expect(() => rrule("FREQ=SECONDLY;BYMONTH=2;BYMONTHDAY=30")).toThrow("never ticks");
    expect(performance.now() - began).toBeLessThan(20_000);
  });

  test.each([
    ["", 'has the part ""'],
    ["weekly", 'has the part "WEEKLY": expected parts such as FREQ=WEEKLY;BYDAY=MO'],
    ["FREQ=FORTNIGHTLY", "has FREQ=FORTNIGHTLY"],
    ["BYDAY=MO", "has no FREQ"],
    ["FREQ=DAILY;FREQ=DAILY", "has FREQ twice"],
    ["FREQ=DAILY;BYHOUR=25", "has BYHOUR=25"],
    ["FREQ=DAILY;FOO=1", 'has the part "FOO=1"'],
    ["FREQ=DAILY;INTERVAL=0", "has INTERVAL=0: expected a whole number of at least 1"],
    ["FREQ=DAILY;COUNT=1000", "expected at most 366"],
    ["FREQ=DAILY;COUNT=3;UNTIL=20300101T000000Z", "COUNT and UNTIL MUST NOT occur"],
    ["FREQ=DAILY;UNTIL=20300101", "expected a time in UTC such as 20301231T235959Z"],
    ["FREQ=DAILY;UNTIL=20250101T000000Z", "never ticks"],
    ["FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30", "never ticks"],
    ["FREQ=HOURLY;INTERVAL=2;BYHOUR=2", "never ticks"],
  ])("%j is refused", (rule, sentence) => {
    expect(() => rrule(rule)).toThrow(sentence);
    expect(() => rrule(rule)).toThrow("triggerParams.rrule");
  });

  test.each(["2026-02-30T09:00:00", "2026-01-05", "2026-01-05T09:00:00Z", "now"])(
    "the start %s is refused",
    (start) => {
      expect(() => rrule("FREQ=DAILY", "UTC", start)).toThrow("triggerParams.start: must be a date and a time of day");
    },
  );

  test("an unknown zone is refused", () => {
    expect(() => rrule("FREQ=DAILY", "Mars/Base")).toThrow('triggerParams.timezone: there is no time zone "Mars/Base"');
  });
});

test.each<[string, JsonObject, string]>([
  [
    "core.crontimer",
    { expression: "* * * *" },
    "triggerParams.expression: is not a cron expression (invalid configuration format",
  ],
  ["core.crontimer", { expression: "60 * * * *" }, "(Invalid value for minute: 60)"],
  ["core.crontimer", { expression: "0 0 * * * * *" }, "is not a cron expression"],
  ["core.crontimer", { expression: "" }, "is not a cron expression"],
  ["core.crontimer", { expression: "30 2 31 2 *" }, "never ticks: check its day and month"],
  ["core.crontimer", { expression: "0 * * * *", timezone: "Mars/Base" }, 'there is no time zone "Mars/Base"'],
  ["core.datetimetimer", { date: "2030-01-31T09:00:00" }, "a zone such as"],
  ["core.datetimetimer", { date: "soon" }, "must be a date"],
])("%s refuses %j", (trigger, params, sentence) => {
  expect(() => scheduleOf(trigger, params)).toThrow(sentence);
});

describe("a tick that was missed", () => {
  const hour = 3_600_000;
  const schedule = scheduleOf("core.intervaltimer", { unit: "hours", interval: 1 });
  const judge = (missed: "skip" | "once" | "all", lateMs: number) => {
    if (schedule === null) throw new Error("no schedule");
    const { happens, next } = judgeTick(schedule, missed, { due: 0, now: lateMs });
    return [happens, (next ?? 0) / hour];
  };

  test.each([
    ["skip", 59_000, [true, 1]],
    ["skip", 61_000, [false, 1]],
    ["skip", 5.5 * hour, [false, 6]],
    ["once", 5.5 * hour, [true, 6]],
    ["all", 5.5 * hour, [true, 1]],
    ["all", 100.5 * hour, [false, 77]],
  ] as const)("%s, %i ms late", (missed, late, expected) => {
    expect(judge(missed, late)).toEqual(expected);
  });
});

test("a schedule pauses for longer than a new one may wait for its first tick", () => {
  // The next Monday that is a 29 February comes 28 years later.
  expect(ticks("0 0 29 2 +MON", "UTC", "2044-02-01T00:00:00Z", 2)).toEqual(["2044-02-29T00:00", "2072-02-29T00:00"]);
  vi.useFakeTimers({ now: Date.parse("2044-02-29T00:00:01Z"), toFake: ["Date"] });
  try {
    expect(ticks("0 0 29 2 +MON", "Europe/Paris", "2044-02-29T00:00:00Z", 1)).toEqual(["2072-02-28T23:00"]);
  } finally {
    vi.useRealTimers();
  }
});

test("a schedule is read once, however often it is asked for, and the least used ones are forgotten", () => {
  const params = { rrule: "FREQ=YEARLY;COUNT=366;BYMONTH=2;BYMONTHDAY=29;BYDAY=MO", start: "2026-01-05T09:00:00" };
  const first = scheduleOf("core.rruletimer", params);
  const interval = (count: number) => scheduleOf("core.intervaltimer", { unit: "seconds", interval: count });
  for (let count = 1; count < 1000; count += 1) interval(count);
  expect(scheduleOf("core.rruletimer", { ...params })).toBe(first);
  for (let count = 1001; count <= 2000; count += 1) interval(count);
  expect(scheduleOf("core.rruletimer", params)).not.toBe(first);
});
