import type { CriterionOutcome } from "../lang/criteria.ts";
import type { Json } from "../lib/json.ts";
import { compileConditions } from "./ruleset.ts";
import { inTurn } from "./turn.ts";

/** What decides whether a rule matches an event. */
interface Explained {
  id: bigint;
  triggerRef: string;
  condition: "any" | "all";
  conditions: Json[];
}

/** Why a rule matches an event, or does not. */
export interface Explanation {
  matches: boolean;
  /** Why the event does not concern the rule at all; null: it does. */
  reason: string | null;
  criteria: CriterionOutcome[];
}

/** Evaluates a rule as it is now for a stored event, as the executor does, and returns what each criterion found. Changes nothing. */
export async function explainRule(
  rule: Explained,
  event: { triggerRef: string; payload: Json; ruleId: bigint | null },
): Promise<Explanation> {
  const { matched, criteria } = await inTurn(() => compileConditions(rule).evaluate(event.payload));
  const reason = reasonOf(rule, event);
  return { matches: matched && reason === null, reason, criteria };
}

function reasonOf(rule: Explained, event: { triggerRef: string; ruleId: bigint | null }): string | null {
  if (rule.triggerRef !== event.triggerRef) {
    return `The rule is for the trigger "${rule.triggerRef}"; the event is one of "${event.triggerRef}".`;
  }
  return event.ruleId === null || event.ruleId === rule.id ? null : "The event is a tick of another rule's timer.";
}
