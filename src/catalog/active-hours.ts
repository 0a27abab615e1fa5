import { z } from "zod";

/** The days of a week, as active hours name them. */
export const weekdays = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"] as const;
export type Weekday = (typeof weekdays)[number];

const timeOfDay = z.string().regex(/^([01]\d|2[0-3]):[0-5]\d$/, "expected a time of day such as 08:30");
const endOfSpan = z
  .string()
  .regex(/^(([01]\d|2[0-3]):[0-5]\d|24:00)$/, "expected a time of day such as 17:00, or 24:00 for the end of the day");

/** From a time of the days to a later one, or to one of the next days when it is not later. */
const span = z
  .strictObject({
    days: z
      .array(z.enum(weekdays))
      .min(1)
      .max(7)
      .default([...weekdays]),
    from: timeOfDay,
    to: endOfSpan,
  })
  .refine(({ from, to }) => from !== to, {
    path: ["to"],
    message: "must differ from `from`: a whole day is from 00:00 to 24:00",
  });

/** When a rule matches events at all, in local time of a zone. */
export const activeHours = z.strictObject({
  timezone: z.string().min(1).max(100).default("UTC"),
  spans: z.array(span).min(1).max(50),
});
export type ActiveHours = z.infer<typeof activeHours>;

const largest = 2 ** 31 - 1;

/** The priority of executions: those with a higher one run first. */
export const executionPriority = z.int().min(-largest).max(largest);
