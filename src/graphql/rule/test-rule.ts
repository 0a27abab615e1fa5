import { type RuleTestResult, testRule } from "../../rule/try.ts";
import { CriterionExplanation } from "../event/explain.ts";
import { builder } from "../kit/builder.ts";
import { RuleCondition } from "../kit/enums.ts";
import { bounded } from "../kit/filter.ts";
import { readId } from "../kit/ids.ts";
import { RuleConditionInput, toCondition } from "./conditions.ts";

const TestRuleInput = builder.inputType("TestRuleInput", {
  description: "A rule, with other contents than are stored where they are given, and an event or a payload.",
  fields: (t) => ({
    rule: t.string({ required: true, description: "The rule's ref." }),
    condition: t.field({ type: RuleCondition, description: "How its conditions are combined." }),
    conditions: t.field({ type: [RuleConditionInput], description: "Its conditions, at most 100." }),
    actionParams: t.field({ type: "JSONObject", description: "The action's parameters, with templates." }),
    event: t.id({ description: "A stored event; else `payload`." }),
    payload: t.field({ type: "JSON", description: "The payload of an event of the rule's trigger; else `event`." }),
  }),
});

const RuleTestType = builder.objectRef<RuleTestResult>("RuleTest").implement({
  description: "What a rule would do for an event.",
  fields: (t) => ({
    matches: t.exposeBoolean("matches", { description: "Whether it matches the event, if it is enabled." }),
    reason: t.exposeString("reason", {
      nullable: true,
      description: "Why the event does not concern the rule, whatever its conditions find; null when it does.",
    }),
    criteria: t.expose("criteria", {
      type: [CriterionExplanation],
      description: "What each criterion found, in the written order; none for a rule without conditions.",
    }),
    parameters: t.expose("parameters", {
      type: "JSONObject",
      nullable: true,
      description:
        "The parameters that its action would start with; a key is shown as `[secret:<ref>]`, and other secrets are hidden. Null when the rule does not match or its action would not start.",
    }),
    parametersError: t.exposeString("parametersError", {
      nullable: true,
      description: "Why its action would not start although the rule matches.",
    }),
  }),
});

builder.queryField("testRule", (t) =>
  t.field({
    type: RuleTestType,
    nullable: true,
    authScopes: { may: "rule:update" },
    complexity: 50,
    description:
      "Tests a rule with an event or a payload, by the code that decides for real events. Nothing is stored or started, and no key is read. You must be allowed to change the rule so.",
    args: { input: t.arg({ type: TestRuleInput, required: true, description: "The rule and the event." }) },
    resolve: async (_root, { input }, { services, session }) => {
      if (session === null) return null;
      const { rule, condition, conditions, actionParams, event, payload } = input;
      return await testRule(services.db, session, {
        ...{ rule, condition: condition ?? null, actionParams: actionParams ?? null, payload },
        conditions: conditions ? bounded(conditions, "conditions").map(toCondition) : null,
        event: event ? readId("Event", event, "event") : null,
      });
    },
  }),
);
