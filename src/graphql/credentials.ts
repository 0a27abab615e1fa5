import type { IncomingMessage } from "node:http";

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
 * A request's credentials. Browsers send cookies whoever's page asks, so that a cookie counts only where another site's page
 * could not have caused the request: reading, or JSON sent from a page of our own origin.
 */
export function credentialsOf({ method, headers }: Request): Credentials {
  const reading = method === "GET" || method === "HEAD";
  const json = headers.get("content-type")?.startsWith("application/json") ?? false;
  const [origin, host] = [headers.get("origin"), headers.get("host")];
  const ours = reading || (json && isOwnOrigin(origin, host));
  return {
    authorization: headers.get("authorization"),
    cookie: ours ? headers.get("cookie") : null,
    local: isLocal(origin, host),
  };
}

/** A socket's credentials: `authorization` of the connection's parameters, else the upgrade's cookie from our own origin. */
export function socketCredentials(
  { headers }: IncomingMessage,
  parameters: Readonly<Record<string, unknown>> | undefined,
): Credentials {
  const given = parameters?.["authorization"] ?? parameters?.["Authorization"];
  const [origin, host] = [headers.origin ?? null, headers.host ?? null];
  return {
    authorization: typeof given === "string" ? given : (headers.authorization ?? null),
    cookie: isOwnOrigin(origin, host) ? (headers.cookie ?? null) : null,
    local: isLocal(origin, host),
  };
}

function isOwnOrigin(origin: string | null, host: string | null): boolean {
  return origin !== null && host !== null && URL.canParse(origin) && new URL(origin).host === host;
}

const loopback = new Set(["127.0.0.1", "localhost", "[::1]"]);

/** A name of another site may be made to lead here (DNS rebinding); its pages are then of the very origin they ask. */
function isLocal(origin: string | null, host: string | null): boolean {
  const named = host !== null && URL.canParse(`http://${host}`) && loopback.has(new URL(`http://${host}`).hostname);
  return named && (origin === null || isOwnOrigin(origin, host));
}
