import type { Json } from "../../lib/json.ts";
import { compileRegex } from "../../lib/regex.ts";
import { type Expr, Inexpressible, type Part } from "./jinja.ts";
import { pathOf, quoted } from "./paths.ts";
import { entryOf } from "./source.ts";

/** Returns the CEL of an expression over the event. Throws Inexpressible. */
export function celOf(expr: Expr): string {
  switch (expr.op) {
    case "value":
      return literal(expr.value);
    case "name":
      if (expr.name === "trigger") return "event.payload";
      throw new Inexpressible(unknownName(expr.name));
    case "get":
      return member(expr);
    case "list":
      return `[${expr.items.map(celOf).join(", ")}]`;
    case "map":
      return `{${expr.entries.map(([key, value]) => `${celOf(key)}: ${celOf(value)}`).join(", ")}}`;
    case "if":
      return `(${truthOf(expr.test)} ? dyn(${celOf(expr.yes)}) : dyn(${celOf(expr.no)}))`;
    case "not":
      return `!${truthOf(expr.of)}`;
    case "neg":
      return `-${celOf(expr.of)}`;
    case "filter":
      return entryOf(filters, expr.name)?.(expr) ?? unknown("filter", expr.name);
    case "method":
      return entryOf(methods, expr.name)?.(expr) ?? unknown("method", expr.name);
    case "test":
      return entryOf(tests, expr.name)?.(expr) ?? unknown("test", expr.name);
    default:
      return binaryOf(expr);
  }
}

function unknown(kind: string, name: string): never {
  throw new Inexpressible(`the ${kind} "${name}" has no counterpart in CEL`);
}

function unknownName(name: string): string {
  if (name === "st2kv" || name === "system")
    return "a key can be a whole value or part of a text, but not of an expression";
  return `"${name}" has no counterpart: a rule's parameters may use trigger and st2kv.system`;
}

function literal(value: Json): string {
  if (typeof value === "string") return quoted(value);
  return JSON.stringify(value);
}

function member({ of, key }: Extract<Expr, { op: "get" }>): string {
  const path = pathOf(of);
  const above = celOf(of);
  if (key.op !== "value") return `${above}[${celOf(key)}]`;
  if (typeof key.value === "number")
    return key.value < 0 ? `${above}[size(${above}) - ${-key.value}]` : `${above}[${key.value}]`;
  const isHeader = path?.length === 2 && path[0] === "trigger" && path[1] === "headers";
  const name = isHeader ? String(key.value).toLowerCase() : String(key.value);
  return isIdentifier(name) ? `${above}.${name}` : `${above}[${quoted(name)}]`;
}

/** Words that CEL does not take as the name of a field. */
const reserved = new Set(
  "as break const continue else false for function if import in let loop namespace null package return true var void while __proto__".split(
    " ",
  ),
);
const isIdentifier = (name: string) => /^[A-Za-z_]\w*$/.test(name) && !reserved.has(name);

/** Whether an expression always gives a boolean. */
function isBoolean(expr: Expr): boolean {
  if (expr.op === "value") return typeof expr.value === "boolean";
  if (expr.op === "and" || expr.op === "or") return isBoolean(expr.left) && isBoolean(expr.right);
  if (expr.op === "filter") return expr.name === "regex_match" || expr.name === "regex_search";
  if (expr.op === "method") return expr.name === "startswith" || expr.name === "endswith";
  return ["not", "test", "in", "==", "!=", "<", ">", "<=", ">="].includes(expr.op);
}

/** Returns the CEL of what Python takes for true. */
function truthOf(expr: Expr): string {
  if (expr.op === "and") return `(${truthOf(expr.left)} && ${truthOf(expr.right)})`;
  if (expr.op === "or") return `(${truthOf(expr.left)} || ${truthOf(expr.right)})`;
  if (isBoolean(expr)) return `(${celOf(expr)})`;
  const value = `dyn(${celOf(expr)})`;
  const filled = `!(${value} in [null, false, 0, "", [], {}])`;
  const there = presenceOf(expr);
  return there === null ? `(${filled})` : `(${there} && ${filled})`;
}

