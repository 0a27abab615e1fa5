import type { ASTNode } from "@marcbachmann/cel-js";
import { inexactness } from "../lib/json-text.ts";

const comprehensions = new Set(["all", "exists", "exists_one", "map", "filter"]);

/** Why a valid expression is refused, and the index in its text where the refused part begins. */
interface Refused {
  message: string;
  at: number;
}

/** Finds the first part that could use time or memory superlinear in the data, or reach a prototype or a secret; null if there is none. */
export function findRefused(node: ASTNode, inside = 0): Refused | null {
  const refused = reasonToRefuse(node, inside);
  if (refused) return { message: refused, at: node.range.start };
  if (node.op === "rcall" && comprehensions.has(node.args[0])) {
    // A chain (`list.filter(…).map(…)`) is linear; only the arguments run once per item.
    const [, receiver, args] = node.args;
    return findRefused(receiver, inside) ?? first(args, inside + 1);
  }
  return first(operands(node), inside);
}

/** Finds the first number in what the expression results in that JSON does not hold as it is written; null if there is none. */
export function findInexact(node: ASTNode): Refused | null {
  switch (node.op) {
    case "value": {
      const value: unknown = node.args?.valueOf(); // unsigned ones are objects
      const fault = typeof value === "bigint" || typeof value === "number" ? inexactness(String(value)) : null;
      return fault === null ? null : { message: fault, at: node.range.start };
    }
    case "-_":
      return findInexact(node.args);
    case "list":
      return firstInexact(node.args);
    case "map":
      return firstInexact(node.args.flat());
    case "?:":
      return firstInexact(node.args.slice(1));
    default:
      return null;
  }
}

function firstInexact(nodes: readonly ASTNode[]): Refused | null {
  for (const node of nodes) {
    const inexact = findInexact(node);
    if (inexact) return inexact;
  }
  return null;
}

/** Adds the name of every variable that the expression mentions. */
export function collectVariables(node: ASTNode, names: Set<string>): void {
  if (node.op === "id") names.add(node.args);
  for (const operand of operands(node)) collectVariables(operand, names);
}

/** Adds the names of each chain of members, such as `["pack", "config", "region"]`, as far as they are written as names or literals. */
export function collectMembers(node: ASTNode, chains: string[][]): void {
  const chain = memberChain(node);
  if (chain) chains.push(chain);
  for (const operand of operands(node)) collectMembers(operand, chains);
}

function memberChain(node: ASTNode): string[] | null {
  if (node.op === "id") return [node.args];
  if (node.op !== "." && node.op !== ".?" && node.op !== "[]" && node.op !== "[?]") return null;
  const [object, member] = node.args;
  const name = typeof member === "string" ? member : member.op === "value" ? String(member.args) : null;
  const chain = memberChain(object);
  return chain && name !== null ? [...chain, name] : null;
}

function first(nodes: readonly ASTNode[], inside: number): Refused | null {
  for (const node of nodes) {
    const refused = findRefused(node, inside);
    if (refused) return refused;
  }
  return null;
}

function reasonToRefuse(node: ASTNode, inside: number): string | null {
  if (namesPrototype(node)) return 'there is no field "__proto__"';
  // What an expression computes from a secret could be shown where the secret is not: a number, a condition, an error.
  if (node.op === "call" && node.args[0] === "key") {
    return 'key() cannot be part of an expression: it is a template of its own, as in "Bearer {{ key("system.token") }}"';
  }
  if (node.op !== "rcall") return null;
  const [method, receiver] = node.args;
  // It runs JavaScript's backtracking RegExp.
  if (method === "matches") return 'matches() is not available; use regex(), as in text.regex("^a+$")';
  // Thirty of them, each doubling a list, would fill the memory.
  if (method === "bind" && receiver.op === "id" && receiver.args === "cel") return "cel.bind() is not available";
  if (comprehensions.has(method) && inside > 0)
    return `${method}() must not be inside another all, exists, map or filter`;
  return null;
}

// For a timestamp or duration, the library would return it: an empty map without readable functions, but internal.
function namesPrototype(node: ASTNode): boolean {
  if (node.op === ".") return node.args[1] === "__proto__";
  return node.op === "[]" && node.args[1].op === "value" && node.args[1].args === "__proto__";
}

function operands(node: ASTNode): readonly ASTNode[] {
  switch (node.op) {
    case "value":
    case "id":
      return [];
    case ".":
    case ".?":
      return [node.args[0]];
    case "call":
      return node.args[1];
    case "rcall":
      return [node.args[1], ...node.args[2]];
    case "map":
      return node.args.flat();
    case "!_":
    case "-_":
      return [node.args];
    default:
      return node.args;
  }
}
