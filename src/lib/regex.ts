import { RE2JS } from "re2js";
import { invalid } from "../errors.ts";
import { createCache } from "./cache.ts";

/** A user's pattern, compiled to search a text in time linear in its length. */
interface Pattern {
  /** Returns whether the text contains a match, or a message if the text is too long. */
  find(text: string): boolean | string;
  /** Returns whether the text contains a match. Throws InvalidInputError if the text is too long. */
  test(text: string): boolean;
}

// The time is proportional to text × program; counted repetitions make a short pattern a long program. This takes 0.1 s.
const maxWork = 4_000_000;
const maxProgramSize = 2000;
const maxLength = 2000;
const compiled = createCache<Pattern>(500);

/**
 * Compiles a user's regular expression (unanchored), ECMAScript syntax without look-around and back-references. At most 500 compiled
 * patterns are cached. Throws InvalidInputError at `path` for an invalid or too large pattern.
 */
export function compileRegex(pattern: string, path = "", options: { ignoreCase?: boolean } = {}): Pattern {
  const flags = options.ignoreCase ? RE2JS.CASE_INSENSITIVE : 0;
  return compiled(`${flags}/${pattern}`, () => compile(pattern, flags, path));
}

function compile(pattern: string, flags: number, path: string): Pattern {
  if (pattern.length > maxLength) throw invalid(path, `a pattern may have at most ${maxLength} characters`);
  const program = translate(pattern, flags, path);
  const size = program.programSize();
  if (size > maxProgramSize) {
    throw invalid(path, "the pattern is too large; use fewer or smaller counted repetitions");
  }
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
  return { find, test };
}

function translate(pattern: string, flags: number, path: string): RE2JS {
  try {
    return RE2JS.compile(RE2JS.translateRegExp(pattern), flags);
  } catch (error) {
    const reason = error instanceof Error ? error.message.replace("error parsing regexp: ", "") : String(error);
    throw invalid(path, `the pattern cannot be compiled: ${reason}`);
  }
}
