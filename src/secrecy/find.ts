import { type Json, type JsonObject, lookup, parsePath } from "../lib/json.ts";
import type { Parameter, ParameterMap } from "../schema/parameter.ts";

/** The value of a `secret: true` parameter, with its JSON pointer and its dotted name. */
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

/** Returns a key escaped for a JSON pointer. */
export const escapeKey = (key: string): string => key.replaceAll("~", "~0").replaceAll("/", "~1");

const pointer = (keys: readonly string[]) => keys.map((key) => `/${escapeKey(key)}`).join("");

/** Replaces values in place, by their JSON pointers; pointers to missing values are ignored. */
export function replaceAt(values: JsonObject, places: ReadonlyMap<string, Json>): void {
  for (const [path, value] of places) {
    const keys = parsePath(path);
    const last = keys.pop();
    const parent = lookup(values, keys);
    if (last === undefined || typeof parent !== "object" || parent === null) continue;
    if (!Object.hasOwn(parent, last)) continue;
    // An assignment to "__proto__" would set the prototype.
    Object.defineProperty(parent, last, { value, configurable: true, enumerable: true, writable: true });
  }
}
