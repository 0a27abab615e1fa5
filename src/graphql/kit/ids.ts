import { decodeGlobalID } from "@pothos/plugin-relay";
import type { tables } from "../../db/tables.ts";
import { invalid } from "../../errors.ts";
import { parseBigInt } from "./scalars.ts";

/** The content of an id: the object's type and its number. */
export interface DecodedId {
  typename: string;
  number: bigint;
}

/** Returns the content of an id. Throws InvalidInputError at `path` if it is not an id. */
export function decodeId(id: string, path: string): DecodedId {
  const { typename, id: text } = decode(id) ?? {};
  const number = parseBigInt(text);
  if (typename === undefined || number === null) throw invalid(path, `"${id}" is not an id`);
  return { typename, number };
}

/** Returns the number in the id of an object of the type `typename`. Throws InvalidInputError at `path` for any other id. */
export function readId(typename: string, id: unknown, path: string): bigint {
  const decoded = decodeId(String(id), path);
  if (decoded.typename !== typename) throw invalid(path, `"${id}" is not the id of an object of type ${typename}`);
  return decoded.number;
}

function decode(id: string): { typename: string; id: string } | null {
  try {
    return decodeGlobalID(id);
  } catch {
    return null; // not an id of this API
  }
}

/** The tables of the types that objects refer to by id. */
export const tableOfType = {
  Action: "actions",
  Enforcement: "enforcements",
  Event: "events",
  Execution: "executions",
  Identity: "identities",
  Pack: "packs",
  PermissionSet: "permissionSets",
  Policy: "policies",
  Rule: "rules",
  Runtime: "runtimes",
  Trigger: "triggers",
  Worker: "workers",
} as const satisfies Readonly<Record<string, keyof typeof tables>>;
