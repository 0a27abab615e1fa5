import type { NewRule } from "../../rule/definition.ts";
import type { OtherContents, Tried } from "../../rule/draft.ts";
import { builder } from "../kit/builder.ts";
import { RuleCondition } from "../kit/enums.ts";
import { bounded } from "../kit/filter.ts";
import type { Fields } from "../kit/mutation.ts";
import { ActiveHoursInput } from "./active-hours-input.ts";
import { RuleConditionInput, toCondition } from "./conditions.ts";
import { MaxStartsInput, toWindow, WindowInput } from "./window-input.ts";

/** Returns the input fields of contents that decide what a rule matches and what it starts with. */
const contentFields = (t: Fields) => ({
  condition: t.field({ type: RuleCondition, description: "How its conditions are combined." }),
  conditions: t.field({ type: [RuleConditionInput], description: "Its conditions, at most 100." }),
  actionParams: t.field({ type: "JSONObject", description: "The action's parameters, with templates." }),
  window: t.field({ type: WindowInput, description: "Which of its matches start its action; each by default." }),
  activeHours: t.field({ type: ActiveHoursInput, description: "When it matches events; always by default." }),
  backstop: t.boolean({ description: "Whether it matches only events that no other rule matches." }),
});

/** The input of a rule that is not saved. */
export const RuleDraftInput = builder.inputType("RuleDraftInput", {
  description: "A rule that is not saved.",
  fields: (t) => ({
    ref: t.string({
      description:
        "The ref that it would have; `default.draft` by default. Its pack's settings are those of templates.",
    }),
    action: t.string({ required: true, description: "The ref of its action." }),
    trigger: t.string({ required: true, description: "The ref of its trigger." }),
    ...contentFields(t),
    triggerParams: t.field({ type: "JSONObject", description: "The trigger's parameters, as timers have them." }),
    maxStarts: t.field({ type: MaxStartsInput, description: "How often it may start its action." }),
    executionPriority: t.int({ description: "The priority of the executions that it would start." }),
  }),
});

/** Returns the input fields that name a rule to try: a stored one with other contents, or a draft. */
export const triedFields = (t: Fields) => ({
  rule: t.string({ description: "The rule's ref; or give a draft." }),
  draft: t.field({
    type: RuleDraftInput,
    description: "A rule that does not exist; what creating it takes, trying it takes.",
  }),
  ...contentFields(t),
});

type Draft = typeof RuleDraftInput.$inferInput;
type Contents = Pick<Draft, "condition" | "conditions" | "actionParams" | "window" | "activeHours" | "backstop">;

/** Returns the rule to try that an input with `triedFields` names. Null for a window or active hours is none; for other contents it is what is stored. */
export function toTried({
  rule,
  draft,
  ...contents
}: Contents & { rule?: string | null; draft?: Draft | null }): Tried {
  return { rule: rule ?? null, draft: draft ? readDraft(draft) : null, contents: readContents(contents, "") };
}

function readContents(
  { condition, conditions, actionParams, window, activeHours, backstop }: Contents,
  place: string,
): OtherContents {
  return {
    condition: condition ?? undefined,
    conditions: conditions ? bounded(conditions, `${place}conditions`).map(toCondition) : undefined,
    actionParams: actionParams ?? undefined,
    window: window && toWindow(window),
    activeHours,
    backstop: backstop ?? undefined,
  };
}

/** Returns a draft as a rule to create. */
export function readDraft({ ref, action, trigger, ...fields }: Draft): NewRule {
  const { triggerParams, maxStarts, executionPriority } = fields;
  const given = {
    ...readContents(fields, "draft."),
    ...{ triggerParams, maxStarts, executionPriority: executionPriority ?? undefined },
  };
  return { ref: ref ?? "default.draft", action, trigger, ...withoutAbsent(given) };
}

const withoutAbsent = <T extends object>(fields: T): Partial<T> =>
  Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined && value !== null)) as Partial<T>;
