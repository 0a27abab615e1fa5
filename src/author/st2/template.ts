import type { Json } from "../../lib/json.ts";
import { celOf, celOfParts } from "./cel.ts";
import type { Expr, Part } from "./jinja.ts";
import { keyOf, quoted } from "./paths.ts";

/** Returns the value of a rule's parameter as Attune writes it. Throws Inexpressible. */
export function templateOf(parts: readonly Part[]): Json {
  const [only] = parts;
  if (parts.length === 1 && only && "value" in only) return wholeTemplate(only.value);
  return joined(parts).map(written).join("");
}

/** A text of Attune: text, an expression, or a key, which is a template of its own. */
type Piece = { text: string } | { cel: string } | { key: string };

function joined(parts: readonly Part[]): Piece[] {
  return parts.map((part): Piece => {
    if ("text" in part) return part;
    if ("value" in part) {
      const key = keyOf(part.value);
      return key === null ? { cel: celOf(asText(part.value)) } : { key };
    }
    return { cel: celOfParts([part]) };
  });
}

function written(piece: Piece): string {
  if ("key" in piece) return `{{ key(${quoted(piece.key)}) }}`;
  if ("cel" in piece) return `{{ ${piece.cel} }}`;
  // Braces that are text in Jinja would open a template, also together with those of the next one.
  return piece.text.replaceAll(/\{\{+|\{$/g, (braces) => `{{ ${quoted(braces)} }}`);
}

function wholeTemplate(expr: Expr): Json {
  const key = keyOf(expr);
  if (key !== null) return `{{ key(${quoted(key)}) }}`;
  if (expr.op === "value" && !String(expr.value).includes("{{")) return expr.value;
  return `{{ ${celOf(asValue(expr))} }}`;
}

/** Filters that only say how StackStorm passes a value on. */
const transparent = new Set(["to_complex", "use_none", "safe"]);

function asValue(expr: Expr): Expr {
  return expr.op === "filter" && transparent.has(expr.name) ? asValue(expr.of) : expr;
}

/** In text a value becomes text by itself; of these filters that is the result. */
function asText(expr: Expr): Expr {
  return expr.op === "filter" && (expr.name === "string" || expr.name === "safe") ? asText(expr.of) : expr;
}
