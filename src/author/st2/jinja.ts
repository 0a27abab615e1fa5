import type { Json } from "../../lib/json.ts";

/** An expression of a Jinja template. It is plain JSON, so that the Python shim can evaluate it too. */
export type Expr =
  | { op: "value"; value: Json }
  | { op: "name"; name: string }
  | { op: "get"; of: Expr; key: Expr }
  | { op: "list"; items: Expr[] }
  | { op: "map"; entries: [Expr, Expr][] }
  | { op: "if"; test: Expr; yes: Expr; no: Expr }
  | { op: "not" | "neg"; of: Expr }
  | { op: Binary; left: Expr; right: Expr }
  | { op: "filter" | "method" | "test"; name: string; of: Expr; args: Expr[]; named: Record<string, Expr> };

const binary = { And: "and", Or: "or", Add: "+", Sub: "-", Mul: "*", Div: "/", Concat: "~", In: "in" } as const;
const comparisons = { "==": "==", "!=": "!=", "<": "<", ">": ">", "<=": "<=", ">=": ">=" } as const;
type Binary = (typeof binary)[keyof typeof binary] | keyof typeof comparisons;

/** A part of a template: text, a value that is inserted, or parts that depend on a condition. */
export type Part = { text: string } | { value: Expr } | { test: Expr; yes: Part[]; no: Part[] };

/** Why a template, or a part of it, has no counterpart. */
export class Inexpressible extends Error {
  override readonly name = "Inexpressible";
}

const longest = 10_000;
const deepest = 50;
/** What ends the name of a value in Jinja but is spelled otherwise by the parser. */
const constants = new Map<string, Json>([
  ["True", true],
  ["False", false],
  ["None", null],
]);

/** A node of the parser's tree; which fields it has depends on `typename`. */
interface Node {
  typename: string;
  lineno: number;
  colno: number;
  [field: string]: unknown;
}

/** Returns whether StackStorm would take a text for a template. */
export const isTemplate = (text: string): boolean => text.includes("{{") || text.includes("{%");

/** Returns a function that parses Jinja templates. It throws Inexpressible, with line and column, for what has no counterpart. */
export async function loadParser(): Promise<(source: string) => Part[]> {
  const { parse } = await import("nunjucks/src/parser.js");
  return (source) => {
    if (source.length > longest) throw new Inexpressible(`the template is longer than ${longest} characters`);
    let root: Node;
    try {
      // Jinja drops one line break at the end, and StackStorm trims blocks.
      root = parse(source.replace(/\n$/, ""), [], { trimBlocks: true, lstripBlocks: true }) as Node;
    } catch (error) {
      if (error instanceof RangeError) throw new Inexpressible("the template is nested too deeply");
      throw new Inexpressible(`the template is not valid: ${reasonOf(error)}`);
    }
    return partsOf(childrenOf(root));
  };
}

