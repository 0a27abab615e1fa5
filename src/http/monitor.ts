import { createServer } from "node:http";
import type { Origins } from "../access/origin.ts";
import type { Services } from "../db/services.ts";
import { admitRequest } from "./gate.ts";
import { createMetricsHandler } from "./metrics.ts";
import { createReadiness, respondHealth } from "./ready.ts";
import { respond } from "./respond.ts";
import { type HttpServer, listen } from "./server.ts";

interface MonitorOptions {
  host: string;
  port: number;
  origins: Origins;
  /** Addresses and networks that may read the metrics without a token. */
  allow: readonly string[];
  isStarted: () => boolean;
}

/** Starts the server of a process without the API, for `/metrics`, `/healthz` and `/readyz`. Throws StartError when it cannot listen. */
export async function startMonitor(services: Services, options: MonitorOptions): Promise<HttpServer> {
  const { origins } = options;
  const metrics = createMetricsHandler(services, options);
  const readiness = createReadiness(services, options.isStarted);
  const server = createServer((request, response) => {
    const path = (request.url ?? "/").split("?", 1)[0] ?? "/";
    if (admitRequest(origins, request, response, path) === null) return;
    const respondTo = async () => {
      if (path === "/healthz" || path === "/readyz") return await respondHealth(response, path, readiness);
      if (path === "/metrics") return await metrics(request, response);
      respond(response, 404, { error: "not found" });
    };
    respondTo().catch((error: unknown) => {
      services.log.error({ err: error }, "request failed");
      response.destroy();
    });
  });
  const url = await listen(server, options, "ATTUNE__METRICS__PORT");
  return {
    url,
    [Symbol.asyncDispose]: async () => {
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeAllConnections();
      await closed;
    },
  };
}
