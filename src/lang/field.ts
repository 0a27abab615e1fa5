import { invalid } from "../errors.ts";
import { ABSENT, type Json, lookup } from "../lib/json.ts";

const payloadPrefix = "event.payload.";

/**
 * Returns the value at a field's keys, or ABSENT. A webhook's headers have names in lower case, as HTTP compares them, so that
 * `headers.X-GitHub-Event` finds its value too.
 */
export function findField(payload: Json, keys: readonly string[]): ReturnType<typeof lookup> {
  const found = lookup(payload, keys);
  const [first = "", second = ""] = keys;
  if (found !== ABSENT || keys.length !== 2 || first !== "headers") return found;
  return lookup(payload, [first, second.toLowerCase()]);
}

/**
 * Returns the canonical form of a criterion's field: names and positions between dots, below the payload, or a JSON pointer. Throws
 * InvalidInputError at `path` for what can never match.
 */
export function readField(field: unknown, path: string): string {
  if (typeof field !== "string" || field === "") {
    throw invalid(path, 'must be a path below event.payload, like "body.action" or "/headers/x-name"');
  }
  const below = field.startsWith(payloadPrefix) ? field.slice(payloadPrefix.length) : field;
  if (below.startsWith("/")) return below;
  if (strange.test(below)) {
    throw invalid(path, 'must be a path in the payload, without "$" and braces: like "body.action"');
  }
  const keys = withoutBrackets(below);
  if (keys === null || keys.includes("")) {
    const awkward = 'write awkward names as a JSON pointer, like "/headers/x.y"';
    throw invalid(path, `must be names and positions between dots, like "body.alerts.0.name"; ${awkward}`);
  }
  if (keys.includes("*")) {
    const [list, member] = below.split(/\.\*\.?|\[\*\]\.?/);
    const one = member ? `x.${member}` : "x";
    throw invalid(
      path,
      `names one value; for any of a list use {expression: "event.payload.${list}.exists(x, ${one} == …)"}`,
    );
  }
  return keys.some((key) => /[.~/]/.test(key)) ? toPointer(keys) : keys.join(".");
}

/** JSONPath, or a template. */
const strange = /^(?:\$(?:[.[]|$)|\{\{)/;

/** Returns the keys of a dotted path in which positions and names may also be written in brackets; null if it is none. */
function withoutBrackets(path: string): string[] | null {
  const part = /\[(?:(\d+|\*)|"([^"\]]*)"|'([^'\]]*)')\]|(?:^|\.)([^.[\]]*)/gy;
  const keys: string[] = [];
  let end = 0;
  for (const [text, position, double, single, name] of path.matchAll(part)) {
    keys.push(position ?? double ?? single ?? name ?? "");
    end += text.length;
  }
  return end === path.length ? keys : null;
}

function toPointer(keys: readonly string[]): string {
  return keys.map((key) => `/${key.replaceAll("~", "~0").replaceAll("/", "~1")}`).join("");
}
