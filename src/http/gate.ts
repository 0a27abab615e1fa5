import { randomUUID } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";
import { notOurHost, type Origins } from "../access/origin.ts";
import { respond } from "./respond.ts";

const hourSeconds = 3600;
// Health checks use names that are not configured; their responses disclose nothing.
const forAnyHost = new Set(["/healthz", "/readyz"]);

/**
 * Checks a request before routing: sets its id in the response's `x-request-id`, refuses a `Host` that does not name this server, and
 * sets the CORS headers for listed origins. Returns the id, or null when the response has been sent.
 */
export function admitRequest(
  origins: Origins,
  request: IncomingMessage,
  response: ServerResponse,
  path: string,
): string | null {
  const requestId = randomUUID();
  response.setHeader("x-request-id", requestId);
  if (!origins.isOurHost(request.headers.host ?? null) && !forAnyHost.has(path)) {
    respond(response, 421, { error: notOurHost });
    return null;
  }
  return allowOrigin(origins, request, response) ? null : requestId;
}

/** Sets the CORS headers for a listed origin. Returns true when the request was a preflight, whose response has been sent. */
function allowOrigin(origins: Origins, request: IncomingMessage, response: ServerResponse): boolean {
  response.setHeader("vary", "origin");
  const { origin } = request.headers;
  const listed = origin !== undefined && origins.isListed(origin);
  if (listed) {
    response.setHeader("access-control-allow-origin", origin);
    response.setHeader("access-control-allow-credentials", "true");
    response.setHeader("access-control-expose-headers", "x-request-id");
  }
  if (request.method !== "OPTIONS" || !request.headers["access-control-request-method"]) return false;
  if (listed) {
    response.setHeader("access-control-allow-methods", "GET, POST, PUT, OPTIONS");
    // Clients add headers for tracing and their own names; the listed origin's pages are trusted with all of them.
    response.setHeader("access-control-allow-headers", request.headers["access-control-request-headers"] ?? "*");
    response.setHeader("vary", "origin, access-control-request-headers");
    response.setHeader("access-control-max-age", String(hourSeconds));
  }
  response.writeHead(204).end();
  return true;
}
