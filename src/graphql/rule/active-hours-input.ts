import type { Weekday as Day } from "../../catalog/active-hours.ts";
import { builder } from "../kit/builder.ts";
import { type Described, upperCased } from "../kit/enums.ts";

/** The days of a week. */
export const Weekday = upperCased("Weekday", "A day of the week.", {
  mon: "Monday.",
  tue: "Tuesday.",
  wed: "Wednesday.",
  thu: "Thursday.",
  fri: "Friday.",
  sat: "Saturday.",
  sun: "Sunday.",
} satisfies Described<Day>);

const ActiveSpanInput = builder.inputType("ActiveSpanInput", {
  description: "A span of time on days of the week.",
  fields: (t) => ({
    days: t.field({ type: [Weekday], description: "The days on which it begins; every day by default." }),
    from: t.string({ required: true, description: 'When it begins, such as "08:30".' }),
    to: t.string({
      required: true,
      description:
        'When it ends, such as "17:00"; "24:00" is the end of the day. A time that is not later than `from` is one of the next day.',
    }),
  }),
});

/** When a rule matches events. */
export const ActiveHoursInput = builder.inputType("ActiveHoursInput", {
  description: "When a rule matches events, by the time of the event.",
  fields: (t) => ({
    timezone: t.string({ description: "The time zone of the spans, such as Europe/Berlin; UTC by default." }),
    spans: t.field({
      type: [ActiveSpanInput],
      required: true,
      description: "From 1 to 50 spans: the rule matches within any of them.",
    }),
  }),
});
