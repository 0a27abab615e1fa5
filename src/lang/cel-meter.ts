import type { ASTNode } from "@marcbachmann/cel-js";
import { type Meter, unitsPerStep } from "./meter.ts";

type Evaluate = (evaluator: Evaluator, node: MeteredNode, context: unknown) => unknown;

interface Evaluator {
  run(node: MeteredNode, context: unknown): unknown;
}

/** The parts of the library's nodes that its own evaluation uses (version 8.0.0, which is pinned). */
interface MeteredNode {
  op: string;
  args: unknown;
  left?: MeteredNode;
  right?: MeteredNode;
  receiverWithArgs?: MeteredNode[];
  /** Applies the operator or function to values. */
  handle(...given: unknown[]): unknown;
  evaluate: Evaluate;
  meta: { alternate?: MeteredNode; macro?: { evaluate: Evaluate }; evaluate: Evaluate };
}

/** The meter of the evaluation that runs: evaluation is synchronous, and the library passes nothing through to its nodes. */
let running: Meter | null = null;
const metered = new WeakSet<object>();

/**
 * Runs a program so that each step is charged to the meter before it is done: the nodes of all programs get an evaluation that charges.
 * Throws what the program and the meter throw.
 */
export function runMetered<T>(ast: ASTNode, meter: Meter, run: () => T): T {
  meterNodes(Object.getPrototypeOf(ast));
  const outer = running;
  running = meter;
  try {
    const result = run();
    meter.charge(0); // an operator may have caught the error
    return result;
  } finally {
    running = outer;
  }
}

/** Replaces the method by which a node chooses its evaluation when it is evaluated first. */
function meterNodes(prototype: { evaluate: Evaluate }): void {
  if (metered.has(prototype)) return;
  metered.add(prototype);
  prototype.evaluate = function choose(this: MeteredNode, evaluator: Evaluator, node: MeteredNode, context: unknown) {
    this.evaluate = evaluationOf(this);
    return this.evaluate(evaluator, node, context);
  };
}

/** Charges work to the evaluation that runs. Throws ExhaustedError once its budget is used up. */
export function charge(units: number): void {
  running?.charge(units);
}

function evaluationOf({ op, meta }: MeteredNode): Evaluate {
  const { alternate, macro } = meta;
  if (alternate) return (evaluator, _node, context) => alternate.evaluate(evaluator, alternate, context);
  if (macro) {
    return (evaluator, _node, context) => {
      charge(unitsPerStep);
      return macro.evaluate(evaluator, macro as unknown as MeteredNode, context);
    };
  }
  if (op === "call" || op === "rcall") return evaluateCall;
  if (binary.has(op)) return evaluateBinary;
  if (op === "comprehension") return evaluateComprehension;
  const { evaluate } = meta;
  return (evaluator, node, context) => {
    charge(unitsPerStep);
    return evaluate(evaluator, node, context);
  };
}

const binary = new Set(["!=", "==", "in", "+", "-", "*", "/", "%", "<", "<=", ">", ">="]);

function evaluateBinary(evaluator: Evaluator, node: MeteredNode, context: unknown): unknown {
  charge(unitsPerStep);
  const left = evaluator.run(node.left as MeteredNode, context);
  const right = evaluator.run(node.right as MeteredNode, context);
  if (isLarge(left) || isLarge(right)) charge(costOfOperator(node.op, left, right));
  return node.handle(left, right, node, evaluator);
}

function evaluateCall(evaluator: Evaluator, node: MeteredNode, context: unknown): unknown {
  charge(unitsPerStep);
  const isMethod = node.op === "rcall";
  const parts = node.args as [string, MeteredNode[]];
  const given = node.receiverWithArgs ?? parts[1];
  const values = given.map((each) => evaluator.run(each, context));
  charge(costOfFunction(parts[0], values));
  return isMethod ? node.handle(values, evaluator, node) : node.handle(values, node, evaluator);
}

interface Comprehension {
  iterable: MeteredNode;
  /** Whether it goes on to the next item. */
  condition?: (found: unknown) => boolean;
}

const bounded = new WeakSet<Comprehension>();

/** exists() and all() go on after an error: without a look at the meter before each item they would walk the rest of their list. */
function boundWalk(args: Comprehension): void {
  const { condition } = args;
  if (condition === undefined || bounded.has(args)) return;
  bounded.add(args);
  args.condition = (found) => {
    charge(0);
    return condition(found);
  };
}