function reasonOf(error: unknown): string {
  const { message, lineno, colno } = error as { message: string; lineno?: number; colno?: number };
  const [last = message] = message.split("\n").slice(-1);
  const place =
    /\[Line/.test(message) || lineno === undefined ? "" : ` (line ${lineno + 1}, column ${(colno ?? 0) + 1})`;
  return `${last.trim().replace(/^Error: /, "")}${place}`;
}

const childrenOf = (node: unknown) => ((node as Node)["children"] as Node[] | undefined) ?? [];

function refuse(node: Node, message: string): never {
  throw new Inexpressible(`${message} (line ${node.lineno + 1}, column ${node.colno + 1} of the template)`);
}

function partsOf(nodes: readonly Node[], depth = 0): Part[] {
  return nodes.flatMap((node): Part[] => {
    if (depth > deepest) refuse(node, "the template is nested too deeply");
    if (node.typename === "TemplateData") return [{ text: String(node["value"]) }];
    if (node.typename === "Output" || node.typename === "NodeList" || node.typename === "Root")
      return partsOf(childrenOf(node), depth);
    if (node.typename === "If") {
      const [body, other] = [node["body"] as Node, node["else_"] as Node | null];
      return [
        {
          test: exprOf(node["cond"] as Node, depth + 1),
          yes: partsOf([body], depth + 1),
          no: other ? partsOf([other], depth + 1) : [],
        },
      ];
    }
    if (statements.has(node.typename)) refuse(node, `{% ${statements.get(node.typename)} %} has no counterpart`);
    return [{ value: exprOf(node, depth + 1) }];
  });
}

const statements = new Map(
  Object.entries({
    ...{ For: "for", Set: "set", Macro: "macro", Caller: "call", Import: "import", FromImport: "from" },
    ...{ Block: "block", Extends: "extends", Include: "include", Switch: "switch", AsyncEach: "asyncEach" },
    ...{ AsyncAll: "asyncAll", IfAsync: "ifAsync", CallExtension: "extension", Capture: "set" },
  }),
);

function exprOf(node: Node, depth: number): Expr {
  if (depth > deepest) refuse(node, "the expression is nested too deeply");
  const sub = (field: string) => exprOf(node[field] as Node, depth + 1);
  const { typename } = node;
  if (Object.hasOwn(binary, typename)) {
    return { op: binary[typename as keyof typeof binary], left: sub("left"), right: sub("right") };
  }
  switch (typename) {
    case "Literal":
      return literalOf(node);
    case "Symbol":
      return symbolOf(String(node["value"]));
    case "Group": {
      const [only, ...more] = childrenOf(node);
      if (!only || more.length > 0) return refuse(node, "a tuple has no counterpart");
      return exprOf(only, depth + 1);
    }
    case "Array":
      return { op: "list", items: childrenOf(node).map((item) => exprOf(item, depth + 1)) };
    case "Dict":
      return {
        op: "map",
        entries: pairsOf(node).map(([key, value]) => [exprOf(key, depth + 1), exprOf(value, depth + 1)]),
      };
    case "LookupVal":
      return { op: "get", of: sub("target"), key: sub("val") };
    case "InlineIf":
      return {
        op: "if",
        test: sub("cond"),
        yes: sub("body"),
        no: node["else_"] ? sub("else_") : { op: "value", value: "" },
      };
    case "Not":
      return { op: "not", of: sub("target") };
    case "Neg": {
      const of = sub("target");
      return of.op === "value" && typeof of.value === "number" ? { op: "value", value: -of.value } : { op: "neg", of };
    }
    case "Pos":
      return sub("target");
    case "Compare":
      return compareOf(node, depth);
    case "Is":
      return testOf(node, depth);
    case "Filter":
    case "FunCall":
      return callOf(node, depth);
    default:
      return refuse(node, `${typename} has no counterpart`);
  }
}

function literalOf(node: Node): Expr {
  const value = node["value"];
  const isJson = value === null || ["string", "boolean", "number"].includes(typeof value);
  return isJson ? { op: "value", value: value as Json } : refuse(node, "a regular expression is no value in Jinja");
}

function symbolOf(name: string): Expr {
  const constant = constants.get(name);
  return constant === undefined ? { op: "name", name } : { op: "value", value: constant };
}

const pairsOf = (node: Node) => childrenOf(node).map((pair) => [pair["key"] as Node, pair["value"] as Node] as const);

function compareOf(node: Node, depth: number): Expr {
  let left = exprOf(node["expr"] as Node, depth + 1);
  let all: Expr | null = null;
  for (const operand of node["ops"] as Node[]) {
    const type = String(operand["type"]);
    if (!Object.hasOwn(comparisons, type)) refuse(operand, `the operator ${type} is none of Jinja`);
    const right = exprOf(operand["expr"] as Node, depth + 1);
    const one: Expr = { op: type as keyof typeof comparisons, left, right };
    all = all ? { op: "and", left: all, right: one } : one;
    left = right;
  }
  return all ?? left;
}

function testOf(node: Node, depth: number): Expr {
  const right = node["right"] as Node;
  const of = exprOf(node["left"] as Node, depth + 1);
  if (right.typename === "Literal")
    return { op: "test", name: String(right["value"] ?? "none"), of, args: [], named: {} };
  const call = right.typename === "FunCall" || right.typename === "Filter";
  const name = call ? (right["name"] as Node)["value"] : right["value"];
  const { args, named } = call ? argumentsOf(right, childrenOf(right["args"]), depth) : { args: [], named: {} };
  return { op: "test", name: String(name), of, args, named };
}

function callOf(node: Node, depth: number): Expr {
  const target = node["name"] as Node;
  const given = childrenOf(node["args"]);
  if (node.typename === "Filter") {
    const [of, ...rest] = given;
    if (!of) return refuse(node, "the filter has no value");
    return {
      op: "filter",
      name: String(target["value"]),
      of: exprOf(of, depth + 1),
      ...argumentsOf(node, rest, depth),
    };
  }
  if (target.typename !== "LookupVal")
    return refuse(node, `the function ${String(target["value"])}() has no counterpart`);
  const method = (target["val"] as Node)["value"];
  const of = exprOf(target["target"] as Node, depth + 1);
  return { op: "method", name: String(method), of, ...argumentsOf(node, given, depth) };
}

function argumentsOf(node: Node, given: readonly Node[], depth: number): { args: Expr[]; named: Record<string, Expr> } {
  const positional = given.filter(({ typename }) => typename !== "KeywordArgs");
  const named = given.filter(({ typename }) => typename === "KeywordArgs").flatMap(pairsOf);
  if (positional.length + named.length > 10) refuse(node, "there are too many arguments");
  return {
    args: positional.map((each) => exprOf(each, depth + 1)),
    named: Object.fromEntries(named.map(([key, value]) => [String(key["value"]), exprOf(value, depth + 1)])),
  };
}
