import type { MaxStarts, WindowDefinition, WindowKind } from "../catalog/window.ts";

/** What a window knows of one key. Times are milliseconds since 1970. */
export interface WindowState {
  /** The latest time that it has seen: none of its times goes back. */
  at: number;
  /** The matches that it counts: those it holds back, or waits with. */
  count: number;
  /** When its period, or what it waits for, began. */
  from: number | null;
  /** The event that it will start with, or else the last one that matched. */
  event: string | null;
  /** When it starts with that event unless something happens before. */
  dueAt: number | null;
  /** From when on it says nothing any more; null: not by time. */
  expiresAt: number | null;
  /** The times of the matches that are counted. */
  times: number[];
}

/** A match of the rule, or an event that answers one. */
export interface WindowInput {
  isMatch: boolean;
  event: string;
  at: number;
}

/** A start of the rule's action with that event. */
export interface Start {
  event: string;
  at: number;
}

/** What a window decided: its new state, what starts, and whether it holds the match itself back. */
export interface Decision {
  state: WindowState;
  starts: Start[];
  isHeld: boolean;
}

/** Returns the state of a key without a history. */
export function emptyState(at: number): WindowState {
  return { at, count: 0, from: null, event: null, dueAt: null, expiresAt: null, times: [] };
}

/** Returns the kind of a window. */
export function kindOf(window: WindowDefinition): WindowKind {
  if (window.throttle) return "throttle";
  if (window.debounce) return "debounce";
  if (window.count) return "count";
  return window.absence ? "absence" : "once";
}

/** Returns whether the state says nothing, so that it need not be kept. */
export function isIdle({ dueAt, expiresAt, from, times }: WindowState): boolean {
  return dueAt === null && expiresAt === null && from === null && times.length === 0;
}

/**
 * Decides about one input, in the order of the inputs. A deadline at or before its time comes first. An input that is older than what the
 * window has seen counts as simultaneous with it.
 */
export function decide(window: WindowDefinition, before: WindowState, given: WindowInput): Decision {
  const input = { ...given, at: Math.max(given.at, before.at) };
  const { state, starts } = passTime(before, input.at);
  if (!input.isMatch) {
    return { state: window.absence ? emptyState(input.at) : state, starts, isHeld: false };
  }
  const decided = judge(window, state, input);
  return { ...decided, starts: [...starts, ...decided.starts] };
}

/** Lets the time pass: starts what is due by then, unless its event was deleted. */
export function passTime(before: WindowState, at: number): Omit<Decision, "isHeld"> {
  const state = { ...before, at: Math.max(before.at, at) };
  if (state.dueAt === null || state.dueAt > at) return { state, starts: [] };
  const { event, dueAt } = state;
  return { state: emptyState(state.at), starts: event === null ? [] : [{ event, at: dueAt }] };
}

function judge(window: WindowDefinition, state: WindowState, input: WindowInput): Decision {
  const ms = (seconds: number) => Math.round(seconds * 1000);
  const { throttle, debounce, count, absence, once } = window;
  if (throttle) {
    return startOnce(state, input, (at) => at + ms(throttle.per));
  }
  if (once) {
    const { per } = once;
    return startOnce(state, input, (at) => (per === undefined ? null : (Math.floor(at / ms(per)) + 1) * ms(per)));
  }
  if (debounce) {
    const from = state.from ?? input.at;
    const latest = debounce.max === undefined ? Number.POSITIVE_INFINITY : from + ms(debounce.max);
    return wait(state, { event: input.event, from, dueAt: Math.min(input.at + ms(debounce.quiet), latest) });
  }
  if (absence) {
    const { event, from, dueAt } = state;
    if (event !== null && from !== null && dueAt !== null) return wait(state, { event, from, dueAt });
    return wait(state, { event: input.event, from: input.at, dueAt: input.at + ms(absence.within) });
  }
  return count ? startAtCount(state, input, { times: count.times, within: ms(count.within) }) : never(window);
}

function never(window: WindowDefinition): never {
  throw new Error(`a window without a kind: ${JSON.stringify(window)}`);
}

/** Starts with the first match, and holds back further ones until the time that `until` returns for it; null: for good. */
function startOnce(state: WindowState, { event, at }: WindowInput, until: (at: number) => number | null): Decision {
  if (state.from !== null && (state.expiresAt === null || at < state.expiresAt)) {
    return { state: { ...state, event, count: state.count + 1 }, starts: [], isHeld: true };
  }
  const begun = { ...emptyState(state.at), event, from: at, expiresAt: until(at) };
  return { state: begun, starts: [{ event, at }], isHeld: false };
}

function wait(state: WindowState, waiting: { event: string; from: number; dueAt: number }): Decision {
  return { state: { ...state, ...waiting, count: state.count + 1 }, starts: [], isHeld: true };
}

/** What was counted is used up by a start. */
function startAtCount(
  state: WindowState,
  { event, at }: WindowInput,
  { times: wanted, within }: { times: number; within: number },
): Decision {
  const times = [...state.times.filter((time) => time >= at - within), at];
  if (times.length >= wanted) return { state: emptyState(state.at), starts: [{ event, at }], isHeld: false };
  const counted = { ...state, event, times, count: times.length, from: times[0] ?? at, expiresAt: at + within + 1 };
  return { state: counted, starts: [], isHeld: true };
}

/** What is known of a rule's starts. Times are milliseconds since 1970. */
export interface Budget {
  /** When the period began whose starts are counted. */
  from: number | null;
  starts: number;
  trippedAt: number | null;
  /** Until when nothing starts. */
  resetsAt: number | null;
}

/** Returns the budget of a rule that has started nothing. */
export const fullBudget = (): Budget => ({ from: null, starts: 0, trippedAt: null, resetsAt: null });

/**
 * Decides about one start. A period begins with a start and has `count` of them; one more trips the rule, which then starts nothing
 * for `pause` seconds.
 */
export function spend(
  budget: Budget,
  { count, per, pause }: MaxStarts,
  at: number,
): { budget: Budget; isAllowed: boolean; trips: boolean } {
  if (budget.resetsAt !== null && at < budget.resetsAt) return { budget, isAllowed: false, trips: false };
  const isOver = budget.resetsAt !== null || budget.from === null || at >= budget.from + per * 1000;
  const current = isOver ? { ...fullBudget(), from: at } : budget;
  if (current.starts < count) {
    return { budget: { ...current, starts: current.starts + 1 }, isAllowed: true, trips: false };
  }
  return { budget: { ...current, trippedAt: at, resetsAt: at + pause * 1000 }, isAllowed: false, trips: true };
}
