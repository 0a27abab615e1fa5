import { createHash } from "node:crypto";
import type { ActiveHours } from "../catalog/active-hours.ts";
import { type MaxStarts, maxStarts, type WindowDefinition, windowDefinition } from "../catalog/window.ts";
import { type CelScope, compileCel } from "../lang/cel.ts";
import { normaliseConditions } from "../lang/criteria.ts";
import { createMeter, type Meter } from "../lang/meter.ts";
import { globalId } from "../lib/global-id.ts";
import type { Json, JsonObject } from "../lib/json.ts";
import { checkInput } from "../schema/input.ts";
import { storableJson } from "../schema/storable.ts";

/** What groups matches: the key's value as it is shown, null without a key, and its hash. */
export interface WindowKey {
  text: string | null;
  hash: string;
}

/** What expressions over an event read. */
export interface EventSubject {
  id: string;
  triggerRef: string;
  payload: Json;
  traceTag: string;
  created: string;
}

/** Returns the variable `event` of expressions. */
export function eventVariable({ id, triggerRef, payload, traceTag, created }: EventSubject): Record<string, unknown> {
  return { id: globalId("Event", id), payload, trigger: triggerRef, trace_tag: traceTag, created };
}

const keyScope: CelScope = { variables: ["event"] };
const longestShown = 200;
const withoutKey: WindowKey = { text: null, hash: "" };

/** Compiles the key of a window, a CEL expression over the event. The result throws why the key of an event has no value. Throws InvalidInputError. */
export function compileKey(
  source: string | undefined,
  path = "window.key",
): (event: EventSubject, meter?: Meter) => WindowKey {
  if (source === undefined) return () => withoutKey;
  const compute = compileCel(source, path, keyScope);
  return (event, meter = createMeter()) => {
    const value = compute({ event: eventVariable(event) }, meter);
    const text = typeof value === "string" ? value : JSON.stringify(value);
    storableJson(text, path);
    return {
      text: shorten(text),
      hash: createHash("sha256")
        .update(JSON.stringify(inOrder(value)))
        .digest("hex"),
    };
  };
}

const shorten = (text: string) => {
  const characters = [...text.slice(0, 2 * longestShown)];
  return characters.length <= longestShown ? text : `${characters.slice(0, longestShown - 1).join("")}…`;
};

/** Equal values are equal texts: the order of an object's fields does not matter. */
function inOrder(value: Json): Json {
  if (Array.isArray(value)) return value.map(inOrder);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.keys(value)
      .sort()
      .map((name) => [name, inOrder(value[name] ?? null)]),
  );
}

/** Checks the window of a rule and returns it as it is stored: null is no window. Throws InvalidInputError with every fault, below `path`. */
export function checkWindow(given: unknown, path: string): WindowDefinition | null {
  if (given === undefined || given === null) return null;
  const window = checkInput(windowDefinition, withoutNulls(given), path);
  compileKey(window.key, `${path}.key`);
  const { absence } = window;
  if (!absence) return window;
  const at = `${path}.absence.of`;
  compileKey(absence.of.key, `${at}.key`);
  const conditions = normaliseConditions(absence.of.conditions, `${at}.conditions`);
  storableJson(conditions, `${at}.conditions`);
  return { ...window, absence: { ...absence, of: { ...absence.of, conditions } } };
}

/** Checks the limit of a rule's starts and returns it as it is stored: null is no limit. Throws InvalidInputError. */
export function checkMaxStarts(given: unknown, path: string): MaxStarts | null {
  if (given === undefined || given === null) return null;
  return checkInput(maxStarts, withoutNulls(given), path);
}

/** Returns a value of the API without its nulls, which it gives for what is left out; in conditions null is a value. */
export function withoutNulls(given: unknown): unknown {
  if (Array.isArray(given)) return given.map(withoutNulls);
  if (typeof given !== "object" || given === null) return given;
  const fields = Object.entries(given).filter(([, value]) => value !== null && value !== undefined);
  return Object.fromEntries(fields.map(([name, value]) => [name, name === "conditions" ? value : withoutNulls(value)]));
}

/** Returns the trigger whose events answer those of the rule; null: its window waits for none. */
export function answerTrigger({ window, triggerRef }: { window: unknown; triggerRef: string }): string | null {
  const { absence } = (window ?? {}) as { absence?: { of?: { trigger?: string | null } | null } | null }; // perhaps not checked yet
  return absence ? (absence.of?.trigger ?? triggerRef) : null;
}

/** Returns a part of a rule as its column holds it. */
export const asColumn = (value: WindowDefinition | MaxStarts | ActiveHours | null) =>
  value as unknown as JsonObject | null;
