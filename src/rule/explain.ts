import type { ActiveHours } from "../catalog/active-hours.ts";
import type { WindowDefinition } from "../catalog/window.ts";
import type { CriterionOutcome } from "../lang/criteria.ts";
import type { Json } from "../lib/json.ts";
import type { Others } from "./backstop.ts";
import { compileJudge, type Judgement, judgeBackstop } from "./judge.ts";
import { inTurn } from "./turn.ts";
import { answerTrigger, type EventSubject } from "./window.ts";

/** What decides whether a rule matches an event. */
interface Explained {
  id: bigint;
  triggerRef: string;
  condition: "any" | "all";
  conditions: Json[];
  window: unknown;
  activeHours: unknown;
  backstop: boolean;
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

/** An event to explain. */
type Subject = EventSubject & { ruleId: bigint | null };

/**
 * Evaluates a rule as it is now for a stored event, as the executor does, and returns what each criterion found. Of a backstop `others` says whether
 * another rule matches. Changes nothing.
 */
export async function explainRule(rule: Explained, event: Subject, others: Others): Promise<Explanation> {
  const { key } = (rule.window ?? {}) as Partial<WindowDefinition>; // checked when it was saved
  const activeHours = rule.activeHours as ActiveHours | null;
  const { judge } = compileJudge({ ...rule, key, isHeld: rule.window !== null, activeHours });
  const reason = reasonOf(rule, event);
  const judged = await inTurn(() => judge(event));
  const decided = rule.backstop && reason === null ? await decideBackstop(judged, event, others) : judged;
  const windowKey = reason === null ? (decided.key?.text ?? null) : null;
  return { matches: decided.matched && reason === null, reason, criteria: decided.criteria, windowKey };
}

/** A tick concerns only the rule of its timer, so that no other one matches it. */
async function decideBackstop(judged: Judgement, event: Subject, others: Others): Promise<Judgement> {
  return judged.matched ? judgeBackstop(judged, event.ruleId === null && (await others(event))) : judged;
}

function reasonOf(rule: Explained, event: { triggerRef: string; ruleId: bigint | null }): string | null {
  if (rule.triggerRef !== event.triggerRef) {
    const answers = answerTrigger(rule) === event.triggerRef ? ", which answer those that match" : "";
    return `The rule is for the trigger "${rule.triggerRef}"; the event is one of "${event.triggerRef}"${answers}.`;
  }
  return event.ruleId === null || event.ruleId === rule.id ? null : "The event is a tick of another rule's timer.";
}
