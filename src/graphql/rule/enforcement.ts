import { executions } from "../execution/execution.ts";
import { builder } from "../kit/builder.ts";
import { EnforcementStatus, RuleCondition } from "../kit/enums.ts";
import { byEnum, byId, byText, byTime } from "../kit/filter.ts";
import { EnforcementStatusFilter } from "../kit/filter-inputs.ts";
import { defineList } from "../kit/list.ts";
import { addRootFields } from "../kit/root.ts";

/** A rule's match. */
export const Enforcement = builder.drizzleNode("enforcements", {
  name: "Enforcement",
  description: "A rule matched an event: at most one for each pair of them.",
  id: { column: (enforcement) => enforcement.id },
  select: { columns: { id: true } },
  fields: (t) => ({
    created: t.expose("created", { type: "DateTime", description: "When the rule matched." }),
    updated: t.expose("updated", { type: "DateTime", description: "When it last changed." }),
    status: t.expose("status", { type: EnforcementStatus, description: "What became of it." }),
    ruleRef: t.exposeString("ruleRef", { description: "The rule's ref, kept when the rule is deleted." }),
    triggerRef: t.exposeString("triggerRef", { description: "The ref of the rule's trigger." }),
    payload: t.expose("payload", { type: "JSON", description: "The event's payload, as the rule saw it." }),
    condition: t.expose("condition", { type: RuleCondition, description: "How the rule's conditions were joined." }),
    conditions: t.expose("conditions", { type: ["JSON"], description: "The rule's conditions, as they were." }),
    parameters: t.expose("config", {
      type: "JSONObject",
      nullable: true,
      description: "The action's parameters as the rule's templates gave them, secrets masked.",
    }),
    error: t.expose("error", {
      type: "JSONObject",
      nullable: true,
      description: "Why no execution was made: code, message and detail.",
    }),
    resolvedAt: t.expose("resolvedAt", { type: "DateTime", nullable: true, description: "When it was dealt with." }),
    rule: t.relation("rule", { nullable: true, description: "The rule; null when it was deleted." }),
    event: t.relation("event", { nullable: true, description: "The event; null when it was deleted." }),
    executions: t.relatedConnection(
      "executions",
      executions.related("The executions that it asked for."),
      executions.connection,
    ),
  }),
});

/** Enforcements, wherever they are listed. */
export const enforcements = defineList("Enforcement", "enforcements", {
  ref: Enforcement,
  where: {
    id: byId("Enforcement", "id", "The enforcement itself."),
    rule: byText("ruleRef", "The rule's ref."),
    trigger: byText("triggerRef", "The ref of the rule's trigger."),
    event: byId("Event", "eventId", "The event that was matched."),
    status: byEnum(EnforcementStatusFilter, "status", "What became of it."),
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
