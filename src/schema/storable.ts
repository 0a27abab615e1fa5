import { InvalidInputError, type Issue } from "../errors.ts";
import type { Json } from "../lib/json.ts";

const escapedNul = /(^|[^\\])(\\\\)*\\u0000/;
const loneSurrogate = /(^|[^\\])(\\\\)*\\ud[89a-f]/i;

/**
 * The value as JSON text that Postgres' jsonb takes, at most `maxBytes` long; InvalidInputError at `path` otherwise. NUL and
 * half a surrogate pair are JSON, but not text that a Postgres database can hold.
 */
export function storableJson(value: Json, path: string, maxBytes = 1024 * 1024): string {
  const text = JSON.stringify(value);
  const issues: Issue[] = [];
  if (Buffer.byteLength(text) > maxBytes) {
    issues.push({ path, message: `is ${Buffer.byteLength(text)} bytes of JSON; at most ${maxBytes} are taken` });
  }
  if (escapedNul.test(text)) issues.push({ path, message: "contains the character U+0000, which cannot be stored" });
  if (loneSurrogate.test(text)) issues.push({ path, message: "contains half of a surrogate pair: not valid Unicode" });
  if (issues.length > 0) throw new InvalidInputError(issues);
  return text;
}
