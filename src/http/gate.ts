import { randomUUID } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";
import { notOurHost, type Origins } from "../access/origin.ts";
import { respond } from "./respond.ts";

const hourSeconds = 3600;
// Health checks address the server by names that are not configured, and learn nothing from it.
const forAnyHost = new Set(["/healthz", "/readyz"]);

/**
 * Admits a request: it gets an id, which the response has in `x-request-id`; it must address this server by one of its
 * names; and pages of listed origins may send it and read the response. Returns the id, or null when it has responded already.
 */
export function admit(
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

/** Tells the browser what a listed origin may do; true when that was the whole question (a preflight). */
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
    response.setHeader("access-control-allow-headers", "authorization, content-type, last-event-id");
    response.setHeader("access-control-max-age", String(hourSeconds));
  }
  response.writeHead(204).end();
  return true;
}
