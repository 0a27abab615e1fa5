import type { IncomingMessage, ServerResponse } from "node:http";
import type { Services } from "../db/services.ts";
import { inTrace, newContext, parseTraceparent } from "../lib/trace.ts";

/** The parts of the API that begin or continue a trace, by the beginning of their path. The rest of a webhook's path is a secret. */
const routes = [
  ["/graphql", "/graphql"],
  ["/webhooks/", "/webhooks/:key"],
] as const;

/** Handles a request as part of the trace that its `traceparent` names, or of a new one where spans are exported; otherwise in none. */
export async function traced(
  { tracing }: Services,
  { request, response, path }: { request: IncomingMessage; response: ServerResponse; path: string },
  handle: () => Promise<void>,
): Promise<void> {
  const route = routes.find(([prefix]) => path.startsWith(prefix))?.[1];
  const header = request.headers["traceparent"];
  const parent = parseTraceparent(typeof header === "string" ? header : null);
  if (route === undefined || (tracing === null && parent === null)) return await handle();
  if (tracing === null) return await (parent === null ? handle() : inTrace(parent, handle));
  const context = newContext(parent);
  const from = Date.now();
  const { method = "" } = request;
  response.once("close", () => {
    const { statusCode } = response;
    tracing.record({
      name: `${method} ${route}`,
      ...({ kind: "server", context, parent, from, to: Date.now() } as const),
      attributes: {
        "http.request.method": method,
        "http.route": route,
        "http.response.status_code": statusCode,
        "attune.request": String(response.getHeader("x-request-id") ?? ""),
      },
      error: statusCode >= 500 ? `status ${statusCode}` : null,
    });
  });
  return await inTrace(context, handle);
}
