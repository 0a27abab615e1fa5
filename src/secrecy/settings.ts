import { type Json, type JsonObject, lookup } from "../lib/json.ts";
import type { ParameterMap } from "../schema/parameter.ts";
import { findSecrets, replaceAt } from "./find.ts";

/** The text that is shown instead of a secret setting. */
const hidden = "[secret]";

/** Returns the settings with the values of secret parameters hidden. */
export function hideSecrets(map: ParameterMap, values: JsonObject): JsonObject {
  return replaced(values, new Map(findSecrets(map, values).map(({ path }) => [path, hidden])));
}

/** Returns the settings with every hidden secret replaced by its stored value. */
export function restoreSecrets(map: ParameterMap, values: JsonObject, stored: JsonObject): JsonObject {
  const unchanged = findSecrets(map, values).filter(({ value }) => value === hidden);
  const places = unchanged.flatMap(({ path }): [string, Json][] => {
    const value = lookup(stored, path);
    return typeof value === "string" ? [[path, value]] : [];
  });
  return replaced(values, new Map(places));
}

function replaced(values: JsonObject, places: ReadonlyMap<string, Json>): JsonObject {
  const copy = structuredClone(values);
  replaceAt(copy, places);
  return copy;
}
