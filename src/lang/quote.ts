import type { Json } from "../lib/json.ts";

/** About how many characters of JSON a value may have to be quoted whole. */
const maxLength = 500;

/**
 * Returns a value as outcomes quote it, because they are stored for each event: a small one whole, of a long text the beginning and
 * how many characters are left out, of a large list or object how many items or fields it has.
 */
export function quote(value: Json): Json {
  if (typeof value === "string") {
    if (value.length <= maxLength) return value;
    const end = value.codePointAt(maxLength - 1) === value.charCodeAt(maxLength - 1) ? maxLength : maxLength - 1;
    return `${value.slice(0, end)}… (${value.length - end} more characters)`;
  }
  if (typeof value !== "object" || value === null || roomAfter(value, maxLength) >= 0) return value;
  if (Array.isArray(value)) return `a list of ${value.length} items`;
  return `an object with ${Object.keys(value).length} fields`;
}

/** Returns how much room the value leaves; a negative number, as soon as that is known, if there is not enough. */
function roomAfter(value: Json, room: number): number {
  if (typeof value === "string") return room - value.length - 2;
  if (typeof value !== "object" || value === null) return room - 5;
  let left = room - 2;
  for (const key in value) {
    left = roomAfter((value as Record<string, Json>)[key] as Json, left - (Array.isArray(value) ? 1 : key.length + 4));
    if (left < 0) return left;
  }
  return left;
}
