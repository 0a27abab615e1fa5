import { InvalidInputError, type Issue } from "../errors.ts";
import type { Json } from "../lib/json.ts";
import { requireShape } from "../lib/json-text.ts";

const escapedNul = /(^|[^\\])(\\\\)*\\u0000/;
const loneSurrogate = /(^|[^\\])(\\\\)*\\ud[89a-f]/i;

/**
 * Returns the value as JSON text that Postgres' jsonb can store, at most `maxBytes` long and `maxJsonDepth` deep. Throws InvalidInputError at `path`
 * otherwise. NUL and lone surrogates are valid JSON, but Postgres cannot store them.
 */
export function storableJson(value: Json, path: string, maxBytes = 1024 * 1024): string {
  requireShape(value, path);
  const text = JSON.stringify(value);
  const issues: Issue[] = [];
  if (Buffer.byteLength(text) > maxBytes) {
    issues.push({ path, message: `is ${Buffer.byteLength(text)} bytes of JSON; at most ${maxBytes} are allowed` });
  }
  if (escapedNul.test(text)) issues.push({ path, message: "contains the character U+0000, which cannot be stored" });
  if (loneSurrogate.test(text)) issues.push({ path, message: "contains half of a surrogate pair: not valid Unicode" });
  if (issues.length > 0) throw new InvalidInputError(issues);
  return text;
}
