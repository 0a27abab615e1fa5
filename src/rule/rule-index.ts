import { findField } from "../lang/field.ts";
import { ABSENT, type Json, type JsonObject, parsePath } from "../lib/json.ts";

/** What the index reads of a rule. */
export interface IndexedRule {
  id: string;
  condition: "any" | "all";
  /** Its conditions in canonical form; null: they do not compile. */
  criteria: readonly JsonObject[] | null;
  recordEvaluations: "none" | "near" | "all";
}

/** The rules of a trigger, found by what an event contains. */
export interface RuleIndex<Rule extends IndexedRule> {
  readonly size: number;
  get(id: string): Rule | undefined;
  ids(): Iterable<string>;
  /** Adds the rule, in place of the one with its id. */
  set(rule: Rule): void;
  delete(id: string): void;
  /** Returns all rules that may match the payload, those that record every evaluation, and others. */
  find(payload: Json): Rule[];
}

/** With so few rules all are evaluated: finding some would save nothing, and near misses are recorded of each. */
export const evaluatedAnyway = 100;
/** A rule with more places is compared with each event: this bounds the memory. */
const maxPlaces = 100;
/** Of a prefix, so many characters are looked up. */
const maxPrefix = 64;

/** How a value is looked up: as it is, in lower case, or its beginning. */
type Kind = "exact" | "folded" | "prefix" | "foldedPrefix";

/** Where a rule is kept: it is found by events whose value at the path is, or begins with, this one. */
interface Place {
  path: string;
  kind: Kind;
  value: string | number | boolean | null;
}

/** What must be so for a rule to match: the event hits one of the places, or one need of `any`, or every need of `all`. */
type Need = { places: Place[] } | { any: Need[] } | { all: Need[] };

/** Creates an empty index. A rule is kept at the places of its most selective criterion, or else among those that every event is compared with. */
export function createRuleIndex<Rule extends IndexedRule>(): RuleIndex<Rule> {
  const rules = new Map<string, Rule>();
  const places = new Map<string, Place[]>();
  const others = new Map<string, Rule>();
  const fields = new Map<string, Field<Rule>>();
  const remove = (id: string) => {
    const rule = rules.get(id);
    if (rule === undefined) return;
    rules.delete(id);
    others.delete(id);
    for (const place of places.get(id) ?? []) {
      const field = fields.get(place.path);
      field?.remove(place, rule);
      if (field?.isEmpty()) fields.delete(place.path);
    }
    places.delete(id);
  };
  return {
    get size() {
      return rules.size;
    },
    get: (id) => rules.get(id),
    ids: () => rules.keys(),
    delete: remove,
    set: (rule) => {
      remove(rule.id);
      rules.set(rule.id, rule);
      const need = rule.recordEvaluations === "all" ? null : needOf(rule.condition, rule.criteria ?? []);
      const best = need && cheapest(need, (place) => fields.get(place.path)?.at(place)?.size ?? 0);
      if (best === null || best.places.length > maxPlaces) {
        others.set(rule.id, rule);
        return;
      }
      places.set(rule.id, best.places);
      for (const place of best.places) {
        const field = fields.get(place.path) ?? createField<Rule>(place.path);
        fields.set(place.path, field);
        field.add(place, rule);
      }
    },
    find: (payload) => {
      if (rules.size <= evaluatedAnyway) return [...rules.values()];
      const found = new Set<Rule>();
      for (const field of fields.values()) field.find(payload ?? {}, found);
      return [...others.values(), ...found];
    },
  };
}

/** Returns what must be so for the criteria, so joined, to hold; null: nothing that an index can tell. */
function needOf(condition: "any" | "all", criteria: readonly Json[]): Need | null {
  const needs = criteria.map((item) => needOfOne(item as JsonObject)); // canonical criteria are objects
  const known = needs.filter((need) => need !== null);
  if (known.length === 0) return null;
  if (condition === "all") return { all: known };
  return known.length === needs.length ? { any: known } : null;
}

function needOfOne(item: JsonObject): Need | null {
  const { any, all, field, operator, value = null } = item;
  if (Array.isArray(any)) return needOf("any", any);
  if (Array.isArray(all)) return needOf("all", all);
  if (typeof field !== "string" || typeof operator !== "string") return null;
  const place = (kind: Kind, of: Place["value"]): Need => ({ places: [{ path: field, kind, value: of }] });
  if (operator === "equals") return isScalar(value) ? place("exact", value) : null;
  if (operator === "in") {
    if (!Array.isArray(value) || value.length > maxPlaces) return null;
    const values = [...new Set(value)].filter(isScalar);
    if (values.length !== new Set(value).size) return null;
    return { places: values.map((of) => ({ path: field, kind: "exact", value: of })) };
  }
  if (typeof value !== "string") return null;
  if (operator === "iequals") return place("folded", value.toLowerCase());
  if (operator === "startswith") return place("prefix", value.slice(0, maxPrefix));
  if (operator === "istartswith") return place("foldedPrefix", value.toLowerCase().slice(0, maxPrefix));
  return null;
}