function evaluateComprehension(evaluator: Evaluator, node: MeteredNode, context: unknown): unknown {
  charge(unitsPerStep);
  const args = node.args as Comprehension;
  boundWalk(args);
  const items = evaluator.run(args.iterable, context);
  charge(unitsPerStep * (Array.isArray(items) ? items.length : isObject(items) ? Object.keys(items).length : 1));
  return node.handle(items, args, evaluator, context);
}

const isObject = (value: unknown): value is object => typeof value === "object" && value !== null;
const isLarge = (value: unknown) => typeof value === "string" || isObject(value);

/** The numbers of keys of maps: counting them takes as long as the library's look at them, so it is done once. */
const counted = new WeakMap<object, number>();

function keysOf(map: object): number {
  const known = counted.get(map);
  if (known !== undefined) return known;
  const count = Object.keys(map).length;
  charge(unitsPerStep * count);
  counted.set(map, count);
  return count;
}

/** The work of looking at a value once: its text, bytes or items. The library collects a map's keys to find its type. */
function extent(value: unknown): number {
  if (typeof value === "string" || Array.isArray(value) || value instanceof Uint8Array) return value.length;
  return isObject(value) ? unitsPerStep * (1 + keysOf(value)) : 1;
}

function costOfOperator(op: string, left: unknown, right: unknown): number {
  const types = depthOf(left) + depthOf(right);
  switch (op) {
    case "+":
      return 2 * (extent(left) + extent(right)) + types;
    case "in":
      if (!Array.isArray(right)) return types;
      return right.length * unitsPerStep * (typeof left === "string" ? 1 + left.length / 256 : weigh(left)) + types;
    default:
      return (areComparable(left, right) ? weigh(left) : unitsPerStep) + types;
  }
}

/** Values of different sizes are told apart at once. */
function areComparable(left: unknown, right: unknown): boolean {
  if (typeof left === "string" || typeof right === "string") return typeof left === typeof right;
  if (!isObject(left) || !isObject(right)) return false;
  if (Array.isArray(left) || Array.isArray(right)) {
    return Array.isArray(left) && Array.isArray(right) && left.length === right.length;
  }
  return keysOf(left) === keysOf(right);
}

/** The library finds an operator's types by going down the first items. */
function depthOf(value: unknown): number {
  let cost = 0;
  for (let inner = value; isObject(inner); ) {
    if (Array.isArray(inner)) {
      cost += unitsPerStep;
      inner = inner[0];
    } else {
      const keys = keysOf(inner);
      cost += unitsPerStep * (1 + keys);
      inner = keys === 0 ? null : firstValue(inner);
    }
  }
  return cost;
}

function firstValue(map: object): unknown {
  for (const key in map) return (map as Record<string, unknown>)[key];
  return null; // a timestamp or another object without keys
}

/** The work of comparing a whole value, which is charged while it is counted, and again by the caller. */
function weigh(value: unknown): number {
  if (typeof value === "string") return value.length;
  charge(unitsPerStep);
  if (!isObject(value)) return unitsPerStep;
  let weight = unitsPerStep;
  for (const item of Array.isArray(value) ? value : Object.values(value)) weight += weigh(item);
  return weight;
}

/** How much more than reading each character once a function does, per character. */
const factors: Readonly<Record<string, number>> = {
  split: 16, // each part is a value
  json: 16,
  size: 2,
  regex: 2, // charges its search itself
  join: 2,
};

function costOfFunction(name: string, values: readonly unknown[]): number {
  const [first, second] = values;
  const read = values.reduce<number>((sum, value) => sum + extent(value), 0);
  switch (name) {
    case "contains":
    case "indexOf":
    case "lastIndexOf":
      // The search takes text × searched text in the worst case.
      return read + extent(first) * Math.floor(extent(second) / 8);
    case "split":
      return read * 16 + extent(first) * Math.floor(extent(second) / 8);
    case "join":
      return (
        read +
        (Array.isArray(first) ? 2 * first.reduce((sum: number, item) => sum + 8 + extent(item) + extent(second), 0) : 0)
      );
    case "duration":
      // The library's pattern for one backtracks.
      return read + read ** 3 / 8;
    default:
      // The parts of a timestamp in a time zone: JavaScript formats and parses a text.
      if (name.startsWith("get") && typeof second === "string") return 4000 * unitsPerStep;
      return read * (factors[name] ?? 1);
  }
}
