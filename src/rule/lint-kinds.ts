import type { ActiveHours } from "../catalog/active-hours.ts";
import { InvalidInputError } from "../errors.ts";
import type { JsonObject } from "../lib/json.ts";
import { compileHours, neverTicksWithin } from "./active-hours.ts";
import type { Finding } from "./lint.ts";
import { type Schedule, scheduleOf } from "./schedule.ts";

/** What the linter knows of the other enabled rules of a rule's trigger, those that are no backstops. */
export interface OtherRules {
  exist: boolean;
  /** One that matches every event; null: there is none. */
  matchingAll: string | null;
}

/** What the linter reads of a rule to find out about its kind. */
export interface LintedKind {
  triggerRef?: string;
  triggerParams?: JsonObject;
  backstop?: boolean;
}

/** Returns what is probably wrong with the active hours of a rule, which were checked. */
export function lintHours(activeHours: ActiveHours | null, rule: LintedKind): Finding[] {
  if (activeHours === null) return [];
  const hours = compileHours(activeHours);
  const path = "activeHours";
  if (hours.areAlways) {
    const message = "they never make a difference: no time of the week is left out";
    return [{ kind: "unreachable", path, message, suggestion: "Remove them." }];
  }
  const schedule = readSchedule(rule);
  if (schedule === null || !neverTicksWithin(schedule, hours, Date.now())) return [];
  const message = "the timer does not tick within them, for a year at least";
  return [{ kind: "contradiction", path, message, suggestion: "Change them, or the timer; both have a time zone." }];
}

/** A schedule that cannot be read cannot be saved, and is refused then. */
function readSchedule({ triggerRef = "", triggerParams = {} }: LintedKind): Schedule | null {
  try {
    return scheduleOf(triggerRef, triggerParams);
  } catch (error) {
    if (error instanceof InvalidInputError) return null;
    throw error;
  }
}

/** Returns what is probably wrong with a backstop; `others` is null when they are unknown. */
export function lintBackstop({ triggerRef, backstop }: LintedKind, others: OtherRules | null): Finding[] {
  if (!backstop) return [];
  const path = "backstop";
  const remove = "Remove it, or move the rule to the trigger whose other rules it is the backstop of.";
  if (isTimer(triggerRef)) {
    const message = "it never makes a difference: each rule of a timer has ticks of its own";
    return [{ kind: "unreachable", path, message, suggestion: remove }];
  }
  if (others === null) return [];
  if (!others.exist) {
    const message = "it makes no difference: its trigger has no other enabled rule";
    return [{ kind: "unreachable", path, message, suggestion: remove }];
  }
  if (others.matchingAll === null) return [];
  const message = `it never matches: the rule "${others.matchingAll}" matches every event`;
  return [{ kind: "contradiction", path, message, suggestion: "Remove it, or give the other rule conditions." }];
}

const timers = /^core\.(interval|cron|datetime|rrule)timer$/;
const isTimer = (triggerRef = "") => timers.test(triggerRef);
