import { type Json, type JsonObject, lookup } from "../lib/json.ts";
import type { ParameterMap } from "../schema/parameter.ts";
import { findSecrets, replaceAt } from "./find.ts";

/** Shown in place of a secret wherever settings are shown. */
const hidden = "[secret]";

/** Settings as they may be shown: the values of those that are declared secret are hidden. */
export function hideSecrets(map: ParameterMap, values: JsonObject): JsonObject {
  return replaced(values, new Map(findSecrets(map, values).map(({ path }) => [path, hidden])));
}

/** Settings with those secrets put back that were shown hidden and came back so: what was stored stays. */
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
