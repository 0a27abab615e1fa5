import type { MaxStarts as StoredMaxStarts, WindowDefinition } from "../../catalog/window.ts";
import { resetRule } from "../../rule/rule.ts";
import { builder } from "../kit/builder.ts";
import { RuleCondition } from "../kit/enums.ts";
import { byText, byTime } from "../kit/filter.ts";
import { defineList } from "../kit/list.ts";
import { addRowMutation } from "../kit/mutation.ts";
import { WindowKind } from "../kit/window-enums.ts";
import { fromConditions } from "./conditions.ts";
import { Rule } from "./rule.ts";

type Part<Kind extends keyof WindowDefinition> = NonNullable<WindowDefinition[Kind]>;

const Throttle = builder.objectRef<Part<"throttle">>("ThrottleWindow").implement({
  description: "The first match starts the action, and no further one for a time.",
  fields: (t) => ({ per: t.exposeFloat("per", { description: "The time, in seconds." }) }),
});

const Debounce = builder.objectRef<Part<"debounce">>("DebounceWindow").implement({
  description: "The action starts when no match has come for a time, with the last one.",
  fields: (t) => ({
    quiet: t.exposeFloat("quiet", { description: "The time without a match, in seconds." }),
    max: t.float({
      nullable: true,
      description: "The longest time after the first match, in seconds; null: any.",
      resolve: ({ max }) => max ?? null,
    }),
  }),
});

const Count = builder.objectRef<Part<"count">>("CountWindow").implement({
  description: "The action starts when so many matches have come within a time. A start uses them up.",
  fields: (t) => ({
    times: t.exposeInt("times", { description: "The number of matches." }),
    within: t.exposeFloat("within", { description: "The time, in seconds." }),
  }),
});

const Answer = builder.objectRef<Part<"absence">["of"]>("AbsenceAnswer").implement({
  description: "The events that answer a match.",
  fields: (t) => ({
    trigger: t.string({
      nullable: true,
      description: "The ref of their trigger; null: the rule's.",
      resolve: ({ trigger }) => trigger ?? null,
    }),
    condition: t.expose("condition", { type: RuleCondition, description: "How their conditions are combined." }),
    conditions: t.field({
      type: ["JSON"],
      description: "Their conditions, as `RuleConditionInput` takes them; without any, every event of the trigger.",
      resolve: ({ conditions }) => fromConditions(conditions),
    }),
    key: t.string({
      nullable: true,
      description: "The expression of their key; null: that of the window.",
      resolve: ({ key }) => key ?? null,
    }),
  }),
});

const Absence = builder.objectRef<Part<"absence">>("AbsenceWindow").implement({
  description: "The action starts when no event has answered a match within a time, with the match.",
  fields: (t) => ({
    of: t.expose("of", { type: Answer, description: "The events that answer." }),
    within: t.exposeFloat("within", { description: "The time, in seconds." }),
  }),
});

const Once = builder.objectRef<Part<"once">>("OnceWindow").implement({
  description: "The action starts once, or once in each period.",
  fields: (t) => ({
    per: t.float({
      nullable: true,
      description: "The length of the periods, in seconds from 1970-01-01 UTC on; null: once for good.",
      resolve: ({ per }) => per ?? null,
    }),
  }),
});

const Definition = builder.objectRef<WindowDefinition>("WindowDefinition").implement({
  description: "Which matches of a rule start its action. One of its kinds is given, the others are null.",
  fields: (t) => ({
    key: t.string({
      nullable: true,
      description: "A CEL expression over the event: each value has a window of its own. Null: the rule has one.",
      resolve: ({ key }) => key ?? null,
    }),
    throttle: t.field({
      type: Throttle,
      nullable: true,
      description: "No further match for a time.",
      resolve: ({ throttle }) => throttle ?? null,
    }),
    debounce: t.field({
      type: Debounce,
      nullable: true,
      description: "After a time without a match.",
      resolve: ({ debounce }) => debounce ?? null,
    }),
    count: t.field({
      type: Count,
      nullable: true,
      description: "After a number of matches.",
      resolve: ({ count }) => count ?? null,
    }),
    absence: t.field({
      type: Absence,
      nullable: true,
      description: "After a match without an answer.",
      resolve: ({ absence }) => absence ?? null,
    }),
    once: t.field({
      type: Once,
      nullable: true,
      description: "Once, or once in each period.",
      resolve: ({ once }) => once ?? null,
    }),
  }),
});

