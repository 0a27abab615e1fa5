import type { JsonObject } from "../lib/json.ts";
import { maxDepth } from "./criteria.ts";
import { criterionOperators } from "./operators.ts";

/**
 * Returns stored conditions if they are plainly in the form that `normaliseConditions` returns, without compiling them; null if only that can tell. They
 * may still not compile.
 */
export function canonicalConditions(conditions: unknown): JsonObject[] | null {
  return Array.isArray(conditions) && conditions.every((item) => isCanonical(item, 0)) ? conditions : null;
}

function isCanonical(item: unknown, depth: number): boolean {
  if (typeof item !== "object" || item === null || depth > maxDepth) return false;
  const { any, all, not, expression, field, operator } = item as Record<string, unknown>;
  const group = any ?? all;
  if (Array.isArray(group)) return group.every((each) => isCanonical(each, depth + 1));
  if (not !== undefined) return isCanonical(not, depth + 1);
  if (expression !== undefined) return typeof expression === "string";
  if (typeof operator !== "string" || !Object.hasOwn(criterionOperators, operator)) return false;
  return typeof field === "string" && (plainField.test(field) || field.startsWith("/"));
}

/** A path that is canonical as it is written: names without anything that could be meant otherwise. */
const plainField = /^(?!event\.)[\w-]+(\.[\w-]+)*$/;