const isScalar = (value: Json): value is Place["value"] => typeof value !== "object" || value === null;

interface Choice {
  places: Place[];
  /** How many rules are at these places already. */
  cost: number;
}

/** Returns the places at which a rule shares an event with the fewest other rules; of equal ones the first. */
function cheapest(need: Need, sizeOf: (place: Place) => number): Choice {
  if ("places" in need) {
    return { places: need.places, cost: need.places.reduce((sum, place) => sum + sizeOf(place), 0) };
  }
  if ("all" in need) {
    const choices = need.all.map((one) => cheapest(one, sizeOf));
    return choices.reduce((best, choice) => (compare(choice, best) < 0 ? choice : best));
  }
  const choices = need.any.map((one) => cheapest(one, sizeOf));
  return {
    places: choices.flatMap((choice) => choice.places),
    cost: choices.reduce((sum, choice) => sum + choice.cost, 0),
  };
}

/** What has too many places is the last choice. */
function compare(a: Choice, b: Choice): number {
  const [isWideA, isWideB] = [a.places.length > maxPlaces, b.places.length > maxPlaces];
  return isWideA === isWideB ? a.cost - b.cost : Number(isWideA) - Number(isWideB);
}

type Bucket<Rule> = Set<Rule>;

/** The rules that are kept by the value of one field. */
interface Field<Rule> {
  at(place: Place): Bucket<Rule> | undefined;
  add(place: Place, rule: Rule): void;
  remove(place: Place, rule: Rule): void;
  isEmpty(): boolean;
  find(payload: Json, found: Set<Rule>): void;
}

function createField<Rule>(path: string): Field<Rule> {
  const keys = parsePath(path);
  // Of whole values by the value, as `===` compares them; of prefixes by the prefix, and how many there are of each length.
  const buckets: Record<Kind, Map<Place["value"], Bucket<Rule>>> = {
    exact: new Map(),
    folded: new Map(),
    prefix: new Map(),
    foldedPrefix: new Map(),
  };
  const lengths: Record<"prefix" | "foldedPrefix", Map<number, number>> = {
    prefix: new Map(),
    foldedPrefix: new Map(),
  };
  const count = ({ kind, value }: Place, by: number) => {
    if (kind !== "prefix" && kind !== "foldedPrefix") return;
    const length = String(value).length;
    const left = (lengths[kind].get(length) ?? 0) + by;
    if (left > 0) lengths[kind].set(length, left);
    else lengths[kind].delete(length);
  };
  const collect = (kind: Kind, value: Place["value"], found: Set<Rule>) => {
    for (const rule of buckets[kind].get(value) ?? []) found.add(rule);
  };
  const collectPrefixes = (kind: "prefix" | "foldedPrefix", text: string, found: Set<Rule>) => {
    for (const length of lengths[kind].keys()) if (length <= text.length) collect(kind, text.slice(0, length), found);
  };
  return {
    at: ({ kind, value }) => buckets[kind].get(value),
    add: (place, rule) => {
      const bucket = buckets[place.kind].get(place.value);
      if (bucket) bucket.add(rule);
      else {
        buckets[place.kind].set(place.value, new Set([rule]));
        count(place, 1);
      }
    },
    remove: (place, rule) => {
      const bucket = buckets[place.kind].get(place.value);
      if (bucket === undefined) return; // an `any` may name a place twice
      bucket.delete(rule);
      if (bucket.size > 0) return;
      buckets[place.kind].delete(place.value);
      count(place, -1);
    },
    isEmpty: () => Object.values(buckets).every(({ size }) => size === 0),
    find: (payload, found) => {
      const value = findField(payload, keys);
      if (value === ABSENT || !isScalar(value)) return;
      collect("exact", value, found);
      if (typeof value !== "string") return;
      collectPrefixes("prefix", value, found);
      if (buckets.folded.size + buckets.foldedPrefix.size === 0) return;
      const folded = value.toLowerCase();
      collect("folded", folded, found);
      collectPrefixes("foldedPrefix", folded, found);
    },
  };
}
