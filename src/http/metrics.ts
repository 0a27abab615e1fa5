import type { IncomingMessage, ServerResponse } from "node:http";
import { credentialOf } from "../access/cookie.ts";
import { may } from "../access/grants.ts";
import type { Origins } from "../access/origin.ts";
import { findSession, hashOf } from "../access/sessions.ts";
import type { Db } from "../db/client.ts";
import type { Services } from "../db/services.ts";
import { createNetworks } from "../lib/network.ts";
import { createCensus } from "./census.ts";
import { respond } from "./respond.ts";

/** How long a scrape waits for the database: to look up its token, and to count. Together they are below two seconds. */
const longestMs = { token: 700, count: 1000 };
/** A token that was valid is believed for this time while the database cannot be asked: an outage is when metrics are needed. */
const rememberedMs = 15 * 60_000;
const mostRemembered = 100;
/** A proxy adds one of these: a request that has one does not come from this machine, whatever its connection says. */
const forwarding = ["x-forwarded-for", "forwarded", "x-real-ip", "via"];

/** Responds to `/metrics`. */
export type MetricsHandler = (request: IncomingMessage, response: ServerResponse) => Promise<void>;

/**
 * Returns the handler of `/metrics`. It responds to the allowed addresses, and to others with a bearer token that grants `system:read`; in
 * time whatever the database does.
 */
export function createMetricsHandler(
  services: Services,
  { origins, allow }: { origins: Origins; allow: readonly string[] },
): MetricsHandler {
  const census = createCensus(services);
  const networks = createNetworks(allow);
  const mayScrape = createTokenCheck(services.db);
  return async (request, response) => {
    const address = origins.addressOf(request);
    const isDirect = !forwarding.some((name) => request.headers[name] !== undefined);
    const isLoopback = address !== null && (address === "::1" || address.startsWith("127."));
    const allowed = address !== null && networks.has(address) && (isDirect || !isLoopback);
    if (!allowed) {
      const token = credentialOf({ authorization: request.headers.authorization ?? null, cookie: null });
      if (token === null) {
        const error = "allow your address in ATTUNE__METRICS__ALLOW, or send a bearer token that grants system:read";
        return respond(response, 401, { error }, { "www-authenticate": "Bearer" });
      }
      if (!(await mayScrape(token))) return respond(response, 403, { error: "the token does not grant system:read" });
    }
    await inTime(census.update(), longestMs.count, census.lost);
    respond(response, 200, await services.metrics.render(), { "content-type": services.metrics.registry.contentType });
  };
}

/** Returns a function that tells whether a token grants reading the metrics. */
function createTokenCheck(db: Db): (token: string) => Promise<boolean> {
  const remembered = new Map<string, number>();
  return async (token) => {
    const hash = hashOf(token);
    const found = await inTime(
      findSession(db, token).then((session) => ({ granted: session !== null && may(session, "system", "read") })),
      longestMs.token,
      () => null,
    );
    if (found === null) return (remembered.get(hash) ?? 0) > performance.now();
    remembered.delete(hash);
    if (found.granted) remembered.set(hash, performance.now() + rememberedMs);
    if (remembered.size > mostRemembered)
      for (const [oldest] of remembered.entries().take(1)) remembered.delete(oldest);
    return found.granted;
  };
}

/** Returns the result of `work`, or of `otherwise` when it fails or takes longer. */
async function inTime<T, E>(work: Promise<T>, ms: number, otherwise: () => E): Promise<T | E> {
  const { promise: late, resolve } = Promise.withResolvers<"late">();
  const timer = setTimeout(() => resolve("late"), ms);
  try {
    const done = await Promise.race([work.then((result) => ({ result })), late]);
    return done === "late" ? otherwise() : done.result;
  } catch {
    return otherwise();
  } finally {
    clearTimeout(timer);
    work.catch(() => {}); // it may fail later
  }
}
