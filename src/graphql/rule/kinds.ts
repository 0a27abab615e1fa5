import type { ActiveHours as StoredHours } from "../../catalog/active-hours.ts";
import { builder } from "../kit/builder.ts";
import { Weekday } from "./active-hours-input.ts";
import { Rule } from "./rule.ts";

const ActiveSpan = builder.objectRef<StoredHours["spans"][number]>("ActiveSpan").implement({
  description: "A span of time on days of the week.",
  fields: (t) => ({
    days: t.expose("days", { type: [Weekday], description: "The days on which it begins." }),
    from: t.exposeString("from", { description: 'When it begins, such as "08:30".' }),
    to: t.exposeString("to", {
      description:
        'When it ends; "24:00" is the end of the day. A time that is not later than `from` is one of the next day.',
    }),
  }),
});

const ActiveHours = builder.objectRef<StoredHours>("ActiveHours").implement({
  description: "When a rule matches events, by the time of the event.",
  fields: (t) => ({
    timezone: t.exposeString("timezone", { description: "The time zone of the spans." }),
    spans: t.expose("spans", { type: [ActiveSpan], description: "The spans: the rule matches within any of them." }),
  }),
});

builder.drizzleObjectFields(Rule, (t) => ({
  backstop: t.exposeBoolean("backstop", {
    description: "Whether it matches only events that no other rule of its trigger matches.",
  }),
  executionPriority: t.exposeInt("executionPriority", {
    description: "The priority of the executions that it starts: those with a higher one run first.",
  }),
  activeHours: t.field({
    type: ActiveHours,
    nullable: true,
    description: "When it matches events; null: always.",
    select: { columns: { activeHours: true } },
    resolve: ({ activeHours }) => activeHours as unknown as StoredHours | null, // checked when it was saved
  }),
}));
