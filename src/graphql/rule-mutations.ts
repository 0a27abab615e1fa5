import { createRule, deleteRule, setRuleEnabled, updateRule } from "../event/rule.ts";
import { builder } from "./builder.ts";
import { RuleConditionInput, toCondition } from "./conditions.ts";
import { RecordEvaluations, RuleCondition } from "./enums.ts";
import { bounded } from "./filter.ts";
import { refusable } from "./refusals.ts";
import { Rule } from "./rule.ts";

type Fields = PothosSchemaTypes.InputFieldBuilder<typeof builder.$inferSchemaTypes, "InputObject">;

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
    idempotencyKey: t.string({
      description: "A key of your own: sent again within 24 hours, it makes nothing new and answers the same rule.",
    }),
  }),
});

const UpdateRuleInput = builder.inputType("UpdateRuleInput", {
  description: "What to change of a rule; whatever is left out stays.",
  fields: (t) => ({
    ref: ruleRef(t),
    expectedUpdated: t.field({
      type: "DateTime",
      description: "The rule's `updated` as you have read it: a conflict when it has changed since.",
    }),
    action: t.string({ description: "The ref of its action." }),
    trigger: t.string({ description: "The ref of its trigger." }),
    ...changeable(t),
  }),
});

const refInput = (name: string, description: string) =>
  builder.inputType(name, { description, fields: (t) => ({ ref: ruleRef(t) }) });
const DeleteRuleInput = refInput("DeleteRuleInput", "The rule to delete.");
const EnableRuleInput = refInput("EnableRuleInput", "The rule to switch on.");
const DisableRuleInput = refInput("DisableRuleInput", "The rule to switch off.");

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
      const { ref, expectedUpdated = null, ...given } = input;
      const patch = { ...given, conditions: readConditions(input.conditions) };
      const { id } = await updateRule(ctx.engine, ctx.session, { ref, expectedUpdated, patch });
      return await ctx.written.query.rules.findFirst(query({ where: { id } }));
    },
  }),
);

builder.mutationField("enableRule", (t) =>
  t.withAuth({ may: "rule:update" }).drizzleField({
    type: Rule,
    nullable: true,
    description: "Switches a rule on; one that is on already stays so.",
    args: { input: t.arg({ type: EnableRuleInput, required: true, description: "The rule." }) },
    errors: refusable("rule", "The rule as it is now."),
    resolve: async (query, _root, { input }, ctx) => {
      const { id } = await setRuleEnabled(ctx.engine, ctx.session, { ref: input.ref, enabled: true });
      return await ctx.written.query.rules.findFirst(query({ where: { id } }));
    },
  }),
);

builder.mutationField("disableRule", (t) =>
  t.withAuth({ may: "rule:update" }).drizzleField({
    type: Rule,
    nullable: true,
    description: "Switches a rule off; one that is off already stays so.",
    args: { input: t.arg({ type: DisableRuleInput, required: true, description: "The rule." }) },
    errors: refusable("rule", "The rule as it is now."),
    resolve: async (query, _root, { input }, ctx) => {
      const { id } = await setRuleEnabled(ctx.engine, ctx.session, { ref: input.ref, enabled: false });
      return await ctx.written.query.rules.findFirst(query({ where: { id } }));
    },
  }),
);

const DeletedRule = builder.objectRef<{ id: bigint; ref: string }>("DeletedRule").implement({
  description: "A rule that is no more.",
  fields: (t) => ({
    id: t.globalID({ description: "The id that it had.", resolve: ({ id }) => ({ id, type: Rule }) }),
    ref: t.exposeString("ref", { description: "The ref that it had." }),
  }),
});

builder.mutationField("deleteRule", (t) =>
  t.withAuth({ may: "rule:delete" }).field({
    type: DeletedRule,
    nullable: true,
    description: "Deletes a rule. What it did stays and keeps its ref.",
    args: { input: t.arg({ type: DeleteRuleInput, required: true, description: "The rule." }) },
    errors: refusable("rule", "The rule that was deleted."),
    resolve: (_root, { input }, ctx) => deleteRule(ctx.engine, ctx.session, { ref: input.ref }),
  }),
);

function readConditions(conditions: Parameters<typeof toCondition>[0][] | null | undefined) {
  return conditions ? bounded(conditions, "conditions").map(toCondition) : null;
}
