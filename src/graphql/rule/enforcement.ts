import { executions } from "../execution/execution.ts";
import { builder } from "../kit/builder.ts";
import { EnforcementStatus, RuleCondition } from "../kit/enums.ts";
import { contentOf } from "../kit/event-content.ts";
import { byEnum, byId, byOwnId, byText, byTime } from "../kit/filter.ts";
import { EnforcementStatusFilter } from "../kit/filter-inputs.ts";
import { defineList } from "../kit/list.ts";
import { addRootFields } from "../kit/root.ts";
import { fromConditions } from "./conditions.ts";

const onlyReaders = "Null unless you may read the trigger's events.";

/** A rule's match. */
export const Enforcement = builder.drizzleNode("enforcements", {
  name: "Enforcement",
  description: "A rule's match of an event. Each event has at most one enforcement per rule.",
  id: { column: (enforcement) => enforcement.id },
  select: { columns: { id: true } },
  fields: (t) => ({
    created: t.expose("created", { type: "DateTime", description: "When the rule matched." }),
    updated: t.expose("updated", { type: "DateTime", description: "When it last changed." }),
    status: t.expose("status", { type: EnforcementStatus, description: "The status." }),
    ruleRef: t.exposeString("ruleRef", { description: "The rule's ref, kept when the rule is deleted." }),
    ruleRevision: t.exposeInt("ruleRevision", {
      nullable: true,
      description: "The revision of the rule that matched; null for matches from before revisions were kept.",
    }),
    triggerRef: t.exposeString("triggerRef", { description: "The ref of the rule's trigger." }),
    payload: t.field({
      type: "JSON",
      nullable: true,
      description: `The event's payload when the rule matched. ${onlyReaders}`,
      select: { columns: { triggerRef: true, payload: true } },
      resolve: ({ triggerRef, payload }, _args, ctx) => contentOf(ctx, triggerRef, payload),
    }),
    condition: t.expose("condition", { type: RuleCondition, description: "How the rule's conditions were combined." }),
    conditions: t.field({
      type: ["JSON"],
      description: "The rule's conditions when it matched, as `RuleConditionInput` takes them.",
      select: { columns: { conditions: true } },
      resolve: ({ conditions }) => fromConditions(conditions),
    }),
    parameters: t.field({
      type: "JSONObject",
      nullable: true,
      description: `The action's parameters as rendered from the rule's templates, with secrets masked. ${onlyReaders}`,
      select: { columns: { triggerRef: true, config: true } },
      resolve: ({ triggerRef, config }, _args, ctx) => contentOf(ctx, triggerRef, config),
    }),
    error: t.field({
      type: "JSONObject",
      nullable: true,
      description:
        "Why no execution was created: code, message and detail; only the code unless you may read the trigger's events.",
      select: { columns: { triggerRef: true, error: true } },
      resolve: ({ triggerRef, error }, _args, ctx) =>
        contentOf(ctx, triggerRef, error) ?? (error && { code: error["code"] ?? null }),
    }),
    resolvedAt: t.expose("resolvedAt", { type: "DateTime", nullable: true, description: "When it was processed." }),
    rule: t.relation("rule", { nullable: true, description: "The rule; null if it was deleted." }),
    event: t.relation("event", { nullable: true, description: "The event; null if it was deleted." }),
    executions: t.relatedConnection(
      "executions",
      executions.related("The executions that it requested."),
      executions.connection,
    ),
  }),
});

/** Lists of enforcements: filters, orders and connection. */
export const enforcements = defineList("Enforcement", "enforcements", {
  ref: Enforcement,
  where: {
    id: byOwnId("Enforcement", "The enforcement itself."),
    rule: byText("ruleRef", "The rule's ref."),
    ruleId: byId("Rule", "ruleId", "The rule; null if it was deleted."),
    trigger: byText("triggerRef", "The ref of the rule's trigger."),
    event: byId("Event", "eventId", "The matched event."),
    status: byEnum(EnforcementStatusFilter, "status", "The status."),
    created: byTime("created", "When the rule matched."),
  },
  order: { created: "When the rule matched." },
  defaultOrder: ["created", "desc"],
});

addRootFields({
  table: "enforcements",
  name: "Enforcement",
  one: "enforcement",
  many: "enforcements",
  ref: Enforcement,
  list: enforcements,
  hasRef: false,
});
