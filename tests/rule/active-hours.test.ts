import { describe, expect, test } from "vitest";
import type { ActiveHours } from "../../src/catalog/active-hours.ts";
import { checkActiveHours, compileHours, neverTicksWithin } from "../../src/rule/active-hours.ts";
import { scheduleOf } from "../../src/rule/schedule.ts";

const hoursOf = (given: object): ActiveHours => {
  const hours = checkActiveHours(given, "activeHours");
  if (hours === null) throw new Error("none");
  return hours;
};
const minuteMs = 60_000;

/** The minutes of a time, from the first on, that are active: as `from–to` in UTC. */
function activeBetween(given: object, from: string, to: string): string[] {
  const { isActive } = compileHours(hoursOf(given));
  const found: string[] = [];
  let since: string | null = null;
  for (let at = Date.parse(from); at <= Date.parse(to); at += minuteMs) {
    const now = new Date(at).toISOString().slice(5, 16);
    const active = at < Date.parse(to) && isActive(at);
    if (active && since === null) since = now;
    if (!active && since !== null) {
      found.push(`${since}–${now}`);
      since = null;
    }
  }
  return found;
}

describe("active hours", () => {
  const spans = (from: string, to: string, days?: string[]) => ({ from, to, ...(days ? { days } : {}) });
  const berlin = "Europe/Berlin";
  const newYork = "America/New_York";

  // Clocks in Berlin change on 2026-03-29 at 01:00 UTC and on 2026-10-25 at 01:00 UTC, in New York on 2026-03-08 at 07:00 and on 2026-11-01 at 06:00.
  test.each<[what: string, zone: string, span: object, from: string, to: string, active: string[]]>([
    [
      "are those that clocks show, before and after they go forward",
      berlin,
      spans("08:00", "10:00"),
      "2026-03-28T00:00Z",
      "2026-03-30T00:00Z",
      ["03-28T07:00–03-28T09:00", "03-29T06:00–03-29T08:00"],
    ],
    [
      "have no hour that clocks leave out",
      berlin,
      spans("02:00", "03:00", ["sun"]),
      "2026-03-28T00:00Z",
      "2026-03-30T00:00Z",
      [],
    ],
    [
      "are an hour shorter over midnight when clocks go forward",
      berlin,
      spans("22:00", "06:00", ["sat"]),
      "2026-03-28T00:00Z",
      "2026-03-30T00:00Z",
      ["03-28T21:00–03-29T04:00"],
    ],
    [
      "have the hour that comes twice twice",
      berlin,
      spans("02:00", "03:00", ["sun"]),
      "2026-10-24T00:00Z",
      "2026-10-26T00:00Z",
      ["10-25T00:00–10-25T02:00"],
    ],
    [
      "end as clocks show it after they went back",
      berlin,
      spans("22:00", "06:00", ["sat"]),
      "2026-10-24T00:00Z",
      "2026-10-26T00:00Z",
      ["10-24T20:00–10-25T05:00"],
    ],
    [
      "leave out no other hour than the one that does not exist",
      newYork,
      spans("01:30", "03:30", ["sun"]),
      "2026-03-08T00:00Z",
      "2026-03-09T00:00Z",
      ["03-08T06:30–03-08T07:30"],
    ],
    [
      "begin twice when their beginning comes twice",
      newYork,
      spans("01:30", "02:00", ["sun"]),
      "2026-11-01T00:00Z",
      "2026-11-02T00:00Z",
      ["11-01T05:30–11-01T06:00", "11-01T06:30–11-01T07:00"],
    ],
    [
      "of a day over midnight are not those of the next day",
      "UTC",
      spans("23:00", "01:00", ["sun"]),
      "2026-03-01T00:00Z",
      "2026-03-03T00:00Z",
      ["03-01T23:00–03-02T01:00"],
    ],
    [
      "of a whole day end with it",
      "UTC",
      spans("00:00", "24:00", ["mon"]),
      "2026-03-01T00:00Z",
      "2026-03-04T00:00Z",
      ["03-02T00:00–03-03T00:00"],
    ],
  ])("%s", (_what, timezone, span, from, to, active) => {
    expect(activeBetween({ timezone, spans: [span] }, from, to)).toEqual(active);
  });

  test("of several spans are those of any", () => {
    const given = {
      timezone: "UTC",
      spans: [spans("08:00", "12:00"), spans("11:00", "13:00"), spans("20:00", "21:00")],
    };
    expect(activeBetween(given, "2026-03-02T00:00Z", "2026-03-03T00:00Z")).toEqual([
      "03-02T08:00–03-02T13:00",
      "03-02T20:00–03-02T21:00",
    ]);
  });

  test("say of an event's time what clocks showed", () => {
    const hours = compileHours(hoursOf({ timezone: berlin, spans: [spans("08:00", "10:00", ["mon"])] }));
    expect(hours.judge(Date.parse("2026-03-30T06:15:30Z"))).toMatchObject({
      ...{ path: "activeHours", operator: "within", actual: "mon 08:15", result: true, error: null },
      expected: { timezone: berlin, spans: [{ days: ["mon"], from: "08:00", to: "10:00" }] },
    });
    expect(hours.judge(Date.parse("2026-03-30T08:00:00Z"))).toMatchObject({ actual: "mon 10:00", result: false });
  });

  test.each<[what: string, given: object, says: string | RegExp]>([
    [
      "a zone that does not exist",
      { timezone: "Europe/Berln", spans: [spans("08:00", "09:00")] },
      /activeHours\.timezone: there is no time zone "Europe\/Berln"/,
    ],
    ["no span", { spans: [] }, /activeHours\.spans/],
    [
      "a span without a length",
      { spans: [spans("08:00", "08:00")] },
      /activeHours\.spans\.0\.to: must differ.*00:00 to 24:00/,
    ],
    [
      "a time that no clock shows",
      { spans: [spans("08:60", "09:00")] },
      /activeHours\.spans\.0\.from: expected a time of day/,
    ],
    ["a beginning at the end of the day", { spans: [spans("24:00", "09:00")] }, /activeHours\.spans\.0\.from/],
    ["a day that is none", { spans: [spans("08:00", "09:00", ["funday"])] }, /activeHours\.spans\.0\.days\.0/],
    ["no days", { spans: [spans("08:00", "09:00", [])] }, /activeHours\.spans\.0\.days/],
    ["something else", { spans: [spans("08:00", "09:00")], zone: "UTC" }, /zone/],
  ])("are refused with %s", (_what, given, says) => {
    expect(() => checkActiveHours(given, "activeHours")).toThrow(says);
  });

  test.each<[cron: string, timezone: string, span: object, never: boolean]>([
    ["0 9 * * SAT", "UTC", spans("00:00", "24:00", ["mon", "tue", "wed", "thu", "fri"]), true],
    ["* * * * SAT", "UTC", spans("00:00", "24:00", ["mon", "tue", "wed", "thu", "fri"]), true],
    ["0 9 * * *", "UTC", spans("10:00", "09:00"), true],
    ["0 9 * * *", "UTC", spans("10:00", "09:01"), false],
    ["0 9 1 * *", "UTC", spans("08:00", "10:00", ["sun"]), false],
    ["0 12 * * *", "America/New_York", spans("08:00", "17:30"), false],
    ["0 12 * * *", "America/New_York", spans("08:00", "16:00"), true],
  ])("the cron %s in %s and %j: never %s", (expression, timezone, span, never) => {
    const schedule = scheduleOf("core.crontimer", { expression, timezone });
    if (schedule === null) throw new Error("no schedule");
    const hours = compileHours(hoursOf({ timezone: "UTC", spans: [span] }));
    expect(neverTicksWithin(schedule, hours, Date.parse("2026-03-02T00:00Z"))).toBe(never);
  });
});
