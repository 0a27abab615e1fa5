import { createHash } from "node:crypto";
import { promisify } from "node:util";
import { brotliDecompress, gunzip, inflate, inflateRaw } from "node:zlib";
import { InvalidInputError, invalid } from "../errors.ts";
import type { Json, JsonObject } from "./json.ts";
import { parseJson } from "./json-text.ts";

/** A media type in lower case, and its parameters, such as charset, by their names in lower case. */
interface MediaType {
  type: string;
  parameters: Readonly<Record<string, string>>;
}

/** A file in a body: the object that describes it within the value, its media type if it has one, and its content. */
export interface SentFile {
  shown: JsonObject;
  contentType: string | null;
  content: Uint8Array;
}

/** What a body holds: its value, and the files that this describes. */
export interface Message {
  value: Json;
  files: SentFile[];
}

/** Each file is stored by itself. */
const mostFiles = 20;

/** The body of a message is longer than allowed once it is decompressed. */
export class TooLongError extends Error {}

type Decompress = (body: Uint8Array, options: { maxOutputLength: number }) => Promise<Buffer>;

const decompressors: Readonly<Record<string, Decompress>> = {
  gzip: promisify(gunzip),
  "x-gzip": promisify(gunzip),
  // Some senders leave out the frame that RFC 9110 requires.
  deflate: async (body, options) =>
    await (isZlib(body) ? promisify(inflate)(body, options) : promisify(inflateRaw)(body, options)),
  br: promisify(brotliDecompress),
};

const isZlib = ([first = 0, second = 0]: Uint8Array) => (first & 0x0f) === 8 && (first * 256 + second) % 31 === 0;
/** Each encoding of an encoded body may multiply its size. */
const mostEncodings = 3;

/**
 * Returns the body without the encodings that the header `content-encoding` names. Throws InvalidInputError at `path` for an encoding
 * that is unknown or not what the body has, and TooLongError when more than `limit` bytes result.
 */
export async function decompress(
  body: Uint8Array,
  header: string | undefined,
  { path, limit }: { path: string; limit: number },
): Promise<Uint8Array> {
  const encodings = (header ?? "")
    .toLowerCase()
    .split(",")
    .map((name) => name.trim())
    .filter((name) => name !== "" && name !== "identity");
  if (encodings.length > mostEncodings) throw invalid(path, `has more than ${mostEncodings} encodings`);
  let decoded = body;
  for (const name of encodings.reverse()) {
    const decoder = Object.hasOwn(decompressors, name) ? decompressors[name] : undefined;
    if (!decoder) throw invalid(path, `has the unknown encoding "${name}"; known are gzip, deflate and br`);
    try {
      decoded = await decoder(decoded, { maxOutputLength: limit });
    } catch (error) {
      if (error instanceof RangeError) throw new TooLongError();
      throw invalid(path, `is not encoded as ${name}, as content-encoding says`);
    }
  }
  return decoded;
}

/** Returns the text of a body in its charset (UTF-8 by default, or what its byte order mark says). Throws InvalidInputError at `path`. */
export function readText(body: Uint8Array, contentType: string | undefined, path: string): string {
  const charset = markedCharset(body) ?? mediaType(contentType).parameters["charset"] ?? "utf-8";
  let decoder: TextDecoder;
  try {
    decoder = new TextDecoder(charset, { fatal: true });
  } catch {
    throw invalid(path, `has the unknown charset "${charset}"`);
  }
  try {
    return decoder.decode(body);
  } catch {
    throw invalid(path, `is no text in ${charset}; content-type may name another charset`);
  }
}

function markedCharset([first, second, third]: Uint8Array): string | null {
  if (first === 0xef && second === 0xbb && third === 0xbf) return "utf-8";
  if (first === 0xff && second === 0xfe) return "utf-16le";
  if (first === 0xfe && second === 0xff) return "utf-16be";
  return null;
}