/** Returns the CEL that says whether a path of the event is there; null for any other expression. */
function presenceOf(expr: Expr): string | null {
  if (expr.op !== "get" || expr.key.op !== "value" || pathOf(expr)?.[0] !== "trigger") return null;
  const { of, key } = expr;
  const container = celOf(of);
  const text = member(expr);
  let own = `has(${text})`;
  if (typeof key.value === "number") own = `size(${container}) > ${key.value < 0 ? -key.value - 1 : key.value}`;
  else if (text.endsWith("]")) own = `${text.slice(container.length + 1, -1)} in ${container}`;
  const above = presenceOf(of);
  return above === null ? own : `${above} && ${own}`;
}

function binaryOf({ op, left, right }: Extract<Expr, { left: Expr }>): string {
  const [a, b] = [celOf(left), celOf(right)];
  switch (op) {
    case "and":
      return isBoolean(left) && isBoolean(right) ? `(${a} && ${b})` : `(${truthOf(left)} ? dyn(${b}) : dyn(${a}))`;
    case "or":
      return isBoolean(left) && isBoolean(right) ? `(${a} || ${b})` : `(${truthOf(left)} ? dyn(${a}) : dyn(${b}))`;
    case "~":
      return `(${textOf(left)} + ${textOf(right)})`;
    case "/":
      return `(double(${a}) / double(${b}))`;
    case "in":
      return left.op === "value" && typeof left.value === "string"
        ? `(type(${b}) == string ? dyn(${b}).contains(${a}) : ${a} in dyn(${b}))`
        : `(${a} in ${b})`;
    case "==":
    case "!=":
      return `(dyn(${a}) ${op} dyn(${b}))`;
    default:
      return `(${a} ${op} ${b})`;
  }
}

const textOf = (expr: Expr) =>
  expr.op === "value" && typeof expr.value === "string" ? quoted(expr.value) : `string(${celOf(expr)})`;

/** Returns the CEL of the text that parts give. Throws Inexpressible. */
export function celOfParts(parts: readonly Part[]): string {
  if (parts.length === 0) return '""';
  const texts = parts.map((part) => {
    if ("text" in part) return quoted(part.text);
    if ("value" in part) return textOf(part.value);
    return `(${truthOf(part.test)} ? ${celOfParts(part.yes)} : ${celOfParts(part.no)})`;
  });
  return texts.join(" + ");
}

type Call = Extract<Expr, { args: Expr[] }>;
type Convert = (call: Call) => string;

/** Returns the argument at a position, or with a name. */
const argument = ({ args, named }: Call, index: number, name: string): Expr | undefined => args[index] ?? named[name];

function required(call: Call, index: number, name: string): Expr {
  const found = argument(call, index, name);
  if (found) return found;
  throw new Inexpressible(`${call.name} needs the argument "${name}"`);
}

function defaulted(call: Call): string {
  const other = argument(call, 0, "default_value") ?? { op: "value", value: "" };
  const flag = argument(call, 1, "boolean");
  const value = celOf(call.of);
  if (flag && (flag.op !== "value" || typeof flag.value !== "boolean"))
    throw new Inexpressible("the second argument of default must be true or false");
  if (flag?.op === "value" && flag.value === true)
    return `(${truthOf(call.of)} ? dyn(${value}) : dyn(${celOf(other)}))`;
  const there = presenceOf(call.of);
  if (there === null) throw new Inexpressible("default applies to a path of the trigger only");
  return `(${there} ? dyn(${value}) : dyn(${celOf(other)}))`;
}

function pattern(call: Call, anchored: boolean): string {
  const given = required(call, 0, "pattern");
  const flag = argument(call, 1, "ignorecase");
  if (given.op !== "value" || typeof given.value !== "string")
    throw new Inexpressible(`the pattern of ${call.name} must be a text`);
  if (flag && flag.op !== "value")
    throw new Inexpressible(`the argument ignorecase of ${call.name} must be true or false`);
  const text = `${flag?.op === "value" && flag.value ? "(?i)" : ""}${anchored ? `^(?:${given.value})` : given.value}`;
  try {
    compileRegex(text);
  } catch (error) {
    throw new Inexpressible(
      `the pattern ${JSON.stringify(given.value)}: ${error instanceof Error ? error.message : error}`,
    );
  }
  return `${textOf(call.of)}.regex(${quoted(text)})`;
}

