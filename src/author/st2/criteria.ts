import type { Json, JsonObject } from "../../lib/json.ts";
import { Inexpressible, isTemplate } from "./jinja.ts";
import { entryOf, listOf, objectOf, textOf } from "./source.ts";

/** Operators whose criterion has the same meaning here; ours know StackStorm's other names. */
const same = new Set(
  "equals eq nequals neq iequals ieq contains icontains startswith istartswith endswith iendswith lessthan lt greaterthan gt matchwildcard matchregex regex iregex".split(
    " ",
  ),
);
/** Of an absent field these do not hold in StackStorm. */
const needsField = new Set(["ncontains", "incontains"]);
const needsTime = new Set(["timediff_lt", "td_lt", "timediff_gt", "td_gt"]);

/** Returns the conditions of a rule's criteria, which all must hold. Throws Inexpressible. */
export function conditionsOf(criteria: JsonObject): JsonObject[] {
  return Object.entries(criteria).map(([key, value]) => {
    try {
      return conditionOf(key, objectOf(value));
    } catch (error) {
      if (error instanceof Inexpressible) throw new Inexpressible(`criterion ${key}: ${error.message}`);
      throw error;
    }
  });
}

function conditionOf(key: string, criterion: JsonObject): JsonObject {
  const operator = (textOf(criterion["type"]) ?? "").toLowerCase();
  const pattern = criterion["pattern"] ?? null;
  const field = fieldOf(key, "trigger");
  if (operator === "search") return { expression: searchOf(field, criterion) };
  return comparison(field, operator, pattern);
}

function comparison(field: string, operator: string, pattern: Json): JsonObject {
  if (operator === "exists")
    return {
      all: [
        { field, operator: "exists" },
        { field, operator: "nequals", value: null },
      ],
    };
  if (operator === "nexists")
    return {
      any: [
        { field, operator: "nexists" },
        { field, operator: "equals", value: null },
      ],
    };
  if (needsTime.has(operator))
    throw new Inexpressible(`${operator} compares with the present time, which conditions do not know`);
  if (typeof pattern === "string" && isTemplate(pattern))
    throw new Inexpressible("its pattern is a template, and the value of a condition is a constant");
  if (pattern === null && operator !== "nequals" && operator !== "neq")
    throw new Inexpressible("it has no pattern and never holds");
  if (same.has(operator)) return { field, operator, value: pattern };
  if (needsField.has(operator))
    return {
      all: [
        { field, operator: "exists" },
        { field, operator, value: pattern },
      ],
    };
  if (["in", "inside", "nin", "ninside"].includes(operator)) return within(field, operator, pattern);
  throw new Inexpressible(`there is no operator "${operator}"`);
}

/** A text as the pattern is searched for the field's value. */
function within(field: string, operator: string, pattern: Json): JsonObject {
  const negated = operator.startsWith("n");
  if (Array.isArray(pattern)) return { field, operator: negated ? "nin" : "in", value: pattern };
  if (typeof pattern !== "string") throw new Inexpressible(`${operator} needs a list or a text`);
  const test = `${JSON.stringify(pattern)}.contains(${celPath("event.payload", field)})`;
  return { expression: negated ? `!${test}` : test };
}

/** Returns a field of our conditions for the key of a criterion. */
function fieldOf(key: string, root: string): string {
  const [path = ""] = key.split("#");
  const keys = keysOf(path.trim());
  if (keys[0] !== root) throw new Inexpressible(`its field must begin with "${root}."`);
  const below = keys.slice(1);
  if (below.length === 0) throw new Inexpressible("it compares the whole payload");
  return below
    .map((each) => `/${each.replaceAll("~", "~0").replaceAll("/", "~1")}`)
    .join("")
    .replaceAll(/^\/([\w-]+(?:\/[\w-]+)*)$/g, dotted);
}

/** Plain names are written between dots. */
const dotted = (_: string, path: string) => path.replaceAll("/", ".");

function keysOf(path: string): string[] {
  const part = /\[(?:(\d+)|"([^"\]]*)"|'([^'\]]*)')\]|(?:^|\.)(?:"([^"]+)"|'([^']+)'|([^.[\]*'"]+))/gy;
  const keys: string[] = [];
  let end = 0;
  for (const [text, ...groups] of path.matchAll(part)) {
    keys.push(groups.find((group) => group !== undefined) ?? "");
    end += text.length;
  }
  if (end === path.length && keys.length > 0) return keys;
  throw new Inexpressible(
    "its field is a JSONPath that names no single value: write it as an expression, such as event.payload.list.exists(x, x == 1)",
  );
}

function celPath(root: string, field: string): string {
  const keys = field.startsWith("/")
    ? field
        .slice(1)
        .split("/")
        .map((each) => each.replaceAll("~1", "/").replaceAll("~0", "~"))
    : field.split(".");
  return keys.reduce((path, key, index) => {
    const name = index === 1 && keys[0] === "headers" ? key.toLowerCase() : key;
    return /^\d+$/.test(name) ? `${path}[${name}]` : `${path}[${JSON.stringify(name)}]`;
  }, root);
}

