import { createAttempts } from "../access/attempts.ts";
import { credentialOf } from "../access/cookie.ts";
import { createOrigins } from "../access/origin.ts";
import { openSession } from "../access/session.ts";
import { createSessions, type Sessions } from "../access/sessions.ts";
import type { LocalPacks } from "../catalog/reload.ts";
import type { Config } from "../config.ts";
import type { Services } from "../db/services.ts";
import { createGraphQL, type GraphQLOptions } from "../graphql/transport/server.ts";
import { attachSockets } from "../graphql/transport/sockets.ts";
import { startHttp } from "../http/server.ts";
import type { Log } from "../log.ts";
import { createFeed, type Feed } from "../notifier/feed.ts";
import type { ChangeFilter } from "../notifier/page.ts";
import { createIndexCache } from "../worker/install/index-cache.ts";

/** The running role `api`. */
export interface Api extends AsyncDisposable {
  url: string;
}

/**
 * Starts the role `api`: GraphQL over HTTP, sockets and event streams, webhooks, artifacts and sign-in. `admin` is the identity
 * whose grants every caller has when authentication is off; `/readyz` refuses until `isStarted` returns true; `local` are the packs that
 * this process loads from directories. Throws StartError when the server cannot listen on the address.
 */
export async function startApi(
  services: Services,
  config: Config,
  { admin, isStarted, local }: { admin: string; isStarted: () => boolean; local: LocalPacks },
): Promise<Api> {
  const { log } = services;
  await using starting = new AsyncDisposableStack();
  const feed = starting.use(await createFeed(services));
  services.metrics.read(() => services.metrics.feedLag.set(feed.lagMs() / 1000));
  const sessions = starting.use(createSessions(services.db, log));
  starting.use(followAccess(feed, sessions, log));
  const origins = createOrigins(config);
  const attempts = createAttempts();
  const graphql = createGraphQL({
    services,
    feed,
    sessions,
    authenticate: authenticator(config, sessions, admin),
    attempts,
    origins,
    introspection: config.introspection,
    local,
    indexes: createIndexCache({
      ...{ addresses: config.packIndexes, allowed: config.packSources, directory: config.installDir },
      ...{ ageMs: config.indexAgeMs, log },
    }),
  });
  const { url } = starting.use(
    await startHttp({
      services,
      host: config.host,
      port: config.port,
      origins,
      publicUrl: config.publicUrl,
      attempts,
      isStarted,
      metricsAllow: config.metricsAllow,
      graphql: (request, response, context) => graphql(request, response, context),
      attachSockets: (server) =>
        attachSockets(server, {
          yoga: graphql,
          origins,
          log,
          metrics: services.metrics,
          hideSuggestions: !config.introspection,
        }),
    }),
  );
  const started = starting.move();
  return { url, [Symbol.asyncDispose]: () => started.disposeAsync() };
}

function authenticator(
  { enableAuth }: Pick<Config, "enableAuth">,
  sessions: Sessions,
  admin: string,
): GraphQLOptions["authenticate"] {
  const everyone = openSession(admin);
  return async (credentials) => {
    if (!enableAuth) return credentials.local ? everyone : null;
    const credential = credentialOf(credentials);
    return credential === null ? null : await sessions.find(credential);
  };
}

/** Refreshes all open sessions whenever any process announces a change of tokens, roles or grants. */
function followAccess(feed: Feed, sessions: Sessions, log: Log): AsyncDisposable {
  const stopping = new AbortController();
  const filter: ChangeFilter = { channel: "access", entityId: null, matches: () => true };
  const following = (async () => {
    while (!stopping.signal.aborted) {
      try {
        for await (const _change of feed.follow(filter, null, stopping.signal)) sessions.refresh();
      } catch (error) {
        log.warn({ err: error }, "following changes of access failed; starting again");
        sessions.refresh();
      }
    }
  })();
  return {
    [Symbol.asyncDispose]: async () => {
      stopping.abort();
      await following;
    },
  };
}