const replaced: Convert = (call) => {
  if (call.args.length > 2) throw new Inexpressible("the third argument of replace has no counterpart");
  return `${celOf(call.of)}.split(${celOf(required(call, 0, "old"))}).join(${celOf(required(call, 1, "new"))})`;
};

const withoutArguments = (call: Call, cel: string) => {
  if (call.args.length > 0) throw new Inexpressible(`the arguments of ${call.name} have no counterpart`);
  return cel;
};

const filters: Readonly<Record<string, Convert>> = {
  default: defaulted,
  d: defaulted,
  upper: ({ of }) => `${celOf(of)}.upperAscii()`,
  lower: ({ of }) => `${celOf(of)}.lowerAscii()`,
  trim: (call) => withoutArguments(call, `${celOf(call.of)}.trim()`),
  length: ({ of }) => `size(${celOf(of)})`,
  count: ({ of }) => `size(${celOf(of)})`,
  string: ({ of }) => textOf(of),
  int: (call) => withoutArguments(call, `int(${celOf(call.of)})`),
  float: (call) => withoutArguments(call, `double(${celOf(call.of)})`),
  first: ({ of }) => `${celOf(of)}[0]`,
  last: ({ of }) => `${celOf(of)}[size(${celOf(of)}) - 1]`,
  join: (call) => {
    if (call.args.length > 1) throw new Inexpressible("the attribute of join has no counterpart");
    return `${celOf(call.of)}.map(item, string(item)).join(${celOf(argument(call, 0, "d") ?? { op: "value", value: "" })})`;
  },
  replace: replaced,
  regex_match: (call) => pattern(call, true),
  regex_search: (call) => pattern(call, false),
  basename: ({ of }) => `${celOf(of)}.substring(${celOf(of)}.lastIndexOf("/") + 1)`,
  safe: ({ of }) => celOf(of),
  use_none: ({ of }) => celOf(of),
};

const methods: Readonly<Record<string, Convert>> = {
  upper: ({ of }) => `${celOf(of)}.upperAscii()`,
  lower: ({ of }) => `${celOf(of)}.lowerAscii()`,
  strip: (call) => withoutArguments(call, `${celOf(call.of)}.trim()`),
  startswith: (call) => `${celOf(call.of)}.startsWith(${celOf(required(call, 0, "prefix"))})`,
  endswith: (call) => `${celOf(call.of)}.endsWith(${celOf(required(call, 0, "suffix"))})`,
  replace: replaced,
  split: (call) => {
    if (call.args.length !== 1) throw new Inexpressible("split needs one argument: the separator");
    return `${celOf(call.of)}.split(${celOf(required(call, 0, "sep"))})`;
  },
  get: (call) => {
    const key = required(call, 0, "key");
    const of: Expr = { op: "get", of: call.of, key };
    return defaulted({ ...call, of, args: [call.args[1] ?? { op: "value", value: null }] });
  },
};

const typed =
  (type: string): Convert =>
  (call) =>
    `(type(${celOf(call.of)}) == ${type})`;
const equal: Convert = (call) => `(dyn(${celOf(call.of)}) == dyn(${celOf(required(call, 0, "other"))}))`;

function defined({ of }: Call): string {
  const there = presenceOf(of);
  if (there === null) throw new Inexpressible("the test defined applies to a path of the trigger only");
  return `(${there})`;
}

const tests: Readonly<Record<string, Convert>> = {
  defined,
  undefined: (call) => `!${defined(call)}`,
  none: ({ of }) => `(dyn(${celOf(of)}) == null)`,
  string: typed("string"),
  mapping: typed("map"),
  boolean: typed("bool"),
  number: ({ of }) => `(type(${celOf(of)}) in [int, double])`,
  equalto: equal,
  eq: equal,
};
