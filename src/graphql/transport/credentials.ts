import type { IncomingMessage } from "node:http";
import { hostname, loopback, type Origins } from "../../access/origin.ts";

/** The headers that a credential may come in, as they were sent. */
export interface Credentials {
  authorization: string | null;
  cookie: string | null;
  /**
   * Whether the sender addressed this machine, and was no page of another site: where authentication is off, everybody's
   * browser can reach the server, and nothing else keeps out the pages that are open in it.
   */
  local: boolean;
}

/**
 * A request's credentials. Browsers send cookies whoever's page asks, and count pages of other ports of this machine as its
 * own: a cookie counts only where no such page could have caused the request. Reading, its browser says so, or nothing of
 * where it comes from; otherwise it is JSON from a page of ours or of a listed origin.
 */
export function credentialsOf({ method, headers }: Request, origins: Origins): Credentials {
  const [origin, host] = [headers.get("origin"), headers.get("host")];
  const trusted = origins.isTrusted(origin, host);
  const reading = method === "GET" || method === "HEAD";
  const json = headers.get("content-type")?.startsWith("application/json") ?? false;
  const site = headers.get("sec-fetch-site") ?? "none";
  const ours = reading ? trusted || (origin === null && ["none", "same-origin"].includes(site)) : json && trusted;
  return {
    authorization: headers.get("authorization"),
    cookie: ours ? headers.get("cookie") : null,
    local: isLocal(origin, host, trusted),
  };
}

/** A socket's credentials: `authorization` of the connection's parameters, else the upgrade's cookie from a trusted origin. */
export function socketCredentials(
  { headers }: IncomingMessage,
  parameters: Readonly<Record<string, unknown>> | undefined,
  origins: Origins,
): Credentials {
  const given = parameters?.["authorization"] ?? parameters?.["Authorization"];
  const [origin, host] = [headers.origin ?? null, headers.host ?? null];
  const trusted = origins.isTrusted(origin, host);
  return {
    authorization: typeof given === "string" ? given : (headers.authorization ?? null),
    cookie: trusted ? (headers.cookie ?? null) : null,
    local: isLocal(origin, host, trusted),
  };
}

/** A name of another site may be made to lead here (DNS rebinding); its pages are then of the very origin they ask. */
function isLocal(origin: string | null, host: string | null, trusted: boolean): boolean {
  const name = host === null ? null : hostname(host);
  return name !== null && loopback.has(name) && (origin === null || trusted);
}
