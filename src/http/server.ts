import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { Attempts } from "../access/attempts.ts";
import type { Origins } from "../access/origin.ts";
import { isPassing } from "../db/passing.ts";
import type { Services } from "../db/services.ts";
import { NoRoomError, StartError } from "../errors.ts";
import { handleArtifact } from "./artifact.ts";
import { admitRequest } from "./gate.ts";
import { createIntake, embeddedLimits, type Intake, type IntakeLimits } from "./intake.ts";
import { createMetricsHandler, type MetricsHandler } from "./metrics.ts";
import { createReadiness, type Readiness, respondHealth } from "./ready.ts";
import { respond } from "./respond.ts";
import { handleSignIn, handleSignInLink } from "./sign-in.ts";
import { traced } from "./trace.ts";
import { handleWebhook, type WebhookHandling } from "./webhook.ts";

export interface HttpOptions {
  services: Services;
  host: string;
  port: number;
  origins: Origins;
  /** The origin that clients use; null, the default, where it is not configured. */
  publicUrl?: string | null;
  /** Addresses and networks that may read the metrics without a token; none by default. */
  metricsAllow?: readonly string[];
  attempts: Attempts;
  /** Responds to everything under `/graphql`. */
  graphql: (request: IncomingMessage, response: ServerResponse, context: { requestId: string }) => unknown;
  /** Whether the start has ended, and the credential file is there; by default it has. */
  isStarted?: () => boolean;
  /** By default 64 MiB and 5 s, or what suits the embedded database. */
  intake?: IntakeLimits;
  /** How long a connection may be silent, in milliseconds; 15 s by default. */
  silenceMs?: number;
  /** Handles the server's WebSockets; disposing the result closes them. */
  attachSockets: (server: Server) => AsyncDisposable;
}

const notFoundPage = `<!doctype html><html lang="en"><meta charset="utf-8"><title>Not found – Attune</title>
<body style="font-family: sans-serif; max-width: 40rem; margin: 4rem auto"><h1>There is no such page</h1>
<p>The API and its explorer are at <a href="/graphql">/graphql</a>.</p></body></html>
`;

/** The longest body of an operation, in bytes. */
const longestOperation = 2 * 1024 * 1024;

/** A connection that has not sent a request's headers for this time is closed. */
const silenceMs = 15_000;

/** A listening HTTP server. */
export interface HttpServer extends AsyncDisposable {
  url: string;
}

/** Starts the HTTP server. Throws StartError when it cannot listen on the address. */
export async function startHttp(options: HttpOptions): Promise<HttpServer> {
  const { services } = options;
  const metrics = createMetricsHandler(services, { origins: options.origins, allow: options.metricsAllow ?? [] });
  const readiness = createReadiness(services, options.isStarted ?? (() => true));
  const intake = createIntake(options.intake ?? (services.kind === "pglite" ? embeddedLimits : undefined));
  // Of their own: uploads may take long, and must not keep other requests waiting.
  const uploads = createIntake(options.intake);
  const silence = { headersTimeout: options.silenceMs ?? silenceMs, connectionsCheckingInterval: 1000 };
  const server = createServer(silence, (request, response) => {
    route(
      {
        ...options,
        readiness,
        metrics,
        uploads,
        handled: { services, origins: options.origins, intake, publicUrl: options.publicUrl ?? null },
      },
      request,
      response,
    ).catch((error: unknown) => {
      const requestId = response.getHeader("x-request-id");
      if (error instanceof NoRoomError && !response.headersSent) {
        return respond(response, 503, { error: error.message }, { "retry-after": "30" });
      }
      if (isPassing(error) && !response.headersSent) {
        services.log.warn(
          { err: error, method: request.method, requestId },
          "a request failed for lack of the database",
        );
        return respond(response, 503, { error: "the database cannot be used at the moment" }, { "retry-after": "5" });
      }
      services.log.error({ err: error, method: request.method, requestId }, "request failed");
      if (response.headersSent) response.destroy();
      else respond(response, 500, { error: "internal error" });
    });
  });
  const sockets = options.attachSockets(server);
  const url = await listen(server, options);
  return {
    url,
    [Symbol.asyncDispose]: async () => {
      await sockets[Symbol.asyncDispose]();
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeAllConnections();
      await closed;
    },
  };
}

/** Listens and returns the URL. Throws StartError, naming the setting of the port. */
export function listen(
  server: Server,
  { host, port }: { host: string; port: number },
  setting = "ATTUNE__SERVER__PORT",
): Promise<string> {
  return new Promise((resolve, reject) => {
    server.once("error", (cause: NodeJS.ErrnoException) => {
      const taken = cause.code === "EADDRINUSE";
      const cure = taken
        ? `Port ${port} on ${host} is taken: stop what uses it, or set ${setting} to another (0: any free one).`
        : `attune cannot listen on ${host}:${port} (${cause.code}): check ATTUNE__SERVER__HOST and ${setting}.`;
      reject(new StartError(cure, { cause }));
    });
    server.listen(port, host, () => {
      const address = server.address();
      const bound = typeof address === "object" && address ? address.port : port;
      resolve(`http://${host.includes(":") ? `[${host}]` : host}:${bound}`);
    });
  });
}

type Routing = HttpOptions & {
  readiness: Readiness;
  metrics: MetricsHandler;
  uploads: Intake;
  handled: WebhookHandling;
};

async function route(options: Routing, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { services, origins } = options;
  const path = (request.url ?? "/").split("?", 1)[0] ?? "/";
  const requestId = admitRequest(origins, request, response, path);
  if (requestId === null) return;
  await traced(services, { request, response, path }, () => dispatch(options, { request, response, path, requestId }));
}

async function dispatch(
  options: Routing,
  {
    request,
    response,
    path,
    requestId,
  }: { request: IncomingMessage; response: ServerResponse; path: string; requestId: string },
): Promise<void> {
  const { services, origins, attempts } = options;
  if (path === "/graphql" || path === "/graphql/") {
    request.url = request.url?.replace("/graphql/", "/graphql") ?? "";
    return await options.handled.intake.admit(request, response, longestOperation, async () => {
      const done = options.graphql(request, response, { requestId });
      // The body of a subscription is not held while its stream is open.
      const isStream = request.headers.accept?.includes("text/event-stream") ?? false;
      await (isStream && !request.readableEnded ? Promise.race([done, once(request, "close")]) : done);
    });
  }
  if (path.startsWith("/artifacts/")) return await handleArtifact(options, request, response);
  if (path.startsWith("/webhooks/")) return await handleWebhook(options.handled, request, response);
  switch (path) {
    case "/sign-in":
      return await handleSignIn(services, request, response, { attempts, origins, requestId });
    case "/sign-in/link":
      return await handleSignInLink(services, request, response, { origins, requestId });
    case "/healthz":
    case "/readyz":
      return await respondHealth(response, path, options.readiness);
    case "/metrics":
      return await options.metrics(request, response);
    case "/":
      return respond(response, 302, "The API is at /graphql, and its sign-in page at /sign-in.\n", {
        location: request.headers.cookie === undefined ? "/sign-in" : "/graphql",
      });
    default:
      if (!request.headers.accept?.includes("text/html")) return respond(response, 404, { error: "not found" });
      return respond(response, 404, notFoundPage, { "content-type": "text/html; charset=utf-8" });
  }
}
