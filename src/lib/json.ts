export type Json = null | boolean | number | string | Json[] | JsonObject;

export interface JsonObject {
  [key: string]: Json;
}

/** Returns whether the value is an object, and no list. */
export const isObject = (value: Json): value is JsonObject =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** The result of a lookup without a value at the path; a stored null is not absent. */
export const ABSENT: unique symbol = Symbol("absent");
type Absent = typeof ABSENT;

type JsonType = "null" | "boolean" | "number" | "string" | "list" | "object";

/** Returns the type of a JSON value, with the names of messages and the `is_type` operator. */
export function jsonType(value: Json): JsonType {
  if (value === null) return "null";
  if (Array.isArray(value)) return "list";
  const type = typeof value;
  return type === "boolean" || type === "number" || type === "string" ? type : "object";
}

/** Returns the keys of a dotted path (`body.items.0`) or, if it begins with "/", of a JSON pointer (`/headers/x-name`). */
export function parsePath(path: string): string[] {
  if (path === "") return [];
  if (!path.startsWith("/")) return path.split(".");
  return path
    .slice(1)
    .split("/")
    .map((key) => key.replaceAll("~1", "/").replaceAll("~0", "~"));
}

const listIndex = /^(?:0|[1-9]\d{0,15})$/;

/** Returns the value at a path, given as text or parsed, or ABSENT. Reads only own properties and list items, never a prototype. */
export function lookup(value: Json, path: string | readonly string[]): Json | Absent {
  let current: Json = value;
  for (const key of typeof path === "string" ? parsePath(path) : path) {
    if (typeof current !== "object" || current === null || !Object.hasOwn(current, key)) return ABSENT;
    const next: Json | undefined = Array.isArray(current)
      ? listIndex.test(key)
        ? current[Number(key)]
        : undefined
      : current[key];
    if (next === undefined) return ABSENT;
    current = next;
  }
  return current;
}

/** Returns whether two JSON values are equal, regardless of the order of object keys. */
export function sameJson(a: Json, b: Json): boolean {
  if (a === b) return true;
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return false;
  if (Array.isArray(a) || Array.isArray(b)) {
    return Array.isArray(a) && Array.isArray(b) && a.length === b.length && a.every((item, i) => same(item, b[i]));
  }
  const keys = Object.keys(a);
  return keys.length === Object.keys(b).length && keys.every((key) => Object.hasOwn(b, key) && same(a[key], b[key]));
}

function same(a: Json | undefined, b: Json | undefined): boolean {
  return a !== undefined && b !== undefined && sameJson(a, b);
}
