import type { Json, JsonObject } from "../lib/json.ts";

/** The result of a built-in action. */
export type BuiltinResult = { data: Json } | { error: { code: string; message: string; detail?: Json } };

/** An action that runs inside the worker, without a process. */
export type Builtin = (parameters: JsonObject, signal: AbortSignal) => Promise<BuiltinResult>;

const longestBody = 1024 * 1024;

async function noop(): Promise<BuiltinResult> {
  return { data: null };
}

async function httpRequest(parameters: JsonObject, signal: AbortSignal): Promise<BuiltinResult> {
  const { method, url, headers, body, timeout, follow_redirects: follow, expect_status: expected } = parameters;
  const seconds = typeof timeout === "number" ? timeout : 30;
  const sent = requestBody(body);
  try {
    if (!/^https?:\/\//i.test(String(url))) throw new Error("the URL must begin with http:// or https://");
    const response = await fetch(String(url), {
      method: String(method),
      headers: { ...sent.headers, ...textual(headers) },
      redirect: follow === false ? "manual" : "follow",
      signal: AbortSignal.any([signal, AbortSignal.timeout(seconds * 1000)]),
      ...(sent.text === null ? {} : { body: sent.text }),
    });
    const data = {
      status: response.status,
      headers: Object.fromEntries(response.headers),
      body: await readBody(response),
    };
    const ok = Array.isArray(expected) ? expected.includes(response.status) : response.ok;
    if (ok) return { data };
    return {
      error: { code: "UNEXPECTED_STATUS", message: `${url} responded with status ${response.status}`, detail: data },
    };
  } catch (error) {
    return { error: { code: "REQUEST_FAILED", message: `${url}: ${reasonOf(error, seconds)}` } };
  }
}

function requestBody(body: Json | undefined): { text: string | null; headers: Record<string, string> } {
  if (body === undefined || body === null) return { text: null, headers: {} };
  if (typeof body === "string") return { text: body, headers: {} };
  return { text: JSON.stringify(body), headers: { "content-type": "application/json" } };
}

function textual(headers: Json | undefined): Record<string, string> {
  if (typeof headers !== "object" || headers === null) return {};
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), String(value)]));
}

/** Returns the body, parsed if it is declared and valid JSON, else as text. Throws when it is longer than 1 MiB. */
async function readBody(response: Response): Promise<Json> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of response.body ?? []) {
    chunks.push(chunk);
    size += chunk.length;
    if (size > longestBody) throw new Error(`the body is longer than ${longestBody} bytes`);
  }
  const text = Buffer.concat(chunks).toString("utf8").replaceAll("\u0000", "\ufffd");
  if (!response.headers.get("content-type")?.includes("json")) return text;
  try {
    return JSON.parse(text) as Json;
  } catch {
    return text; // declared as JSON, but invalid
  }
}

function reasonOf(error: unknown, seconds: number): string {
  if (!(error instanceof Error)) return String(error);
  if (error.name === "TimeoutError") return `no complete response within ${seconds} s`;
  return error.cause instanceof Error ? error.cause.message : error.message;
}

/** The built-in actions, by entrypoint. */
export const builtins: Readonly<Record<string, Builtin>> = {
  "core.noop": noop,
  "core.http_request": httpRequest,
};
