import type { WindowKind as Kind } from "../../catalog/window.ts";
import type { Hold } from "../../db/tables/event.ts";
import { type Described, upperCased } from "./enums.ts";

export const RuleHold = upperCased("RuleHold", "What keeps a match from starting its rule's action.", {
  undecided: "Its window has not decided yet.",
  throttle: "The window: the action was started a short time before.",
  debounce: "The window: it waits for quiet, and then starts with the last event.",
  count: "The window: too few matches so far.",
  absence: "The window: it waits for an event that answers.",
  once: "The window: the action was started already.",
  max_starts: "The rule has tripped: it would have started more often than its limit allows.",
  keys: "The windows of the rule have too many keys.",
  disabled: "The rule was disabled, or lost its trigger, before the window decided.",
  answer: "Nothing: the event answers one that the rule's window waits with.",
} satisfies Described<Hold>);

export const WindowKind = upperCased("WindowKind", "The kind of a rule's window.", {
  throttle: "The first match starts, and no further one for a time.",
  debounce: "Starts when no match has come for a time.",
  count: "Starts when so many matches have come within a time.",
  absence: "Starts when no answer has come within a time.",
  once: "Starts once, or once in each period.",
} satisfies Described<Kind>);
