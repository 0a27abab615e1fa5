import { findRow } from "../../access/rows.ts";
import type { Hold } from "../../db/tables/event.ts";
import type { CriterionOutcome } from "../../lang/criteria.ts";
import { createOthers } from "../../rule/backstop.ts";
import { type Explanation, explainRule } from "../../rule/explain.ts";
import { findHold } from "../../rule/windows.ts";
import { builder } from "../kit/builder.ts";
import { RuleHold } from "../kit/window-enums.ts";
import { Event } from "./event.ts";

/** What a criterion found. */
export const CriterionExplanation = builder.objectRef<CriterionOutcome>("CriterionExplanation").implement({
  description: "What a criterion found. Of large values only the beginning or the size is shown.",
  fields: (t) => ({
    path: t.exposeString("path", {
      description:
        "The field of the payload; empty for an expression, and `activeHours`, `backstop` or `window.key` for what else decides.",
    }),
    operator: t.exposeString("operator", { description: "The operator." }),
    expected: t.expose("expected", { type: "JSON", nullable: true, description: "The criterion's value." }),
    actual: t.field({
      type: "JSON",
      nullable: true,
      description: "The value in the payload; null also where there is none.",
      resolve: ({ actual = null }) => actual,
    }),
    result: t.exposeBoolean("result", { description: "Whether it holds." }),
    error: t.exposeString("error", {
      nullable: true,
      description: "Why it could not be evaluated; then it does not hold.",
    }),
  }),
});

const RuleExplanation = builder
  .objectRef<Explanation & { revision: number; held: Hold | null }>("RuleExplanation")
  .implement({
    description: "Why a rule, as it is now, matches an event or does not.",
    fields: (t) => ({
      matches: t.exposeBoolean("matches", { description: "Whether it matches the event, if it is enabled." }),
      reason: t.exposeString("reason", {
        nullable: true,
        description: "Why the event does not concern the rule, whatever its conditions find; null when it does.",
      }),
      ruleRevision: t.exposeInt("revision", { description: "The rule's revision." }),
      criteria: t.expose("criteria", {
        type: [CriterionExplanation],
        description: "What each criterion found, in the written order, and what else decides once the conditions hold.",
      }),
      windowKey: t.exposeString("windowKey", {
        nullable: true,
        description: "The key by which the rule's window groups the event; null when it has none or does not match.",
      }),
      held: t.expose("held", {
        type: RuleHold,
        nullable: true,
        description:
          "What kept the rule from starting its action when it evaluated the event; null: nothing, or it is not recorded.",
      }),
    }),
  });

builder.drizzleObjectFields(Event, (t) => ({
  explain: t.field({
    type: RuleExplanation,
    nullable: true,
    complexity: 20,
    description:
      "Why a rule matches the event or does not. It is computed from the event for any rule that you may read, enabled or not, and whatever was recorded.",
    args: { rule: t.arg.string({ required: true, description: "The rule's ref." }) },
    select: { columns: { id: true, created: true, traceTag: true, triggerRef: true, payload: true, ruleId: true } },
    resolve: async ({ id, created, ...event }, { rule: ref }, { services: { db }, session }) => {
      if (session === null) return null;
      const rule = await findRow(db, session, { of: "rule", doing: "read", which: { ref } });
      const subject = { ...event, id: String(id), created: created.toISOString() };
      const held = await findHold(db, { rule: rule.id, event: id });
      const others = createOthers(db, session, { triggerRef: rule.triggerRef, except: rule.id });
      return { ...(await explainRule(rule, subject, others)), revision: rule.revision, held };
    },
  }),
}));
