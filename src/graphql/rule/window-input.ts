import { builder } from "../kit/builder.ts";
import { RuleCondition } from "../kit/enums.ts";
import { bounded } from "../kit/filter.ts";
import { RuleConditionInput, toCondition } from "./conditions.ts";

const Throttle = builder.inputType("ThrottleWindowInput", {
  description: "The first match starts the action, and no further one for a time.",
  fields: (t) => ({ per: t.float({ required: true, description: "The time, in seconds." }) }),
});

const Debounce = builder.inputType("DebounceWindowInput", {
  description: "The action starts when no match has come for a time, with the last one.",
  fields: (t) => ({
    quiet: t.float({ required: true, description: "The time without a match, in seconds." }),
    max: t.float({ description: "The longest time after the first match, in seconds; any by default." }),
  }),
});

const Count = builder.inputType("CountWindowInput", {
  description: "The action starts when so many matches have come within a time. A start uses them up.",
  fields: (t) => ({
    times: t.int({ required: true, description: "The number of matches, from 2 to 1000." }),
    within: t.float({ required: true, description: "The time, in seconds." }),
  }),
});

const Answer = builder.inputType("AbsenceAnswerInput", {
  description: "The events that answer a match.",
  fields: (t) => ({
    trigger: t.string({
      description: "The ref of their trigger; the rule's by default. You must be able to read its events.",
    }),
    condition: t.field({ type: RuleCondition, description: "How their conditions are combined; ALL by default." }),
    conditions: t.field({
      type: [RuleConditionInput],
      description: "Their conditions, at most 100. Without any, every event of the trigger answers.",
    }),
    key: t.string({ description: "The CEL expression of their key; that of the window by default." }),
  }),
});

const Absence = builder.inputType("AbsenceWindowInput", {
  description: "The action starts when no event has answered a match within a time, with the match.",
  fields: (t) => ({
    of: t.field({ type: Answer, required: true, description: "The events that answer." }),
    within: t.float({ required: true, description: "The time, in seconds." }),
  }),
});

const Once = builder.inputType("OnceWindowInput", {
  description: "The action starts once, or once in each period.",
  fields: (t) => ({
    per: t.float({
      description: "The length of the periods, in seconds from 1970-01-01 UTC on; once for good by default.",
    }),
  }),
});

/** Which matches of a rule start its action. */
export const WindowInput = builder.inputType("WindowInput", {
  description: "Which matches of a rule start its action, by the times of their events: exactly one of the kinds.",
  fields: (t) => ({
    key: t.string({
      description:
        "A CEL expression over the event, such as event.payload.host: each value has a window of its own. By default the rule has one.",
    }),
    throttle: t.field({ type: Throttle, description: "No further match for a time." }),
    debounce: t.field({ type: Debounce, description: "After a time without a match." }),
    count: t.field({ type: Count, description: "After a number of matches." }),
    absence: t.field({ type: Absence, description: "After a match without an answer." }),
    once: t.field({ type: Once, description: "Once, or once in each period." }),
  }),
});

/** How often a rule may start its action. */
export const MaxStartsInput = builder.inputType("MaxStartsInput", {
  description: "How often a rule may start its action. One start more trips it: it pauses.",
  fields: (t) => ({
    count: t.int({
      required: true,
      description: "The number of starts in a period, which begins with the first of them.",
    }),
    per: t.float({ required: true, description: "The length of the period, in seconds." }),
    pause: t.float({ description: "How long it starts nothing after it has tripped, in seconds; 300 by default." }),
  }),
});

/** Returns a given window as the verbs take it. */
export function toWindow(window: typeof WindowInput.$inferInput): unknown {
  const { absence } = window;
  if (!absence) return window;
  const conditions = bounded(absence.of.conditions ?? [], "window.absence.of.conditions").map(toCondition);
  return { ...window, absence: { ...absence, of: { ...absence.of, conditions } } };
}
