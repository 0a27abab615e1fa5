import { evaluations } from "../event/event.ts";
import { builder } from "../kit/builder.ts";
import { RecordEvaluations, RuleCondition } from "../kit/enums.ts";
import { byFlag, byId, byOwnId, byText, byTime } from "../kit/filter.ts";
import { defineList } from "../kit/list.ts";
import { addRootFields } from "../kit/root.ts";
import { fromConditions } from "./conditions.ts";
import { enforcements } from "./enforcement.ts";

builder.drizzleObject("timers", {
  name: "Timer",
  description: "The timer of a rule.",
  select: { columns: { id: true } },
  fields: (t) => ({
    nextFireAt: t.expose("nextFireAt", {
      type: "DateTime",
      nullable: true,
      description: "The next tick; null while the rule is disabled.",
    }),
    lastFiredAt: t.expose("lastFiredAt", { type: "DateTime", nullable: true, description: "The last tick." }),
    fireCount: t.expose("fireCount", { type: "BigInt", description: "The number of ticks so far." }),
  }),
});

/** Runs an action when an event of its trigger meets its conditions. */
export const Rule = builder.drizzleNode("rules", {
  name: "Rule",
  description: "Runs an action when an event of its trigger meets its conditions.",
  id: { column: (rule) => rule.id },
  select: { columns: { id: true } },
  fields: (t) => ({
    ref: t.exposeString("ref", { description: "Its unique name: `pack.name`." }),
    packRef: t.exposeString("packRef", { description: "The ref of its pack." }),
    label: t.exposeString("label", { description: "Its display name." }),
    description: t.exposeString("description", { nullable: true, description: "What it is for." }),
    enabled: t.exposeBoolean("enabled", { description: "Whether it evaluates events." }),
    inactiveReason: t.string({
      nullable: true,
      description:
        "Why it starts nothing at the moment, whatever happens; null when it can. What its owner may do is checked at each event.",
      select: {
        columns: { enabled: true, actionRef: true, triggerRef: true, isAdhoc: true, ownerId: true },
        with: { action: { columns: { enabled: true } }, trigger: { columns: { enabled: true } } },
      },
      resolve: (rule) => {
        if (!rule.enabled) return "It is disabled.";
        const named = { trigger: rule.triggerRef, action: rule.actionRef };
        for (const part of ["trigger", "action"] as const) {
          const found = rule[part];
          if (found === null) return `Its ${part} "${named[part]}" does not exist.`;
          if (!found.enabled) return `Its ${part} "${named[part]}" is disabled.`;
        }
        return rule.isAdhoc && rule.ownerId === null ? "Its owner was deleted: save it again to own it." : null;
      },
    }),
    isAdhoc: t.exposeBoolean("isAdhoc", {
      description: "Whether it was created by hand rather than loaded from a pack's files.",
    }),
    actionRef: t.exposeString("actionRef", { description: "The ref of its action, kept when the action is deleted." }),
    triggerRef: t.exposeString("triggerRef", {
      description: "The ref of its trigger, kept when the trigger is deleted.",
    }),
    condition: t.expose("condition", { type: RuleCondition, description: "How its conditions are combined." }),
    actionParams: t.expose("actionParams", {
      type: "JSONObject",
      description: "The action's parameters. Texts may contain templates such as {{ event.payload.name }}.",
    }),
    triggerParams: t.expose("triggerParams", {
      type: "JSONObject",
      description: "The trigger's parameters (for timers).",
    }),
    recordEvaluations: t.expose("recordEvaluations", {
      type: RecordEvaluations,
      description: "Which of its evaluations are stored.",
    }),
    revision: t.exposeInt("revision", {
      description: "The number of its newest revision: increases with every change of its definition or owner.",
    }),
    created: t.expose("created", { type: "DateTime", description: "When it was created." }),
    updated: t.expose("updated", {
      type: "DateTime",
      description: "When it last changed. Pass it as `expectedUpdated` to update only the version that you read.",
    }),
    pack: t.relation("pack", { nullable: true, description: "Its pack." }),
    action: t.relation("action", { nullable: true, description: "Its action; null if it was deleted." }),
    trigger: t.relation("trigger", { nullable: true, description: "Its trigger; null if it was deleted." }),
    owner: t.relation("owner", { nullable: true, description: "The identity that owns it." }),
    timer: t.relation("timer", { nullable: true, description: "Its timer, if its trigger is a timer." }),
    enforcements: t.relatedConnection(
      "enforcements",
      enforcements.related("Its enforcements."),
      enforcements.connection,
    ),
    evaluations: t.relatedConnection(
      "evaluations",
      evaluations.related("Its stored evaluations."),
      evaluations.connection,
    ),
  }),
});

builder.drizzleObjectField(Rule, "conditions", (t) =>
  t.field({
    type: ["JSON"],
    description: "Its conditions, as `RuleConditionInput` takes them; without any, every event matches.",
    select: { columns: { conditions: true } },
    resolve: ({ conditions }) => fromConditions(conditions),
  }),
);

/** Lists of rules: filters, orders and connection. */
export const rules = defineList("Rule", "rules", {
  ref: Rule,
  where: {
    id: byOwnId("Rule", "The rule itself."),
    ref: byText("ref", "Its ref."),
    pack: byText("packRef", "The ref of its pack."),
    label: byText("label", "Its label."),
    description: byText("description", "Its description."),
    action: byText("actionRef", "The ref of its action."),
    trigger: byText("triggerRef", "The ref of its trigger."),
    owner: byId("Identity", "ownerId", "The identity that owns it."),
    enabled: byFlag("enabled", "Whether it evaluates events."),
    isAdhoc: byFlag("isAdhoc", "Whether it was created by hand."),
    created: byTime("created", "When it was created."),
    updated: byTime("updated", "When it last changed."),
  },
  order: { ref: "Its ref.", label: "Its label.", created: "When it was created.", updated: "When it last changed." },
  defaultOrder: ["ref", "asc"],
});

addRootFields({ table: "rules", name: "Rule", one: "rule", many: "rules", ref: Rule, list: rules, hasRef: true });
