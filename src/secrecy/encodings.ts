import type { Patterns } from "./automaton.ts";

/** Shorter patterns would match ordinary text. */
const minPatternLength = 6;
const lower = (code: number) => (code >= 65 && code <= 90 ? code + 32 : code);
/** Maps - and _ of url-safe base64 (RFC 4648, section 5) to + and / of the standard alphabet. */
const standard = (code: number) => (code === 45 ? 43 : code === 95 ? 47 : code);

const [lineFeed, carriageReturn, space, colon] = [10, 13, 32, 58];

/** Returns the patterns of the secrets by encoding: plain or escaped, base64, and hex. */
export function encodingsOf(secrets: readonly { name: string; text: string }[]): Patterns[] {
  const collect = (encode: (text: string) => string[], vary = variantsOf): Map<string, string> => {
    const patterns = new Map<string, string>();
    for (const { name, text } of secrets) {
      for (const variant of vary(text)) {
        if (variant.length < minPatternLength) continue;
        for (const pattern of encode(variant)) {
          if (pattern.length >= minPatternLength && !patterns.has(pattern)) patterns.set(pattern, name);
        }
      }
    }
    return patterns;
  };
  return [
    {
      patterns: collect(writtenForms, (text) => [...variantsOf(text), ...linesOf(text)]),
      fold: (code) => code,
      skips: [],
    },
    { patterns: collect(base64Forms), fold: standard, skips: [lineFeed, carriageReturn] },
    { patterns: collect(hexForms), fold: lower, skips: [lineFeed, carriageReturn, space, colon] },
  ];
}

/** Returns the text as programs pass it on: unchanged, without space around it, and with each kind of line end. */
function variantsOf(text: string): string[] {
  const unix = text.replaceAll(/\r\n?/g, "\n");
  const ends = [unix, unix.replaceAll("\n", "\r\n"), unix.replaceAll("\n", "\r")];
  return [...new Set([text, ...ends].flatMap((each) => [each, each.trim()]))];
}

/** Returns the lines of the text, which may be printed one by one, without the space around them. */
const linesOf = (text: string) => text.split(/[\r\n]+/).map((line) => line.trim());

const unicodeEscape = (code: number) => `\\u${code.toString(16).padStart(4, "0")}`;
const upperEscapes = (text: string) =>
  text.replaceAll(/\\u[0-9a-f]{4}/g, (found) => `\\u${found.slice(2).toUpperCase()}`);
const lowerEscapes = (text: string) => text.replaceAll(/%[0-9A-F]{2}/g, (found) => found.toLowerCase());
const ascii = (json: string) => json.replaceAll(/[\u007f-\uffff]/g, (char) => unicodeEscape(char.charCodeAt(0)));
const html = (json: string) => json.replaceAll(/[<>&\u2028\u2029]/g, (char) => unicodeEscape(char.charCodeAt(0)));
const slashes = (json: string) => json.replaceAll("/", "\\/");
const percent = (char: string) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`;
const jsonEscaped = (text: string) => JSON.stringify(text).slice(1, -1);

/** Returns the text itself and its escaped forms in JSON, URLs and our own parameter files. */
function writtenForms(text: string): string[] {
  const json = jsonEscaped(text);
  const jsons = [json, ascii(json), slashes(json), slashes(ascii(json)), html(json), html(ascii(json))];
  const component = encodeURIComponent(text.toWellFormed());
  const strict = component.replaceAll(/[!'()*]/g, percent);
  const urls = [
    component,
    strict,
    strict.replaceAll("%20", "+"),
    strict.replaceAll("%2F", "/"),
    encodeURI(text.toWellFormed()),
  ];
  const form = strict.replaceAll("%20", "+").replaceAll("~", "%7E").replaceAll("%2A", "*");
  return [
    text,
    ...jsons,
    ...jsons.map(upperEscapes),
    jsonEscaped(json), // JSON in JSON
    ...[...urls, form].flatMap((url) => [url, lowerEscapes(url)]),
    text.replaceAll("'", "'\\''"),
  ];
}

/**
 * Returns the base64 forms of the text for each of the three alignments: the characters that it fully determines, and the same with the
 * last, partly determined one as it is at the end of the encoded data.
 */
function base64Forms(text: string): string[] {
  const bytes = Buffer.from(text.toWellFormed());
  return [0, 1, 2].flatMap((shift) => {
    const encoded = Buffer.concat([Buffer.alloc(shift), bytes]).toString("base64");
    const from = Math.ceil((shift * 8) / 6);
    const decided = encoded.slice(from, Math.floor(((shift + bytes.length) * 8) / 6));
    const atEnd = encoded.slice(from);
    return [decided, atEnd, atEnd.replaceAll("=", "")];
  });
}

function hexForms(text: string): string[] {
  return [Buffer.from(text.toWellFormed()).toString("hex")];
}
