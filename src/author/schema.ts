import { z } from "zod";
import {
  actionManifest,
  packManifest,
  permissionSetManifest,
  ruleManifest,
  runtimeManifest,
  sensorManifest,
  triggerManifest,
} from "../catalog/manifest.ts";
import { packIndex } from "../catalog/pack-index.ts";

/** The kinds of files of a pack, with what checks them. */
const kinds = {
  pack: packManifest,
  action: actionManifest,
  trigger: triggerManifest,
  sensor: sensorManifest,
  rule: ruleManifest,
  runtime: runtimeManifest,
  permission_set: permissionSetManifest,
  index: packIndex,
} as const;

/** The kinds of files that have a schema. */
export const schemaKinds = Object.keys(kinds);

/** Returns the JSON Schema (draft 2020-12) of a kind of file, for editors. What JSON Schema cannot say, such as which files exist, is left to the check. */
export function schemaOf(kind: string): object | null {
  if (!Object.hasOwn(kinds, kind)) return null;
  const schema = z.toJSONSchema(kinds[kind as keyof typeof kinds], { io: "input", unrepresentable: "any" });
  return { title: `Attune: ${kind.replace("_", " ")}`, ...schema };
}
