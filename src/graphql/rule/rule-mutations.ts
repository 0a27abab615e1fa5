import { createRule, deleteRule, setRuleEnabled, updateRule } from "../../rule/rule.ts";
import { addEntityMutations } from "../kit/entity.ts";
import { RecordEvaluations, RuleCondition } from "../kit/enums.ts";
import { bounded } from "../kit/filter.ts";
import { ActiveHoursInput } from "./active-hours-input.ts";
import { RuleConditionInput, toCondition } from "./conditions.ts";
import { Rule } from "./rule.ts";
import { MaxStartsInput, toWindow, WindowInput } from "./window-input.ts";

addEntityMutations({
  kind: "Rule",
  noun: "rule",
  resource: "rule",
  table: "rules",
  ref: Rule,
  fields: (t, isNew) => ({
    action: t.string({ required: isNew, description: "The ref of its action." }),
    trigger: t.string({ required: isNew, description: "The ref of its trigger." }),
    label: t.string({ description: "Its display name; its ref by default." }),
    description: t.string({ description: "What it is for." }),
    condition: t.field({ type: RuleCondition, description: "How its conditions are combined; ALL by default." }),
    conditions: t.field({
      type: [RuleConditionInput],
      description: "Its conditions, at most 100. Without any, every event matches.",
    }),
    actionParams: t.field({
      type: "JSONObject",
      description: "The action's parameters. Texts may contain templates such as {{ event.payload.name }}.",
    }),
    triggerParams: t.field({ type: "JSONObject", description: "The trigger's parameters, as timers have them." }),
    enabled: t.boolean({ description: "Whether it evaluates events; true by default." }),
    recordEvaluations: t.field({
      type: RecordEvaluations,
      description: "Which of its evaluations are stored; NEAR by default.",
    }),
    window: t.field({ type: WindowInput, description: "Which of its matches start its action; each by default." }),
    maxStarts: t.field({
      type: MaxStartsInput,
      description: "How often it may start its action; without a limit by default.",
    }),
    backstop: t.boolean({
      description: "Whether it matches only events that no other rule of its trigger matches; false by default.",
    }),
    activeHours: t.field({ type: ActiveHoursInput, description: "When it matches events; always by default." }),
    executionPriority: t.int({
      description: "The priority of the executions that it starts: those with a higher one run first; 0 by default.",
    }),
  }),
  read: ({ conditions, window, ...fields }) => ({
    ...fields,
    ...(conditions === undefined ? {} : { conditions: readConditions(conditions) }),
    ...(window === undefined ? {} : { window: window && toWindow(window as typeof WindowInput.$inferInput) }), // by the input's type
  }),
  create: {
    description: "Creates a rule. It evaluates every event that is stored from now on.",
    verb: createRule,
  },
  update: {
    description:
      "Changes a rule and makes you its owner. The changed rule evaluates every event that is stored from now on.",
    verb: updateRule,
  },
  enable: { on: "it evaluates events.", off: "it evaluates no events.", verb: setRuleEnabled },
  delete: { description: "Deletes a rule. Its enforcements and executions keep its ref.", verb: deleteRule },
});

function readConditions(given: unknown) {
  const conditions = given as Parameters<typeof toCondition>[0][] | null; // by the input's type
  return conditions && bounded(conditions, "conditions").map(toCondition);
}
