import { type Expr, Inexpressible } from "./jinja.ts";

/** Returns a text as a literal of CEL. */
export const quoted = (text: string): string => JSON.stringify(text);

/** Returns the ref of the key that an expression reads; null for any other. */
export function keyOf(expr: Expr): string | null {
  if (expr.op === "filter" && expr.name === "decrypt_kv") return keyOf(expr.of);
  const path = pathOf(expr);
  if (!path) return null;
  const [root, scope, ...names] = path[0] === "system" ? ["st2kv", ...path] : path;
  if (root !== "st2kv" || scope === undefined) return null;
  if (scope !== "system")
    throw new Inexpressible(`st2kv.${scope} belongs to a user: Attune's rules use keys of the system and of packs`);
  if (names.length === 0) throw new Inexpressible("st2kv.system needs the name of a key");
  const name = names.join(".").toLowerCase();
  if (/^[a-z0-9][a-z0-9_-]{0,62}$/.test(name)) return `system.${name}`;
  throw new Inexpressible(`the key "${names.join(".")}" needs another name: 1 to 63 of a-z, 0-9, _ and -`);
}

/** Returns the names of a path such as `trigger.body.name`, with positions as texts; null for any other expression. */
export function pathOf(expr: Expr): string[] | null {
  if (expr.op === "name") return [expr.name];
  if (expr.op !== "get" || expr.key.op !== "value") return null;
  const above = pathOf(expr.of);
  return above && [...above, String(expr.key.value)];
}