/**
 * Returns what a body holds as its content type says: JSON, the fields of a form, with the files of multipart/form-data, or text; null for an
 * empty body. A body of another or no type is JSON if it can be. Throws InvalidInputError at `path` for what cannot be read.
 */
export async function readMessage(body: Uint8Array, contentType: string | undefined, path: string): Promise<Message> {
  const { type } = mediaType(contentType);
  if (type === "multipart/form-data" && body.length > 0) return await readMultipart(body, contentType ?? "", path);
  return { value: readValue(body, contentType, path), files: [] };
}

function readValue(body: Uint8Array, contentType: string | undefined, path: string): Json {
  if (body.length === 0) return null;
  const { type } = mediaType(contentType);
  const text = readText(body, contentType, path);
  if (type === "application/x-www-form-urlencoded") return readForm(new URLSearchParams(text), path);
  if (text === "") return null;
  if (type.startsWith("text/") && type !== "text/json") return text;
  try {
    return parseJson(text, path);
  } catch (error) {
    if (!(error instanceof InvalidInputError && error.cause instanceof SyntaxError)) throw error;
    if (!isJson(type)) return text;
    throw invalid(path, `is declared as ${type}, but is no JSON: ${error.cause.message}`);
  }
}

const isJson = (type: string) => type === "application/json" || type === "text/json" || type.endsWith("+json");

/** Returns the values of names; of a name that is repeated the list of all its values. */
export function readPairs(pairs: Iterable<[string, Json]>): JsonObject {
  const values = new Map<string, Json>();
  for (const [name, value] of pairs) {
    const before = values.get(name);
    values.set(name, before === undefined ? value : [before, value].flat());
  }
  return Object.fromEntries(values);
}

/** Senders of forms put a whole JSON document into the field `payload`. */
function readForm(pairs: Iterable<[string, Json]>, path: string): JsonObject {
  const fields = readPairs(pairs);
  const document = fields["payload"];
  if (typeof document !== "string" || !/^\s*[[{]/.test(document)) return fields;
  try {
    return { ...fields, payload: parseJson(document, `${path}.payload`) };
  } catch (error) {
    if (error instanceof InvalidInputError && error.cause instanceof SyntaxError) return fields;
    throw error;
  }
}

async function readMultipart(body: Uint8Array, contentType: string, path: string): Promise<Message> {
  let form: FormData;
  try {
    form = await new Response(body.slice(), { headers: { "content-type": contentType } }).formData();
  } catch {
    throw invalid(path, "is no valid multipart/form-data");
  }
  const fields: [string, Json][] = [];
  const files: SentFile[] = [];
  for (const [name, value] of form) {
    const file = typeof value === "string" ? null : await readFile(value);
    if (file) files.push(file);
    fields.push([name, file?.shown ?? String(value)]);
  }
  if (files.length > mostFiles) throw invalid(path, `has ${files.length} files; at most ${mostFiles} are accepted`);
  return { value: readForm(fields, path), files };
}

async function readFile(file: File): Promise<SentFile> {
  const content = new Uint8Array(await file.arrayBuffer());
  const sha256 = createHash("sha256").update(content).digest("hex");
  const contentType = file.type || null;
  return { shown: { file: file.name, contentType, size: content.length, sha256 }, contentType, content };
}

/** Reads the header `content-type`; without one the type is empty. */
function mediaType(header: string | undefined): MediaType {
  const [type = "", ...rest] = (header ?? "").split(";");
  const parameters = rest.flatMap((part): [string, string][] => {
    const at = part.indexOf("=");
    const value = part.slice(at + 1).trim();
    const isQuoted = value.length > 1 && value.startsWith('"') && value.endsWith('"');
    return at < 0 ? [] : [[part.slice(0, at).trim().toLowerCase(), isQuoted ? value.slice(1, -1) : value]];
  });
  return { type: type.trim().toLowerCase(), parameters: Object.fromEntries(parameters) };
}
