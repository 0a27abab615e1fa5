import type { Json, JsonObject } from "../lib/json.ts";
import { isJsonType } from "./cloud-event.ts";

/** The modes in which CloudEvents are sent over HTTP. */
export const cloudEventModes = ["structured", "binary", "batch"] as const;
export type CloudEventMode = (typeof cloudEventModes)[number];

/** The body and the headers of a request; names are in lower case. */
export interface Message {
  headers: Record<string, string>;
  body: string | Uint8Array | null;
}

/** Returns the message of CloudEvents in their JSON format, one of them except in a batch, as the HTTP protocol binding 1.0 describes. */
export function writeCloudEvents(mode: CloudEventMode, events: readonly JsonObject[]): Message {
  switch (mode) {
    case "structured":
      return inJson("application/cloudevents+json", events[0] ?? {});
    case "batch":
      return inJson("application/cloudevents-batch+json", [...events]);
    case "binary":
      return inHeaders(events[0] ?? {});
    default:
      throw new Error(mode satisfies never);
  }
}

const inJson = (type: string, value: Json): Message => ({
  headers: { "content-type": `${type}; charset=utf-8` },
  body: JSON.stringify(value),
});

function inHeaders({ data, data_base64: encoded, datacontenttype, ...attributes }: JsonObject): Message {
  const type = typeof datacontenttype === "string" ? datacontenttype : null;
  const named = Object.entries(attributes).map(([name, value]) => [`ce-${name}`, escaped(String(value))]);
  const headers = Object.fromEntries(named) as Record<string, string>; // of pairs of texts
  if (data === undefined && encoded === undefined) return { headers: withType(headers, type), body: null };
  if (typeof encoded === "string") return { headers: withType(headers, type), body: Buffer.from(encoded, "base64") };
  const isText = typeof data === "string" && type !== null && !isJsonType(type);
  return {
    headers: withType(headers, type ?? "application/json"),
    body: isText ? data : JSON.stringify(data),
  };
}

const withType = (headers: Record<string, string>, type: string | null) =>
  type === null ? headers : { ...headers, "content-type": type };

/** A header holds printable ASCII only; spaces, quotes and percent signs are escaped too. */
const escaped = (text: string) =>
  text
    .toWellFormed()
    .replace(/[^\x21\x23\x24\x26-\x7e]+/g, (found) =>
      Array.from(Buffer.from(found), (byte) => `%${byte.toString(16).toUpperCase().padStart(2, "0")}`).join(""),
    );
