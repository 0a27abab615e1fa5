import type { Json, JsonObject } from "../lib/json.ts";
import { type Automaton, compileAutomaton } from "./automaton.ts";
import { encodingsOf } from "./encodings.ts";

/** A secret text, and the name that is shown instead. */
export interface Secret {
  name: string;
  text: string;
}

/** Replaces secrets in whole values. */
export interface Mask {
  /** Returns the text with `[secret:<name>]` instead of every secret in any of its encodings. */
  text(text: string): string;
  /** Returns the value with all texts, object keys and numbers masked; a value without secrets is returned as the same object. */
  json(value: Json): Json;
  /** Returns a mask for a text that arrives in pieces, wherever it is split. */
  stream(): MaskStream;
}

/** Replaces secrets in a text that arrives in pieces. */
export interface MaskStream {
  /** Takes a piece and returns the masked text up to a suffix that may begin a secret, which is held back. */
  write(piece: string): string;
  /** Returns the masked text that was held back. The stream can then be used again. */
  end(): string;
}

/** Masking cannot distinguish a shorter value from ordinary text. */
export const minSecretLength = 6;

/** Returns the text that is shown instead of a secret. */
export const marker = (name: string): string => `[secret:${name}]`;

/**
 * Returns a mask for these secrets; null when none has at least six characters. It finds each secret, also trimmed or with other line ends,
 * and each of its lines of at least six characters, plain, JSON-escaped, URL-encoded,
 * and all but single lines in base64 (at each alignment, with or without padding, also url-safe, and with line breaks) and in hex (both cases, also with spaces):
 * see `encodingsOf`.
 */
export function createMask(secrets: readonly Secret[]): Mask | null {
  const sought = secrets.filter(({ text }) => text.length >= minSecretLength);
  if (sought.length === 0) return null;
  const automata = encodingsOf(sought).map(compileAutomaton);
  const stream = () => createStream(automata);
  const whole = stream();
  const text = (value: string) => {
    if (value.length < minSecretLength) return value;
    const shown = whole.write(value);
    return `${shown}${whole.end()}`;
  };
  return { text, json: (value) => maskJson(value, text), stream };
}

/** The region of a secret or of several overlapping ones. Positions count from the beginning of the stream. */
interface Region {
  from: number;
  to: number;
  name: string;
}

function createStream(automata: readonly Automaton[]): MaskStream {
  /** The text that is held back, and its position. */
  let held = "";
  let start = 0;
  let regions: Region[] = [];
  const searches = automata.map((automaton) => automaton.search((from, to, name) => regions.push({ from, to, name })));

  /** Returns the masked text before `until`; a region that ends after it is held back completely. */
  function show(until: number): string {
    let shown = "";
    let at = start;
    while (regions[0] && regions[0].from < until) {
      const region = regions[0];
      if (region.to > until) {
        until = region.from;
        break;
      }
      regions.shift();
      shown += held.slice(at - start, region.from - start) + marker(region.name);
      at = region.to;
    }
    if (at < until) {
      shown += held.slice(at - start, until - start);
      at = until;
    }
    held = held.slice(at - start);
    start = at;
    return shown;
  }

  return {
    write: (piece) => {
      const end = start + held.length;
      held += piece;
      for (const search of searches) search.read(piece, end);
      regions = inOrder(regions);
      return show(Math.min(...searches.map((search) => search.undecided())));
    },
    end: () => {
      const shown = show(start + held.length);
      for (const search of searches) search.reset();
      start = 0;
      regions = [];
      return shown;
    },
  };
}

/** Returns the regions by their beginnings, with overlapping ones merged, so that no part of a secret remains visible. */
function inOrder(regions: readonly Region[]): Region[] {
  const joined: Region[] = [];
  for (const region of regions.toSorted((a, b) => a.from - b.from || b.to - a.to)) {
    const last = joined.at(-1);
    if (last && region.from < last.to) last.to = Math.max(last.to, region.to);
    else joined.push({ ...region });
  }
  return joined;
}

function maskJson(value: Json, text: (value: string) => string): Json {
  if (typeof value === "string") return text(value);
  if (typeof value === "number") {
    const shown = text(String(value));
    return shown === String(value) ? value : shown;
  }
  if (typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) {
    const items = value.map((item) => maskJson(item, text));
    return items.every((item, index) => item === value[index]) ? value : items;
  }
  return maskObject(value, text);
}

function maskObject(value: JsonObject, text: (value: string) => string): JsonObject {
  let same = true;
  const entries = Object.entries(value).map(([key, item]): [string, Json] => {
    const shown: [string, Json] = [text(key), maskJson(item, text)];
    same &&= shown[0] === key && shown[1] === item;
    return shown;
  });
  return same ? value : Object.fromEntries(entries);
}