const MaxStarts = builder.objectRef<StoredMaxStarts>("MaxStarts").implement({
  description: "How often a rule may start its action. One start more trips it: it pauses.",
  fields: (t) => ({
    count: t.exposeInt("count", {
      description: "The number of starts in a period, which begins with the first of them.",
    }),
    per: t.exposeFloat("per", { description: "The length of the period, in seconds." }),
    pause: t.exposeFloat("pause", {
      description: "How long the rule starts nothing after it has tripped, in seconds.",
    }),
  }),
});

const RuleWindow = builder.drizzleObject("ruleWindows", {
  name: "RuleWindow",
  description:
    "What the window of a rule knows of one key, for those who may read the rule and the events of its trigger.",
  select: { columns: { id: true } },
  fields: (t) => ({
    key: t.exposeString("key", {
      nullable: true,
      description: "The value of the key, at most 200 characters; null without one.",
    }),
    kind: t.expose("kind", { type: WindowKind, description: "The kind of the window." }),
    count: t.exposeInt("count", { description: "The matches that it holds back, counts, or waits with." }),
    dueAt: t.expose("dueAt", {
      type: "DateTime",
      nullable: true,
      description: "When the action starts unless something happens before; null when it waits for no time.",
    }),
    expiresAt: t.expose("expiresAt", {
      type: "DateTime",
      nullable: true,
      description: "When what it knows is over; null when that is not by time.",
    }),
    created: t.expose("created", { type: "DateTime", description: "When the key first matched." }),
    updated: t.expose("updated", { type: "DateTime", description: "When it last changed." }),
    event: t.relation("event", {
      nullable: true,
      description: "The event that it will start with, or else the last one that matched; null if it was deleted.",
    }),
  }),
});

const windows = defineList("RuleWindow", "ruleWindows", {
  ref: RuleWindow,
  where: {
    key: byText("key", "The value of the key."),
    updated: byTime("updated", "When it last changed."),
  },
  order: { updated: "When it last changed." },
  defaultOrder: ["updated", "desc"],
});

builder.drizzleObjectFields(Rule, (t) => ({
  window: t.field({
    type: Definition,
    nullable: true,
    description: "Which of its matches start its action; null: each.",
    select: { columns: { window: true } },
    resolve: ({ window }) => window as unknown as WindowDefinition | null, // checked when it was saved
  }),
  maxStarts: t.field({
    type: MaxStarts,
    nullable: true,
    description: "How often it may start its action; null: without a limit.",
    select: { columns: { maxStarts: true } },
    resolve: ({ maxStarts }) => maxStarts as unknown as StoredMaxStarts | null, // checked when it was saved
  }),
  trippedAt: t.field({
    type: "DateTime",
    nullable: true,
    description: "When it reached the limit of its starts, while it therefore starts nothing; null otherwise.",
    select: { with: { budget: { columns: { trippedAt: true, resetsAt: true } } } },
    resolve: ({ budget }) => (isTripped(budget) ? budget.trippedAt : null),
  }),
  resetsAt: t.field({
    type: "DateTime",
    nullable: true,
    description: "Until when it starts nothing because it has tripped; null otherwise. `resetRule` ends it earlier.",
    select: { with: { budget: { columns: { trippedAt: true, resetsAt: true } } } },
    resolve: ({ budget }) => (isTripped(budget) ? budget.resetsAt : null),
  }),
  windows: t.relatedConnection(
    "windows",
    windows.related("What its window knows, by key, for those who may read the events of its trigger."),
    windows.connection,
  ),
}));

interface Tripped {
  trippedAt: Date;
  resetsAt: Date;
}

function isTripped(budget: { [K in keyof Tripped]: Date | null } | null): budget is Tripped {
  return budget !== null && budget.resetsAt !== null && budget.resetsAt.getTime() > Date.now();
}

const ResetRuleInput = builder.inputType("ResetRuleInput", {
  description: "The rule to reset.",
  fields: (t) => ({
    ref: t.string({ required: true, description: "The rule's ref." }),
    windows: t.boolean({ description: "Whether its windows forget what they know; false by default." }),
  }),
});

addRowMutation({
  name: "resetRule",
  may: "rule:update",
  description:
    "Lets a rule that has tripped start its action again at once. With `windows`, its windows forget what they know too: what they wait for does not start.",
  input: ResetRuleInput,
  inputDescription: "The rule.",
  table: "rules",
  ref: Rule,
  payload: ["rule", "The rule."],
  run: (tx, session, { ref, windows: forgets }) => resetRule(tx, session, { ref, windows: forgets ?? false }),
});
