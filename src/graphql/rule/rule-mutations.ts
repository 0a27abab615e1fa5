import { createRule, deleteRule, setRuleEnabled, updateRule } from "../../rule/rule.ts";
import { builder } from "../kit/builder.ts";
import { RecordEvaluations, RuleCondition } from "../kit/enums.ts";
import { bounded } from "../kit/filter.ts";
import { addDeletion, addSwitch, expectedUpdated, type Fields, idempotencyKey } from "../kit/mutation-field.ts";
import { refusable } from "../kit/refusals.ts";
import { RuleConditionInput, toCondition } from "./conditions.ts";
import { Rule } from "./rule.ts";

const changeable = (t: Fields) => ({
  label: t.string({ description: "Its name for people; its ref unless said otherwise." }),
  description: t.string({ description: "What it is for." }),
  condition: t.field({ type: RuleCondition, description: "How its conditions are joined; ALL unless said otherwise." }),
  conditions: t.field({
    type: [RuleConditionInput],
    description: "Its conditions, at most 100; without any, every event matches.",
  }),
  actionParams: t.field({
    type: "JSONObject",
    description: "The action's parameters; texts may hold templates such as {{ event.payload.name }}.",
  }),
  triggerParams: t.field({ type: "JSONObject", description: "The trigger's parameters (timers)." }),
  enabled: t.boolean({ description: "Whether it judges events; true unless said otherwise." }),
  recordEvaluations: t.field({
    type: RecordEvaluations,
    description: "Which of its decisions are kept; NEAR unless said otherwise.",
  }),
});

const ruleRef = (t: Fields) => t.string({ required: true, description: "The rule's ref." });

const CreateRuleInput = builder.inputType("CreateRuleInput", {
  description: "A rule to make.",
  fields: (t) => ({
    ref: t.string({
      required: true,
      description: "Its ref, `pack.name`; the pack must exist (`default` always does).",
    }),
    action: t.string({ required: true, description: "The ref of its action." }),
    trigger: t.string({ required: true, description: "The ref of its trigger." }),
    ...changeable(t),
    idempotencyKey: idempotencyKey(t),
  }),
});

const UpdateRuleInput = builder.inputType("UpdateRuleInput", {
  description: "What to change of a rule; whatever is left out stays.",
  fields: (t) => ({
    ref: ruleRef(t),
    expectedUpdated: expectedUpdated(t),
    action: t.string({ description: "The ref of its action." }),
    trigger: t.string({ description: "The ref of its trigger." }),
    ...changeable(t),
  }),
});

builder.mutationField("createRule", (t) =>
  t.withAuth({ may: "rule:create" }).drizzleField({
    type: Rule,
    nullable: true,
    description: "Makes a rule; every event stored after this is judged by it.",
    args: { input: t.arg({ type: CreateRuleInput, required: true, description: "The rule." }) },
    errors: refusable("rule", "The new rule."),
    resolve: async (query, _root, { input }, ctx) => {
      const conditions = readConditions(input.conditions);
      const { id } = await createRule(ctx.engine, ctx.session, { ...input, conditions });
      return await ctx.written.query.rules.findFirst(query({ where: { id } }));
    },
  }),
);

builder.mutationField("updateRule", (t) =>
  t.withAuth({ may: "rule:update" }).drizzleField({
    type: Rule,
    nullable: true,
    description: "Changes a rule; every event stored after this is judged by it as changed.",
    args: {
      input: t.arg({ type: UpdateRuleInput, required: true, description: "The rule and what to change of it." }),
    },
    errors: refusable("rule", "The rule as it is now."),
    resolve: async (query, _root, { input }, ctx) => {
      const { ref, expectedUpdated: expected, ...given } = input;
      const patch = { ...given, conditions: readConditions(input.conditions) };
      const { id } = await updateRule(ctx.engine, ctx.session, { ref, expectedUpdated: expected ?? null, patch });
      return await ctx.written.query.rules.findFirst(query({ where: { id } }));
    },
  }),
);

addSwitch({
  kind: "Rule",
  noun: "rule",
  table: "rules",
  ref: Rule,
  may: "rule:update",
  on: "it judges events.",
  off: "it judges no events.",
  run: (ctx, input) => setRuleEnabled(ctx.engine, ctx.session, input),
});

addDeletion(
  {
    kind: "Rule",
    noun: "rule",
    may: "rule:delete",
    description: "Deletes a rule. What it did stays and keeps its ref.",
  },
  (ctx, input) => deleteRule(ctx.engine, ctx.session, input),
);

function readConditions(conditions: Parameters<typeof toCondition>[0][] | null | undefined) {
  return conditions ? bounded(conditions, "conditions").map(toCondition) : null;
}
