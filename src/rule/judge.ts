import { type CriteriaOutcome, readCriteria } from "../lang/criteria.ts";
import { quote } from "../lang/quote.ts";
import type { Json } from "../lib/json.ts";
import { compileKey, type EventSubject, type WindowKey } from "./window.ts";

/** What a rule finds of an event: whether it matches, what each criterion found, and the key of its window if that decides further. */
export interface Judgement extends CriteriaOutcome {
  key: WindowKey | null;
}

/** Judges an event. It never throws. */
export type Judge = (event: EventSubject) => Judgement;

/** What decides whether an event matches. */
export interface Criteria {
  condition: "any" | "all";
  conditions: Json[];
  /** The key of the rule's window. */
  key: string | undefined;
  /** Whether a match is decided about further, by a window or a limit. */
  isHeld: boolean;
}

/**
 * Returns the canonical conditions, null if they do not compile, and the function that judges events, by which the executor decides and an explanation
 * is made. What cannot be evaluated, the key of
 * the window too, is no match, and a criterion has the reason.
 */
export function compileJudge({ condition, conditions, key, isHeld }: Criteria): {
  criteria: ReturnType<typeof readCriteria>["canonical"] | null;
  judge: Judge;
} {
  try {
    const { canonical, evaluate } = readCriteria(condition, conditions);
    const keyOf = compileKey(key);
    const judge: Judge = (event) => {
      const outcome = evaluate(event.payload);
      if (!outcome.matched || !isHeld) return { ...outcome, key: null };
      try {
        return { ...outcome, key: keyOf(event) };
      } catch (error) {
        const criterion = { path: "window.key", operator: "expression", expected: quote(key ?? null), result: false };
        return {
          matched: false,
          criteria: [...outcome.criteria, { ...criterion, error: messageOf(error) }],
          key: null,
        };
      }
    };
    return { criteria: canonical, judge };
  } catch (error) {
    const broken = { path: "", operator: "", expected: null, result: false };
    const criteria = [{ ...broken, error: `the rule does not compile: ${messageOf(error)}` }];
    return { criteria: null, judge: () => ({ matched: false, criteria, key: null }) };
  }
}

const messageOf = (error: unknown) => (error instanceof Error ? error.message : String(error));
