import type { WindowDefinition } from "../catalog/window.ts";
import type { CriterionOutcome } from "../lang/criteria.ts";
import type { Json } from "../lib/json.ts";
import { compileJudge } from "./judge.ts";
import { inTurn } from "./turn.ts";
import { answerTrigger, type EventSubject } from "./window.ts";

/** What decides whether a rule matches an event. */
interface Explained {
  id: bigint;
  triggerRef: string;
  condition: "any" | "all";
  conditions: Json[];
  window: unknown;
}

/** Why a rule matches an event, or does not. */
export interface Explanation {
  matches: boolean;
  /** Why the event does not concern the rule at all; null: it does. */
  reason: string | null;
  criteria: CriterionOutcome[];
  /** The key by which its window groups a match; null: it has none. */
  windowKey: string | null;
}

/** Evaluates a rule as it is now for a stored event, as the executor does, and returns what each criterion found. Changes nothing. */
export async function explainRule(
  rule: Explained,
  event: EventSubject & { ruleId: bigint | null },
): Promise<Explanation> {
  const { key } = (rule.window ?? {}) as Partial<WindowDefinition>; // checked when it was saved
  const { judge } = compileJudge({ ...rule, key, isHeld: rule.window !== null });
  const judged = await inTurn(() => judge(event));
  const reason = reasonOf(rule, event);
  const windowKey = reason === null ? (judged.key?.text ?? null) : null;
  return { matches: judged.matched && reason === null, reason, criteria: judged.criteria, windowKey };
}

function reasonOf(rule: Explained, event: { triggerRef: string; ruleId: bigint | null }): string | null {
  if (rule.triggerRef !== event.triggerRef) {
    const answers = answerTrigger(rule) === event.triggerRef ? ", which answer those that match" : "";
    return `The rule is for the trigger "${rule.triggerRef}"; the event is one of "${event.triggerRef}"${answers}.`;
  }
  return event.ruleId === null || event.ruleId === rule.id ? null : "The event is a tick of another rule's timer.";
}
