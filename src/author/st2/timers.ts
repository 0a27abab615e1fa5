import type { JsonObject } from "../../lib/json.ts";
import { Inexpressible, type Part } from "./jinja.ts";
import { textOf } from "./source.ts";

/** A trigger of ours with its parameters, in place of one of StackStorm's timers. */
export interface Timer {
  ref: string;
  parameters: JsonObject;
}

/** Returns the timer of a rule; null for a trigger that is none. Throws Inexpressible. */
export function timerOf(type: string, parameters: JsonObject): Timer | null {
  switch (type) {
    case "core.st2.IntervalTimer":
      return interval(parameters);
    case "core.st2.DateTimer":
      return date(parameters);
    case "core.st2.CronTimer":
      return cron(parameters);
    default:
      return null;
  }
}

function interval({ unit, delta }: JsonObject): Timer {
  const weeks = unit === "weeks";
  const count = Number(delta);
  if (!Number.isSafeInteger(count) || count < 1)
    throw new Inexpressible("the delta of its timer must be a whole number above 0");
  return {
    ref: "core.intervaltimer",
    parameters: { unit: weeks ? "days" : textOf(unit), interval: weeks ? 7 * count : count },
  };
}

function date({ date: given, timezone }: JsonObject): Timer {
  const text = (textOf(given) ?? "").trim().replace(/^(\d{4}-\d\d-\d\d) /, "$1T");
  const zone = textOf(timezone);
  if (/(Z|[+-]\d\d:\d\d)$/i.test(text)) return { ref: "core.datetimetimer", parameters: { date: text } };
  if (zone !== null && !/^(utc|etc\/utc|gmt)$/i.test(zone))
    throw new Inexpressible(`its date is in the zone ${zone}: write its offset into the date, such as ${text}+01:00`);
  return { ref: "core.datetimetimer", parameters: { date: `${text}Z` } };
}

/** The fields of StackStorm's cron timer, and what one is that comes after the last that is given. */
const fields = [
  ["year", "*"],
  ["month", "1"],
  ["day", "1"],
  ["week", "*"],
  ["day_of_week", "*"],
  ["hour", "0"],
  ["minute", "0"],
  ["second", "0"],
] as const;

function cron(parameters: JsonObject): Timer {
  const given = new Map(
    fields.flatMap(([name]) =>
      parameters[name] === undefined || parameters[name] === null ? [] : [[name, textOf(parameters[name]) ?? ""]],
    ),
  );
  let last = -1;
  for (const [index, [name]] of fields.entries()) if (given.has(name)) last = index;
  const values = Object.fromEntries(
    fields.map(([name, minimum], index) => [name, given.get(name) ?? (index < last ? "*" : minimum)]),
  );
  const {
    year = "*",
    week = "*",
    month = "*",
    day = "*",
    day_of_week: weekday = "*",
    hour = "*",
    minute = "*",
    second = "0",
  } = values;
  for (const [name, value] of [
    ["year", year],
    ["week", week],
  ])
    if (value !== "*") throw new Inexpressible(`its timer has a ${name}, which cron does not have`);
  if (day !== "*" && weekday !== "*")
    throw new Inexpressible(
      "its timer needs both a day of the month and a day of the week, and cron takes either: use core.rruletimer",
    );
  const parts = [minute, hour, dayOf(day), month.toUpperCase(), weekdayOf(weekday)];
  const expression = (second === "0" ? parts : [second, ...parts]).join(" ");
  const timezone = textOf(parameters["timezone"]);
  return {
    ref: "core.crontimer",
    parameters: { expression, ...(timezone === null ? {} : { timezone }) },
  };
}

function dayOf(day: string): string {
  if (day === "last") return "L";
  if (/^[\d*,/-]+$/.test(day)) return day;
  throw new Inexpressible(`the day "${day}" of its timer has no counterpart in cron: use core.rruletimer`);
}

const weekdays = ["MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN"];

/** StackStorm counts from Monday, cron from Sunday: the days are written as names. */
function weekdayOf(weekday: string): string {
  if (weekday === "*") return weekday;
  if (weekday.includes("/")) throw new Inexpressible("steps of days of the week have no counterpart");
  return weekday
    .split(",")
    .map((range) =>
      range
        .split("-")
        .map((day) => {
          const name = /^\d$/.test(day.trim()) ? weekdays[Number(day)] : day.trim().toUpperCase();
          if (name === undefined || !weekdays.includes(name))
            throw new Inexpressible(`there is no day of the week "${day}"`);
          return name;
        })
        .join("-"),
    )
    .join(",");
}

/** Returns a template over the event of a timer of ours. Throws Inexpressible for what its payload does not have. */
export function ofTimer(parts: Part[]): Part[] {
  return JSON.parse(JSON.stringify(parts), (_key, value: unknown) => {
    const { op, of, key } = (value ?? {}) as { op?: string; of?: { name?: string }; key?: { value?: unknown } };
    if (op !== "get" || of?.name !== "trigger") return value;
    if (key?.value === "executed_at") return { op, of, key: { op: "value", value: "fired_at" } };
    throw new Inexpressible(
      `the events of our timers have no ${String(key?.value)}: they have scheduled_at, fired_at and fire_count`,
    );
  }) as Part[];
}
