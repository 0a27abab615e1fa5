import { decodeGlobalID } from "@pothos/plugin-relay";
import { invalid } from "../../errors.ts";
import { parseBigInt } from "./scalars.ts";

/** What stands in an id: the object's type and its number. */
export interface DecodedId {
  typename: string;
  number: bigint;
}

/** What stands in an id; InvalidInputError at `path` when it is none. */
export function decodeId(id: string, path: string): DecodedId {
  const { typename, id: text } = decode(id) ?? {};
  const number = parseBigInt(text);
  if (typename === undefined || number === null) throw invalid(path, `"${id}" is not an id`);
  return { typename, number };
}

/** The number behind the id of an object of that type; InvalidInputError at `path` for anything else. */
export function readId(typename: string, id: unknown, path: string): bigint {
  const decoded = decodeId(String(id), path);
  if (decoded.typename !== typename) throw invalid(path, `"${id}" is not the id of an object of type ${typename}`);
  return decoded.number;
}

function decode(id: string): { typename: string; id: string } | null {
  try {
    return decodeGlobalID(id);
  } catch {
    return null; // not made by this API
  }
}
