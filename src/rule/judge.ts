import type { ActiveHours } from "../catalog/active-hours.ts";
import { type CriteriaOutcome, readCriteria } from "../lang/criteria.ts";
import { createMeter, type Meter } from "../lang/meter.ts";
import { quote } from "../lang/quote.ts";
import type { Json } from "../lib/json.ts";
import { compileHours } from "./active-hours.ts";
import { compileKey, type EventSubject, type WindowKey } from "./window.ts";

/** What a rule finds of an event: whether it matches, what each criterion found, and the key of its window if that decides further. */
export interface Judgement extends CriteriaOutcome {
  key: WindowKey | null;
  /** Whether it does not match although its conditions hold: because of its active hours, or because another rule matched. */
  isKept: boolean;
}

/** Judges an event within the budget of the meter, by default that of one rule. It never throws. */
export type Judge = (event: EventSubject, meter?: Meter) => Judgement;

/** What decides whether an event matches. */
export interface Criteria {
  condition: "any" | "all";
  conditions: Json[];
  /** The key of the rule's window. */
  key: string | undefined;
  /** Whether a match is decided about further, by a window or a limit. */
  isHeld: boolean;
  activeHours: ActiveHours | null;
}

/**
 * Returns the canonical conditions, null if they do not compile, and the function that judges events, by which the executor decides and an explanation
 * is made. What cannot be evaluated, the key of
 * the window too, is no match, and a criterion has the reason. Whether a backstop's match counts is decided afterwards, by `judgeBackstop`.
 */
export function compileJudge({ condition, conditions, key, isHeld, activeHours }: Criteria): {
  criteria: ReturnType<typeof readCriteria>["canonical"] | null;
  judge: Judge;
} {
  try {
    const { canonical, evaluate } = readCriteria(condition, conditions);
    const keyOf = compileKey(key);
    const hours = activeHours === null ? null : compileHours(activeHours);
    const judge: Judge = (event, meter = createMeter()) => {
      const outcome = { ...evaluate(event.payload, meter), key: null, isKept: false };
      if (!outcome.matched) return outcome;
      if (hours !== null) {
        const within = hours.judge(Date.parse(event.created));
        outcome.criteria.push(within);
        if (!within.result) return { ...outcome, matched: false, isKept: true };
      }
      if (!isHeld) return outcome;
      try {
        return { ...outcome, key: keyOf(event, meter) };
      } catch (error) {
        const criterion = { path: "window.key", operator: "expression", expected: quote(key ?? null), result: false };
        return {
          ...outcome,
          matched: false,
          criteria: [...outcome.criteria, { ...criterion, error: messageOf(error) }],
        };
      }
    };
    return { criteria: canonical, judge };
  } catch (error) {
    const broken = { path: "", operator: "", expected: null, result: false };
    const criteria = [{ ...broken, error: `the rule does not compile: ${messageOf(error)}` }];
    return { criteria: null, judge: () => ({ matched: false, criteria, key: null, isKept: false }) };
  }
}

const messageOf = (error: unknown) => (error instanceof Error ? error.message : String(error));

/** Whether another rule than a backstop matched the event, or why that is not known. */
export type OthersMatched = boolean | { unknown: string };

/** Returns what a backstop finds, which matches only an event that no other rule matched: a judgement of its conditions with one criterion more. */
export function judgeBackstop(judged: Judgement, others: OthersMatched): Judgement {
  if (!judged.matched) return judged;
  const isKept = others !== false;
  const error = typeof others === "object" ? others.unknown : null;
  const criterion = { path: "backstop", operator: "backstop", expected: null, result: !isKept, error };
  const criteria = [...judged.criteria, criterion];
  return isKept ? { matched: false, criteria, key: null, isKept } : { ...judged, criteria };
}
