import type { Patterns } from "./automaton.ts";

/** A short run of an encoding would be found in ordinary text. */
const minPatternLength = 6;
const lower = (code: number) => (code >= 65 && code <= 90 ? code + 32 : code);
/** The url-safe alphabet of base64 (RFC 4648, section 5) has - and _ where the ordinary one has + and /. */
const standard = (code: number) => (code === 45 ? 43 : code === 95 ? 47 : code);

const [lineFeed, carriageReturn, space, colon] = [10, 13, 32, 58];

/** How secrets may be written in a text: as themselves or escaped, in base64, in hex; each a kind with its own way of comparing. */
export function encodingsOf(secrets: readonly { name: string; text: string }[]): Patterns[] {
  const collect = (encode: (text: string) => string[]): Map<string, string> => {
    const patterns = new Map<string, string>();
    for (const { name, text } of secrets) {
      for (const pattern of encode(text)) {
        if (pattern.length >= minPatternLength && !patterns.has(pattern)) patterns.set(pattern, name);
      }
    }
    return patterns;
  };
  return [
    { patterns: collect(writtenForms), fold: (code) => code, skips: [] },
    { patterns: collect(base64Forms), fold: standard, skips: [lineFeed, carriageReturn] },
    { patterns: collect(hexForms), fold: lower, skips: [lineFeed, carriageReturn, space, colon] },
  ];
}

const unicodeEscape = (code: number) => `\\u${code.toString(16).padStart(4, "0")}`;
const upperEscapes = (text: string) =>
  text.replaceAll(/\\u[0-9a-f]{4}/g, (found) => `\\u${found.slice(2).toUpperCase()}`);
const lowerEscapes = (text: string) => text.replaceAll(/%[0-9A-F]{2}/g, (found) => found.toLowerCase());
const ascii = (json: string) => json.replaceAll(/[\u007f-\uffff]/g, (char) => unicodeEscape(char.charCodeAt(0)));
const html = (json: string) => json.replaceAll(/[<>&\u2028\u2029]/g, (char) => unicodeEscape(char.charCodeAt(0)));
const slashes = (json: string) => json.replaceAll("/", "\\/");
const percent = (char: string) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`;
const jsonEscaped = (text: string) => JSON.stringify(text).slice(1, -1);

/** The text itself, and as the usual writers of JSON, of URLs, and of our own parameter files escape it. */
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
 * The base64 forms of the text, one for each place in a group of three bytes where it can begin: the characters that it alone decides, and those with
 * the last one, which other bits complete, as it is at an end.
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
