import { InvalidInputError, Refusal } from "../errors.ts";
import { type CloudEventMode, writeCloudEvents } from "../event/cloud-event-message.ts";
import type { Json, JsonObject } from "../lib/json.ts";
import { parseJson } from "../lib/json-text.ts";
import type { Mask } from "../secrecy/mask.ts";
import { cloudEventsOf, type EventOrigin, modeOf } from "./cloud-event.ts";
import { type HttpRequest, type HttpResponse, type Reach, sendRequest, UnreachableError } from "./http.ts";

/** The result of a built-in action. A parked execution is ended by what it waits for. */
export type BuiltinResult =
  | { data: Json }
  | { error: { code: string; message: string; detail?: Json } }
  | "parked"
  | "cancelled";

/** What a built-in action gets besides its parameters. */
export interface BuiltinContext {
  signal: AbortSignal;
  reach: Reach;
  /** For the secrets among the parameters; null when there are none. */
  mask: Mask | null;
  /** Returns what tells our own webhooks which execution sent a request. */
  cause: () => string;
  /** What the execution says of an event that it sends. */
  origin: EventOrigin;
  /** Creates an inquiry and parks the execution. Returns false when it was cancelled. */
  ask: () => Promise<boolean>;
}

/** An action that runs inside the worker, without a process. */
export type Builtin = (parameters: JsonObject, context: BuiltinContext) => Promise<BuiltinResult>;

async function noop(): Promise<BuiltinResult> {
  return { data: null };
}

async function httpRequest(parameters: JsonObject, context: BuiltinContext): Promise<BuiltinResult> {
  const { method, headers, body, follow_redirects: follow } = parameters;
  const sent = requestBody(body);
  return await exchange(parameters, context, {
    ...{ method: String(method), body: sent.text, follow: follow !== false },
    headers: { ...sent.headers, ...textual(headers) },
  });
}

async function sendCloudEvent(parameters: JsonObject, context: BuiltinContext): Promise<BuiltinResult> {
  let events: JsonObject[];
  let mode: CloudEventMode;
  try {
    mode = modeOf(parameters);
    events = cloudEventsOf(parameters, mode, context.origin);
  } catch (error) {
    if (!(error instanceof InvalidInputError)) throw error;
    return { error: { code: "INVALID_EVENT", message: error.message } };
  }
  const message = writeCloudEvents(mode, events);
  const sent = await exchange(parameters, context, {
    ...{ method: "POST", body: message.body, follow: false },
    headers: { ...textual(parameters["headers"]), ...message.headers },
  });
  const ids = events.map(({ id }) => id ?? null);
  return typeof sent === "object" && "data" in sent ? { data: { ...(sent.data as JsonObject), ids } } : sent;
}

/** Sends a request to the URL of the parameters, which also say how long it may take and which statuses count as success. */
async function exchange(
  { url, timeout, expect_status: expected }: JsonObject,
  { signal, reach, mask, cause }: BuiltinContext,
  request: Pick<HttpRequest, "method" | "headers" | "body" | "follow">,
): Promise<BuiltinResult> {
  const seconds = typeof timeout === "number" ? timeout : 30;
  const late = AbortSignal.timeout(seconds * 1000);
  const shown = withoutCredentials(String(url));
  try {
    const response = await sendRequest(
      {
        ...request,
        url: String(url),
        cause: cause(),
        holdsSecret: (text) => mask !== null && mask.text(text) !== text,
        signal: AbortSignal.any([signal, late]),
      },
      reach,
    );
    const data = { ...response, body: parseBody(response) };
    const ok = Array.isArray(expected)
      ? expected.includes(response.status)
      : response.status >= 200 && response.status < 300;
    if (ok) return { data };
    return {
      error: { code: "UNEXPECTED_STATUS", message: `${shown} responded with status ${response.status}`, detail: data },
    };
  } catch (error) {
    const code = error instanceof UnreachableError ? "ADDRESS_REFUSED" : "REQUEST_FAILED";
    const reason = late.aborted ? `no complete response within ${seconds} s` : reasonOf(error);
    return { error: { code, message: `${shown}: ${reason}` } };
  }
}

async function inquire(_parameters: JsonObject, { ask }: BuiltinContext): Promise<BuiltinResult> {
  try {
    return (await ask()) ? "parked" : "cancelled";
  } catch (error) {
    if (error instanceof Refusal) return { error: { code: error.code, message: error.message } };
    return { error: { code: "NOT_ASKED", message: `The question could not be stored: ${reasonOf(error)}` } };
  }
}

/** Returns the URL for messages: a user and password in it are no declared secret, so that nothing would mask them. */
function withoutCredentials(text: string): string {
  if (!URL.canParse(text)) return text.replace(/^.*@/s, "");
  const url = new URL(text);
  if (url.username === "" && url.password === "") return text;
  url.username = "";
  url.password = "";
  return url.href;
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

/** Returns the body, parsed if it is declared and valid JSON, else as text. */
function parseBody(response: HttpResponse): Json {
  const text = response.body.replaceAll("\u0000", "\ufffd");
  if (!String(response.headers["content-type"]).includes("json")) return text;
  try {
    return parseJson(text);
  } catch {
    return text; // declared as JSON, but invalid, or with numbers that would be changed
  }
}

function reasonOf(error: unknown): string {
  if (error instanceof AggregateError) return error.errors.map(reasonOf).join("; ");
  return error instanceof Error ? error.message : String(error);
}

/** The built-in actions, by entrypoint. */
export const builtins: Readonly<Record<string, Builtin>> = {
  "core.noop": noop,
  "core.http_request": httpRequest,
  "core.send_cloud_event": sendCloudEvent,
  "core.inquire": inquire,
};
