import { lookup } from "node:dns/promises";
import { type IncomingHttpHeaders, type IncomingMessage, request as overHttp } from "node:http";
import { request as overHttps } from "node:https";
import { isIP, type LookupFunction } from "node:net";
import type { Readable, Transform } from "node:stream";
import { constants, createBrotliDecompress, createGunzip, createInflate } from "node:zlib";
import { causeHeader } from "../execution/cause.ts";
import { readText } from "../lib/body.ts";
import { createNetworks, isNetwork, isPublic } from "../lib/network.ts";

/** The hosts that requests of users may reach. */
export interface Reach {
  /** Returns the addresses of the host that requests may go to, at least one; throws `UnreachableError` if there is none. */
  addressesOf(hostname: string): Promise<Address[]>;
}

interface Address {
  address: string;
  family: number;
}

/** A host that requests may not reach. Its addresses are not named: they would describe the internal network. */
export class UnreachableError extends Error {}

export interface HttpRequest {
  method: string;
  url: string;
  /** Names in lower case. */
  headers: Readonly<Record<string, string>>;
  body: string | Uint8Array | null;
  /** Tells our own webhooks which execution sends the request; no path but theirs gets it. */
  cause: string;
  /** Whether redirects are followed. */
  follow: boolean;
  /** Whether the text contains a secret; then it is not sent on to another origin. */
  holdsSecret: (text: string) => boolean;
  signal: AbortSignal;
}

export interface HttpResponse {
  status: number;
  /** Names in lower case; `set-cookie` is a list. */
  headers: Record<string, string | string[]>;
  body: string;
}

const longestBody = 1024 * 1024;
const mostRedirects = 20;
const methods = new Set(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]);
const redirects = new Set([301, 302, 303, 307, 308]);
/** They frame the message, so the client sets them. */
const framing = new Set(
  "connection content-length expect keep-alive proxy-connection te trailer transfer-encoding upgrade".split(" "),
);
const credentials = /auth|cookie|token|key|secret|passw|session|credential|signature|jwt/;

/**
 * Returns what requests may reach: public addresses, and the given host names, addresses and networks. Names are resolved once for each
 * request, and the connection goes to an address that was checked, so that no other answer of the DNS comes in between.
 */
export function createReach(allowed: readonly string[]): Reach {
  const networks = createNetworks(allowed.filter(isNetwork));
  const names = new Set(allowed.filter((each) => !isNetwork(each)).map(bare));
  return {
    addressesOf: async (hostname) => {
      const found = await lookup(hostname.replace(/^\[(.*)\]$/, "$1"), { all: true });
      if (names.has(bare(hostname))) return found;
      const reachable = found.filter(({ address }) => isPublic(address) || networks.has(address));
      if (reachable.length > 0) return reachable;
      throw new UnreachableError(
        `${hostname} has no public address; the worker's ATTUNE__WORKER__HTTP_ALLOW lists the other hosts and networks that requests may reach`,
      );
    },
  };
}

const bare = (hostname: string) => hostname.toLowerCase().replace(/\.$/, "");

/**
 * Sends a request, follows up to 20 redirects, each only to what `reach` allows, and returns the response. To another origin headers
 * that look like credentials and whatever holds a secret are not sent on. Throws when the body is longer than 1 MiB.
 */
export async function sendRequest(request: HttpRequest, reach: Reach): Promise<HttpResponse> {
  const { method, headers, body, cause, follow, holdsSecret, signal } = request;
  if (!methods.has(method)) throw new Error(`the method must be one of ${[...methods].join(", ")}`);
  let hop: Hop = { url: parseUrl(request.url), method, headers, body };
  for (let count = 0; ; count += 1) {
    const response = await exchange(withCause(hop, cause), reach, signal);
    const { location } = response.headers;
    const status = response.statusCode ?? 0;
    if (!follow || location === undefined || !redirects.has(status)) return await read(response, hop.method);
    response.destroy();
    if (count === mostRedirects) throw new Error(`there were more than ${mostRedirects} redirects`);
    const next = redirected(hop, status, location);
    hop = next.url.origin === hop.url.origin ? next : forOthers(next, holdsSecret);
  }
}

/** One request of those that redirects make. */
interface Hop extends Pick<HttpRequest, "method" | "headers" | "body"> {
  url: URL;
}

/** This server has many names, so the path decides. What reaches another server says nothing but the execution's number. */
function withCause(hop: Hop, cause: string): Hop {
  const headers = without(hop.headers, (name) => name === causeHeader);
  return {
    ...hop,
    headers: hop.url.pathname.startsWith("/webhooks/") ? { ...headers, [causeHeader]: cause } : headers,
  };
}

function redirected(hop: Hop, status: number, location: string): Hop {
  const url = parseUrl(location, hop.url);
  const becomesGet = status === 303 ? hop.method !== "HEAD" : status < 303 && hop.method === "POST";
  if (!becomesGet) return { ...hop, url };
  return { url, method: "GET", headers: without(hop.headers, (name) => name.startsWith("content-")), body: null };
}

/** Archives are compressed already, and their checksums are of what was stored. */
const asItIs = { "accept-encoding": "identity" };

/**
 * Requests a content of any length, follows up to 20 redirects, and returns the last response's status, headers and body as it is. `check` throws for an
 * address that the request may not go to; each goes only to what `reach` allows.
 */
