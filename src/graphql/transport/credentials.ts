import type { IncomingMessage } from "node:http";
import { hostname, loopback, type Origins } from "../../access/origin.ts";

/** The headers that may contain a credential, as they were sent. */
export interface Credentials {
  authorization: string | null;
  cookie: string | null;
  /**
   * Whether the request was addressed to this machine and does not come from a page of another site. Without authentication
   * this is the only protection against other pages in a local browser.
   */
  local: boolean;
}

/**
 * Returns a request's credentials. Browsers send cookies with requests of any page, and treat other ports of this machine as
 * the same site: a cookie is accepted only if no such page can have caused the request. A GET or HEAD must be same-origin or
 * without a site according to the browser; others must be JSON from a page of this server or of a trusted origin.
 */
export function credentialsOf({ method, headers }: Request, origins: Origins): Credentials {
  const [origin, host] = [headers.get("origin"), headers.get("host")];
  const trusted = origins.isTrusted(origin, host);
  const reading = method === "GET" || method === "HEAD";
  const json = headers.get("content-type")?.startsWith("application/json") ?? false;
  const site = headers.get("sec-fetch-site") ?? "none";
  const acceptsCookie = reading
    ? trusted || (origin === null && ["none", "same-origin"].includes(site))
    : json && trusted;
  return {
    authorization: headers.get("authorization"),
    cookie: acceptsCookie ? headers.get("cookie") : null,
    local: isLocal(origin, host, trusted),
  };
}

/** Where clients put a credential into the parameters of a connection; the last two contain the token alone. */
const places = ["authorization", "Authorization", "authToken", "token"] as const;

/** Returns the value of the header `Authorization` that the parameters of a connection, or the headers in them, contain. */
function authorizationIn(parameters: unknown): string | null {
  if (typeof parameters !== "object" || parameters === null) return null;
  const given = parameters as Readonly<Record<string, unknown>>;
  for (const place of places) {
    const value = given[place];
    if (typeof value === "string" && value !== "") return /^\S+$/.test(value) ? `Bearer ${value}` : value;
  }
  return authorizationIn(given["headers"]);
}

/**
 * Returns a socket's credentials: those of the connection's parameters, in the shapes that clients use, or of the upgrade's headers, and
 * the cookie of an upgrade from a trusted origin.
 */
export function socketCredentials(
  { headers }: IncomingMessage,
  parameters: Readonly<Record<string, unknown>> | undefined,
  origins: Origins,
): Credentials {
  const [origin, host] = [headers.origin ?? null, headers.host ?? null];
  const trusted = origins.isTrusted(origin, host);
  return {
    authorization: authorizationIn(parameters) ?? headers.authorization ?? null,
    cookie: trusted ? (headers.cookie ?? null) : null,
    local: isLocal(origin, host, trusted),
  };
}

/** Checks the host too: with DNS rebinding, the pages of another site have the same origin as the server. */
function isLocal(origin: string | null, host: string | null, trusted: boolean): boolean {
  const name = host === null ? null : hostname(host);
  return name !== null && loopback.has(name) && (origin === null || trusted);
}
