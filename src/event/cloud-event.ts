import { z } from "zod";
import { InvalidInputError, invalid } from "../errors.ts";
import { readText } from "../lib/body.ts";
import type { Json, JsonObject } from "../lib/json.ts";
import { parseJson } from "../lib/json-text.ts";
import { explain, faultsOf } from "../lib/wording.ts";

/** A CloudEvent as it is stored, and the id by which a repetition of it is known: its source and its id. */
export interface ReceivedEvent {
  body: JsonObject;
  id: string;
}

const path = "payload.body";
/** The most CloudEvents of one request. */
export const mostInBatch = 1000;

const text = z
  .string({ error: ({ input }) => (input === undefined ? "is missing" : "must be a text") })
  .min(1, "must not be empty");
const mediaType = /^[\w!#$&^.+-]+\/[\w!#$&^.+-]+\s*(;.*)?$/;
const attribute = z.union([z.string(), z.boolean(), z.int32()], "must be a text, a boolean or a whole number");

/** The envelope of CloudEvents 1.0 in JSON. Whatever else it has are extensions. */
const envelope = z
  .object({
    specversion: z.literal("1.0", 'must be "1.0"'),
    id: text,
    source: text.regex(/^\S+$/, "must be a URI reference such as /sensors/7 or https://example.org/shop"),
    type: text,
    subject: text.optional(),
    time: z.iso.datetime({ offset: true, error: "must be a time such as 2026-01-31T12:00:00Z" }).optional(),
    datacontenttype: text.regex(mediaType, "must be a media type such as application/json").optional(),
    dataschema: text.regex(/^[a-z][a-z\d+.-]*:\S+$/i, "must be an absolute URI").optional(),
    data: z.json().optional(),
    data_base64: z.base64("must be base64 with its padding").optional(),
  })
  .catchall(attribute)
  .refine(({ data, data_base64: encoded }) => data === undefined || encoded === undefined, {
    message: "must not be there beside data_base64",
    path: ["data"],
  })
  .refine((event) => Object.keys(event).every((name) => /^[a-z0-9]+$/.test(name) || name === "data_base64"), {
    message: "has an attribute whose name is not lower-case letters and digits",
  });

/**
 * Returns the CloudEvents of a request in the structured, the binary or the batch mode, each in the JSON format. Text and JSON in base64
 * become `data`. Throws InvalidInputError for anything else.
 */
export function readCloudEvents(
  headers: Readonly<Record<string, string>>,
  body: Uint8Array,
): { mode: "structured" | "binary" | "batch"; events: ReceivedEvent[] } {
  const type = headers["content-type"];
  const [media = ""] = (type ?? "").toLowerCase().split(";", 1);
  switch (media.trim()) {
    case "application/cloudevents+json":
      return { mode: "structured", events: [checked(parsed(body, type), path)] };
    case "application/cloudevents-batch+json": {
      const list = parsed(body, type);
      if (!Array.isArray(list)) throw invalid(path, "must be a list of CloudEvents");
      if (list.length > mostInBatch) throw invalid(path, `has more than ${mostInBatch} CloudEvents`);
      const events = list.map((each, index) => checked(each, `${path}.${index}`));
      return { mode: "batch", events };
    }
    default:
      if (headers["ce-specversion"] !== undefined && !media.startsWith("application/cloudevents")) {
        return { mode: "binary", events: [readBinary(headers, body)] };
      }
  }
  throw invalid(
    path,
    "is no CloudEvent: send application/cloudevents+json or application/cloudevents-batch+json, or its attributes in headers such as ce-specversion",
  );
}

const parsed = (body: Uint8Array, type: string | undefined): Json => {
  try {
    return parseJson(readText(body, type, path), path);
  } catch (error) {
    if (!(error instanceof InvalidInputError && error.cause instanceof SyntaxError)) throw error;
    throw invalid(path, `is declared as a CloudEvent, but is no JSON: ${error.cause.message}`);
  }
};

/** Returns the CloudEvent in its JSON format without the attributes that are null, which are unset. Throws InvalidInputError for what is none. */
export function checkCloudEvent(event: JsonObject, at: string): JsonObject {
  const present = Object.fromEntries(Object.entries(event).filter(([name, each]) => each !== null || name === "data"));
  const result = envelope.safeParse(present, { error: explain });
  if (result.success) return present;
  throw new InvalidInputError(
    faultsOf(result.error).map(({ path: inside, message }) => ({
      path: [at, ...inside.map(String)].filter(Boolean).join("."),
      message,
    })),
  );
}

function checked(value: Json, at: string): ReceivedEvent {
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw invalid(at, "must be a CloudEvent");
  const present = checkCloudEvent(value, at);
  const { data_base64: encoded, datacontenttype, id, source } = present;
  if (typeof encoded !== "string" || typeof datacontenttype !== "string")
    return { body: present, id: `${source} ${id}` };
  const { data_base64: _, ...attributes } = present;
  return {
    body: { ...attributes, ...dataOf(Buffer.from(encoded, "base64"), datacontenttype, at) },
    id: `${source} ${id}`,
  };
}

function readBinary(headers: Readonly<Record<string, string>>, body: Uint8Array): ReceivedEvent {
  const attributes = Object.entries(headers).flatMap(([name, value]): [string, string][] =>
    name.startsWith("ce-") ? [[name.slice(3), decoded(name, value)]] : [],
  );
  const wrong = attributes.find(([name]) => ["data", "data_base64", "datacontenttype"].includes(name));
  if (wrong) throw invalid(path, `has the header ce-${wrong[0]}: the data is the body, and its type content-type`);
  const type = headers["content-type"];
  const given = { ...Object.fromEntries(attributes), ...(type === undefined ? {} : { datacontenttype: type }) };
  const event = checked(given, path);
  return { ...event, body: { ...event.body, ...(body.length === 0 ? {} : dataOf(body, type ?? "", path)) } };
}

/** Returns the value of an attribute's header, which may be quoted, and percent-encodes what a header cannot hold. */
function decoded(name: string, value: string): string {
  const plain = /^".*"$/.test(value) ? value.slice(1, -1).replace(/\\(.)/g, "$1") : value;
  try {
    if (/^[\x20-\x7e]*$/.test(plain)) return decodeURIComponent(plain);
  } catch {
    // refused below
  }
  throw invalid(path, `has the header ${name}, which is not percent-encoded UTF-8`);
}

const mediaOf = (type: string) => type.toLowerCase().split(";", 1)[0]?.trim() ?? "";

/** Whether data of the media type is JSON. */
export const isJsonType = (type: string): boolean => /[/+]json$/.test(mediaOf(type));

function dataOf(bytes: Uint8Array, type: string, at: string): { data: Json } | { data_base64: string } {
  const media = mediaOf(type);
  const isJson = isJsonType(type);
  if (!isJson && !media.startsWith("text/")) return { data_base64: Buffer.from(bytes).toString("base64") };
  const read = readText(bytes, type, `${at}.data`);
  if (!isJson) return { data: read };
  try {
    return { data: parseJson(read, `${at}.data`) };
  } catch (error) {
    if (!(error instanceof InvalidInputError && error.cause instanceof SyntaxError)) throw error;
    throw invalid(`${at}.data`, `is declared as ${media}, but is no JSON: ${error.cause.message}`);
  }
}