export async function fetchContent(
  address: string,
  reach: Reach,
  {
    check,
    signal,
    headers = {},
  }: { check(url: URL): void; signal: AbortSignal; headers?: Readonly<Record<string, string>> },
): Promise<{ status: number; headers: IncomingHttpHeaders; content: Readable }> {
  let url = parseUrl(address);
  for (let count = 0; ; count += 1) {
    check(url);
    const response = await exchange(
      { url, method: "GET", headers: { ...headers, ...asItIs }, body: null },
      reach,
      signal,
    );
    const { location } = response.headers;
    const status = response.statusCode ?? 0;
    if (location === undefined || !redirects.has(status))
      return { status, headers: response.headers, content: response };
    response.destroy();
    if (count === mostRedirects) throw new Error(`there were more than ${mostRedirects} redirects`);
    url = parseUrl(location, url);
  }
}

/** Returns the request without what another origin must not get. */
function forOthers(hop: Hop, holdsSecret: (text: string) => boolean): Hop {
  if (hop.body !== null && holdsSecret(Buffer.from(hop.body).toString())) {
    throw new Error(`the response redirects a body with a secret to another origin, ${hop.url.origin}`);
  }
  const secret = (name: string, value: string) => name === "host" || credentials.test(name) || holdsSecret(value);
  return { ...hop, headers: without(hop.headers, secret) };
}

function parseUrl(text: string, base?: URL): URL {
  const url = URL.canParse(text, base) ? new URL(text, base) : null;
  if (url === null || !/^https?:$/.test(url.protocol)) throw new Error("the URL must begin with http:// or https://");
  if (url.username !== "" || url.password !== "") {
    throw new Error("the URL must not contain a user or password; use the header authorization");
  }
  return url;
}

function without(
  headers: Readonly<Record<string, string>>,
  drops: (name: string, value: string) => boolean,
): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).filter(([name, value]) => !drops(name, value)));
}

/** Sends one request over a connection of its own and resolves with the head of its response. */
async function exchange(
  { url, method, headers, body }: Hop,
  reach: Reach,
  signal: AbortSignal,
): Promise<IncomingMessage> {
  const addresses = await unlessAborted(reach.addressesOf(url.hostname), signal);
  const found: LookupFunction = (_hostname, options, callback) => {
    if (options.all) callback(null, addresses);
    else callback(null, addresses[0]?.address ?? "", addresses[0]?.family);
  };
  const hostname = url.hostname.replace(/^\[(.*)\]$/, "$1");
  const bytes = body === null ? null : Buffer.from(body);
  return await new Promise((resolve, reject) => {
    const sent = (url.protocol === "https:" ? overHttps : overHttp)({
      hostname,
      port: url.port,
      path: `${url.pathname}${url.search}`,
      method,
      headers: {
        accept: "*/*",
        "accept-encoding": "gzip, deflate, br",
        "user-agent": "attune",
        ...without(headers, (name) => framing.has(name)),
        ...(bytes === null ? {} : { "content-length": bytes.length }),
      },
      agent: false,
      lookup: found,
      servername: isIP(hostname) === 0 ? hostname : "", // not the header `host`
      signal,
    });
    sent.once("response", (response) => {
      response.on("error", () => {}); // readers get it too; without one it must not end the process
      resolve(response);
    });
    sent.on("error", reject);
    sent.end(bytes ?? undefined);
  });
}

/** A lookup cannot be cancelled. */
async function unlessAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  signal.throwIfAborted();
  const { promise, reject } = Promise.withResolvers<never>();
  const abort = () => reject(signal.reason);
  signal.addEventListener("abort", abort);
  try {
    return await Promise.race([work, promise]);
  } finally {
    signal.removeEventListener("abort", abort);
  }
}

async function read(response: IncomingMessage, method: string): Promise<HttpResponse> {
  const status = response.statusCode ?? 0;
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of method === "HEAD" || status === 204 || status === 304 ? [] : decoded(response)) {
    chunks.push(chunk);
    size += chunk.length;
    if (size > longestBody) throw new Error(`the body is longer than ${longestBody} bytes`);
  }
  response.destroy();
  const headers = Object.entries(response.headers).map(([name, value]) => [
    name,
    Array.isArray(value) ? value : String(value),
  ]);
  const body = Buffer.concat(chunks);
  return { status, headers: Object.fromEntries(headers), body: textOf(body, response.headers["content-type"]) };
}

/** A response is a result even if its body is no text: what cannot be read is replaced by U+FFFD. */
function textOf(body: Buffer, contentType: string | undefined): string {
  try {
    return readText(body, contentType, "");
  } catch {
    return body.toString("utf8");
  }
}

/** Incomplete or empty bodies are read as far as they go. */
const flush = { finishFlush: constants.Z_SYNC_FLUSH };
const decoders: Readonly<Record<string, () => Transform>> = {
  gzip: () => createGunzip(flush),
  "x-gzip": () => createGunzip(flush),
  deflate: () => createInflate(flush),
  br: () => createBrotliDecompress({ finishFlush: constants.BROTLI_OPERATION_FLUSH }),
};

/** Returns the response's body without its encoding, which may be one of those that the request accepts. */
function decoded(response: IncomingMessage): Readable {
  const encoding = response.headers["content-encoding"]?.trim().toLowerCase();
  const decoder = decoders[encoding ?? ""]?.();
  if (decoder === undefined) return response;
  response.on("error", (error) => decoder.destroy(error));
  decoder.once("close", () => response.destroy());
  return response.pipe(decoder);
}