/** Returns the CEL of a search in a list. */
function searchOf(field: string, criterion: JsonObject): string {
  const condition = textOf(criterion["condition"]) ?? "";
  const kinds: Readonly<Record<string, [string, string]>> = {
    ...{ any: ["exists", " && "], all: ["all", " && "], any2any: ["exists", " || "], all2any: ["all", " || "] },
  };
  const [macro, joint] = entryOf(kinds, condition) ?? [];
  if (macro === undefined || joint === undefined)
    throw new Inexpressible(`the condition of search must be any, all, any2any or all2any`);
  const tests = Object.entries(objectOf(criterion["pattern"])).map(([key, value]) => itemTest(key, objectOf(value)));
  if (tests.length === 0) throw new Inexpressible("search has no pattern");
  const list = celPath("event.payload", field);
  // One object is searched like a list of it.
  return `(type(${list}) == map ? [dyn(${list})] : dyn(${list})).${macro}(item, ${tests.join(joint)})`;
}

function itemTest(key: string, criterion: JsonObject): string {
  const [path = ""] = key.split("#");
  const keys = keysOf(path.trim());
  if (keys[0] !== "item") throw new Inexpressible('a field in the pattern of search must begin with "item"');
  const value = keys
    .slice(1)
    .reduce((above, each) => (/^\d+$/.test(each) ? `${above}[${each}]` : `${above}[${JSON.stringify(each)}]`), "item");
  const there = keys
    .slice(1)
    .map(
      (each, index) =>
        `${JSON.stringify(each)} in ${keys.slice(1, index + 1).reduce((above, one) => `${above}[${JSON.stringify(one)}]`, "item")}`,
    )
    .join(" && ");
  const operator = (textOf(criterion["type"]) ?? "").toLowerCase();
  const pattern = criterion["pattern"] ?? null;
  if (typeof pattern === "string" && isTemplate(pattern)) throw new Inexpressible("a pattern of search is a template");
  const test = entryOf(itemOperators, operator);
  if (!test) throw new Inexpressible(`"${operator}" in search has no counterpart`);
  const cel = test(`dyn(${value})`, pattern);
  if (there === "") return `(${cel})`;
  if (operator === "exists") return `(${there} && ${cel})`;
  return ["nexists", "nequals", "neq", "nin", "ninside"].includes(operator)
    ? `(!(${there}) || ${cel})`
    : `(${there} && ${cel})`;
}

type ItemTest = (value: string, pattern: Json) => string;
const constant = (pattern: Json) => JSON.stringify(pattern);
const lower = (pattern: Json) => constant(String(pattern).toLowerCase());
const equal: ItemTest = (value, pattern) => `${value} == dyn(${constant(pattern)})`;
const differs: ItemTest = (value, pattern) => `${value} != dyn(${constant(pattern)})`;
const inList: ItemTest = (value, pattern) => `${value} in ${constant(listOf(pattern))}`;
const less: ItemTest = (value, pattern) => `${value} < ${constant(pattern)}`;
const greater: ItemTest = (value, pattern) => `${value} > ${constant(pattern)}`;
const holds: ItemTest = (value, pattern) =>
  `(type(${value}) == list ? dyn(${constant(pattern)}) in ${value} : ${value}.contains(${constant(pattern)}))`;
const matches =
  (flags: string, anchor: string): ItemTest =>
  (value, pattern) =>
    `${value}.regex(${constant(`${flags}${anchor}(?:${String(pattern)})`)})`;

const itemOperators: Readonly<Record<string, ItemTest>> = {
  ...{ equals: equal, eq: equal, nequals: differs, neq: differs, in: inList, inside: inList },
  ...{ lessthan: less, lt: less, greaterthan: greater, gt: greater, contains: holds },
  nin: (value, pattern) => `!(${inList(value, pattern)})`,
  ninside: (value, pattern) => `!(${inList(value, pattern)})`,
  ncontains: (value, pattern) => `!${holds(value, pattern)}`,
  iequals: (value, pattern) => `${value}.lowerAscii() == ${lower(pattern)}`,
  ieq: (value, pattern) => `${value}.lowerAscii() == ${lower(pattern)}`,
  icontains: (value, pattern) => `${value}.lowerAscii().contains(${lower(pattern)})`,
  incontains: (value, pattern) => `!${value}.lowerAscii().contains(${lower(pattern)})`,
  startswith: (value, pattern) => `${value}.startsWith(${constant(pattern)})`,
  istartswith: (value, pattern) => `${value}.lowerAscii().startsWith(${lower(pattern)})`,
  endswith: (value, pattern) => `${value}.endsWith(${constant(pattern)})`,
  iendswith: (value, pattern) => `${value}.lowerAscii().endsWith(${lower(pattern)})`,
  regex: matches("", ""),
  iregex: matches("(?i)", ""),
  matchregex: matches("(?s)", "^"),
  exists: (value) => `${value} != null`,
  nexists: (value) => `${value} == null`,
};
