import { RE2JS } from "re2js";
import { type InvalidInputError, invalid } from "../errors.ts";
import { createCache } from "./cache.ts";

/** A user's pattern, compiled to search a text in time linear in its length. */
interface Pattern {
  /** Returns how many steps a search of the text takes at most: its characters times the length of the program; none if it is too long. */
  steps(text: string): number;
  /** Returns whether the text contains a match, or a message if the text is too long. */
  find(text: string): boolean | string;
  /** Returns whether the text contains a match. Throws InvalidInputError if the text is too long. */
  test(text: string): boolean;
}

// The time is proportional to text × program; counted repetitions make a short pattern a long program. This takes 0.1 s.
const maxWork = 4_000_000;
const maxProgramSize = 2000;
const maxLength = 2000;
/** A pattern whose counted repetitions, written out, have more parts is refused before it takes time and memory to compile it. */
const maxParts = 20_000;
const compiled = createCache<Pattern>(500);

/**
 * Compiles a user's regular expression (unanchored), ECMAScript syntax without look-around and back-references. At most 500 compiled
 * patterns are cached; `beforeCompiling` is called with the number of parts of one that is not. Throws InvalidInputError at `path` for
 * an invalid or too large pattern, and what `beforeCompiling` throws.
 */
export function compileRegex(
  pattern: string,
  path = "",
  { ignoreCase = false, beforeCompiling }: { ignoreCase?: boolean; beforeCompiling?: (parts: number) => void } = {},
): Pattern {
  const flags = ignoreCase ? RE2JS.CASE_INSENSITIVE : 0;
  return compiled(`${flags}/${pattern}`, () => {
    if (pattern.length > maxLength) throw invalid(path, `a pattern may have at most ${maxLength} characters`);
    const parts = countParts(pattern);
    if (parts > maxParts) throw tooLarge(path);
    beforeCompiling?.(parts);
    return compile(pattern, flags, path);
  });
}

/** An escape, a set, the beginning or end of a group, a counted repetition, or one character. */
const token =
  /\\(?:[pPx]\{[^}]*\}|.)|\[\^?\]?(?:\\.|[^\]\\])*\]|(?<open>\()|(?<close>\))|\{(?<low>\d+)(?:,(?<high>\d*))?\}|./gs;

/** Returns about how many characters, sets and signs a pattern has once its counted repetitions are written out. */
function countParts(pattern: string): number {
  const outer: number[] = [];
  let sum = 0;
  let last = 0;
  for (const { groups } of pattern.matchAll(token)) {
    if (groups?.["open"]) {
      outer.push(sum);
      sum = 0;
      last = 1;
    } else if (groups?.["close"]) {
      last = sum + 1;
      sum = (outer.pop() ?? 0) + last;
    } else if (groups?.["low"] !== undefined) {
      const times = Number(groups["high"] || groups["low"]);
      sum += last * Math.max(times - 1, 0);
      last *= Math.max(times, 1);
    } else {
      last = 1;
      sum += 1;
    }
  }
  return outer.reduce((total, each) => total + each, sum);
}

function tooLarge(path: string): InvalidInputError {
  return invalid(path, "the pattern is too large; use fewer or smaller counted repetitions");
}

function compile(pattern: string, flags: number, path: string): Pattern {
  const program = translate(pattern, flags, path);
  const size = program.programSize();
  if (size > maxProgramSize) throw tooLarge(path);
  const longest = Math.floor(maxWork / Math.max(size, 1));
  const find = (text: string) =>
    text.length <= longest
      ? program.test(text)
      : `this pattern can search at most ${longest} characters, but the text has ${text.length}`;
  const test = (text: string) => {
    const found = find(text);
    if (typeof found === "string") throw invalid("", found);
    return found;
  };
  return { find, test, steps: (text) => (text.length <= longest ? text.length * size : 0) };
}

function translate(pattern: string, flags: number, path: string): RE2JS {
  try {
    return RE2JS.compile(RE2JS.translateRegExp(pattern), flags);
  } catch (error) {
    const reason = error instanceof Error ? error.message.replace("error parsing regexp: ", "") : String(error);
    throw invalid(path, `the pattern cannot be compiled: ${reason}`);
  }
}
