import { type Expr, Inexpressible } from "./jinja.ts";

const set = (names: string) => new Set(names.split(" "));

/** What the Python shim knows (`shim/attune_st2/template.py`). */
export const evaluated = {
  filter: set(
    "default d upper lower trim length count string int float join replace first last safe use_none to_complex decrypt_kv to_json_string from_json_string regex_match regex_search regex_replace basename dirname",
  ),
  method: set("upper lower strip split replace startswith endswith get"),
  test: set("defined undefined none string number boolean mapping equalto eq"),
};

/** Returns the names that the expressions in a value use. */
export function namesIn(value: object): Set<string> {
  const names = new Set<string>();
  visit(value, (node) => {
    if (node.op === "name") names.add(node.name);
  });
  return names;
}

/** Requires that the shim can evaluate templates, which may use these names only. Throws Inexpressible. */
export function requireEvaluated(value: object, isKnown: (name: string) => boolean): void {
  visit(value, (node) => {
    if (node.op === "name" && !isKnown(node.name)) throw new Inexpressible(`"${node.name}" has no counterpart here`);
    if ((node.op === "filter" || node.op === "method" || node.op === "test") && !evaluated[node.op].has(node.name))
      throw new Inexpressible(`the ${node.op} "${node.name}" has no counterpart here`);
  });
}

function visit(value: unknown, see: (node: Expr) => void): void {
  if (typeof value !== "object" || value === null) return;
  if ("op" in value) see(value as Expr);
  for (const item of Object.values(value)) visit(item, see);
}
