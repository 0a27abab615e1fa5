import { InvalidInputError, type Issue } from "../errors.ts";
import { type Json, type JsonObject, lookup, parsePath, sameJson } from "../lib/json.ts";
import type { ParameterMap } from "../schema/parameter.ts";
import { findSecrets, replaceAt } from "./find.ts";
import type { Keyring } from "./keyring.ts";

/** The text that is stored and shown instead of a secret setting. */
const hidden = "[secret]";

/** The encrypted values of secret settings, by JSON pointer. */
export type SealedSettings = Readonly<Record<string, string>>;

/** Settings as they are stored: the secret ones hidden, and their values encrypted. */
export interface StoredSettings {
  config: JsonObject;
  secrets: SealedSettings;
}

/** Returns the settings with the values of secret parameters hidden. */
export function hideSecrets(map: ParameterMap, values: JsonObject): JsonObject {
  return replaced(values, new Map(findSecrets(map, values).map(({ path }) => [path, hidden])));
}

/** Returns the settings in their stored form. A secret that is hidden keeps its value of `stored`, if it has one. */
export function sealSecrets(
  keyring: Keyring,
  map: ParameterMap,
  values: JsonObject,
  stored: SealedSettings = {},
): StoredSettings {
  const secrets = findSecrets(map, values).flatMap(({ path, value }): [string, string][] => {
    const sealed = value === hidden ? stored[path] : keyring.seal(value);
    return sealed === undefined ? [] : [[path, sealed]];
  });
  return { config: hideSecrets(map, values), secrets: Object.fromEntries(secrets) };
}

/** Returns whether any secret setting is stored in clear, as earlier versions did. */
export const hasClearSecrets = (map: ParameterMap, values: JsonObject): boolean =>
  findSecrets(map, values).some(({ value }) => value !== hidden);

/**
 * Returns the settings with every hidden secret replaced by its stored value. A hidden secret without a stored value is refused, and one
 * whose parameter is declared otherwise than before, because checking it by another declaration would tell about it. Throws
 * InvalidInputError below `path`.
 */
export function restoreSecrets(
  keyring: Keyring,
  { map, values, path }: { map: ParameterMap; values: JsonObject; path: string },
  stored: { map: ParameterMap; secrets: SealedSettings },
): JsonObject {
  const places = new Map<string, Json>();
  const issues: Issue[] = [];
  const declared = findSecrets(map, values).filter(({ value }) => value === hidden);
  const before = Object.keys(stored.secrets).filter((pointer) => lookup(values, pointer) === hidden);
  for (const pointer of new Set([...declared.map((each) => each.path), ...before])) {
    const [name = "", ...within] = parsePath(pointer);
    const sealed = stored.secrets[pointer];
    const [now, then] = [map, stored.map].map((each) => ({ ...each[name] }) as unknown as Json); // it came as JSON
    if (sealed !== undefined && now !== undefined && then !== undefined && sameJson(now, then)) {
      places.set(pointer, keyring.open(sealed));
    } else {
      const reason = sealed === undefined ? "it has none yet" : "its declaration has changed";
      issues.push({ path: [path, name, ...within].join("."), message: `is hidden: give its value, because ${reason}` });
    }
  }
  if (issues.length > 0) throw new InvalidInputError(issues);
  return replaced(values, places);
}

function replaced(values: JsonObject, places: ReadonlyMap<string, Json>): JsonObject {
  const copy = structuredClone(values);
  replaceAt(copy, places);
  return copy;
}

/** Returns stored settings with their secrets, and the secrets, named by their places. Throws when the keyring cannot decrypt one. */
export function openSettings(
  keyring: Keyring,
  { config, secrets }: StoredSettings,
): { values: JsonObject; secrets: { name: string; text: string }[] } {
  const opened = Object.entries(secrets).map(([path, sealed]): [string, string] => [path, keyring.open(sealed)]);
  return {
    values: replaced(config, new Map(opened)),
    secrets: opened.map(([path, text]) => ({ name: `config.${parsePath(path).join(".")}`, text })),
  };
}
