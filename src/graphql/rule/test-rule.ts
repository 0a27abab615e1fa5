import { type RuleTestResult, testRule } from "../../rule/try.ts";
import { CriterionExplanation } from "../event/explain.ts";
import { builder } from "../kit/builder.ts";
import { readId } from "../kit/ids.ts";
import { toTried, triedFields } from "./draft.ts";

const TestRuleInput = builder.inputType("TestRuleInput", {
  description:
    "A rule, with other contents than are stored where they are given, or a draft, and an event or a payload.",
  fields: (t) => ({
    ...triedFields(t),
    event: t.id({ description: "A stored event; else `payload`." }),
    payload: t.field({ type: "JSON", description: "The payload of an event of the rule's trigger; else `event`." }),
    at: t.field({ type: "DateTime", description: "When the event with the payload happens; now by default." }),
  }),
});

const RuleTestType = builder.objectRef<RuleTestResult>("RuleTest").implement({
  description: "What a rule would do for an event.",
  fields: (t) => ({
    matches: t.exposeBoolean("matches", { description: "Whether it matches the event, if it is enabled." }),
    windowKey: t.exposeString("windowKey", {
      nullable: true,
      description: "The key by which its window groups the event; null when it has none or does not match.",
    }),
    reason: t.exposeString("reason", {
      nullable: true,
      description: "Why the event does not concern the rule, whatever its conditions find; null when it does.",
    }),
    criteria: t.expose("criteria", {
      type: [CriterionExplanation],
      description: "What each criterion found, in the written order, and what else decides once the conditions hold.",
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
    authScopes: { signedIn: true },
    complexity: 50,
    description:
      "Tests a rule with an event or a payload, by the code that decides for real events. Nothing is stored or started, and no key is read. You must be allowed to change or create the rule so.",
    args: { input: t.arg({ type: TestRuleInput, required: true, description: "The rule and the event." }) },
    resolve: async (_root, { input }, { services, session }) => {
      if (session === null) return null;
      const { event, payload, at, ...tried } = input;
      return await testRule(services.db, session, {
        ...{ ...toTried(tried), payload, at: at ?? null },
        event: event ? readId("Event", event, "event") : null,
      });
    },
  }),
);
