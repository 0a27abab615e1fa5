import { type Json, type JsonObject, lookup, parsePath } from "../lib/json.ts";
import type { Parameter, ParameterMap } from "../schema/parameter.ts";

/** A value that a `secret: true` parameter was given: where (a JSON pointer), by which dotted name. */
interface FoundSecret {
  path: string;
  name: string;
  value: string;
}

/** Returns the values of the parameters that the map declares secret, at any depth. */
export function findSecrets(map: ParameterMap, values: JsonObject): FoundSecret[] {
  return Object.entries(values).flatMap(([name, value]) => within(map[name], value, [name]));
}

function within(parameter: Parameter | undefined, value: Json, keys: readonly string[]): FoundSecret[] {
  if (!parameter) return [];
  if (parameter.secret) {
    return typeof value === "string" ? [{ path: pointer(keys), name: keys.join("."), value }] : [];
  }
  if (Array.isArray(value)) {
    return value.flatMap((item, index) => within(parameter.items, item, [...keys, String(index)]));
  }
  if (typeof value !== "object" || value === null) return [];
  const { properties = {} } = parameter;
  return Object.entries(value).flatMap(([name, inner]) => within(properties[name], inner, [...keys, name]));
}

/** A key as it is written in a JSON pointer. */
export const escapeKey = (key: string): string => key.replaceAll("~", "~0").replaceAll("/", "~1");

const pointer = (keys: readonly string[]) => keys.map((key) => `/${escapeKey(key)}`).join("");

/** Puts values in the places of others, in place; the paths are JSON pointers to what is there. */
export function replaceAt(values: JsonObject, places: ReadonlyMap<string, Json>): void {
  for (const [path, value] of places) {
    const keys = parsePath(path);
    const last = keys.pop();
    const parent = lookup(values, keys);
    if (last === undefined || typeof parent !== "object" || parent === null) continue;
    if (!Object.hasOwn(parent, last)) continue;
    // Not by assignment: that of "__proto__" would set the prototype.
    Object.defineProperty(parent, last, { value, configurable: true, enumerable: true, writable: true });
  }
}
