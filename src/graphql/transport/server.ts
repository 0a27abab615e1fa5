import { randomUUID } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";
import { createYoga, type YogaInitialContext } from "graphql-yoga";
import { type Attempts, createAttempts } from "../../access/attempts.ts";
import { cookieCredential } from "../../access/cookie.ts";
import { createOrigins, type Origins } from "../../access/origin.ts";
import type { Session } from "../../access/session.ts";
import type { Sessions } from "../../access/sessions.ts";
import type { LocalPacks } from "../../catalog/reload.ts";
import type { Services } from "../../db/services.ts";
import type { Feed } from "../../notifier/feed.ts";
import type { IndexCache } from "../../worker/install/index-cache.ts";
import { useDenials } from "../guards/denials.ts";
import { useLimits } from "../guards/limits.ts";
import { type LoadLimits, loadLimits, useLoadLimits } from "../guards/load.ts";
import { useMasking } from "../guards/masking.ts";
import type { Context } from "../kit/context.ts";
import { securedDb } from "../kit/secured.ts";
import { schema } from "../schema.ts";
import { cookiesOf } from "./cookies.ts";
import { type Credentials, credentialsOf } from "./credentials.ts";
import { useGraphiQL } from "./graphiql.ts";
import { useClientHabits } from "./params.ts";
import { useEventIds } from "./sse.ts";

export interface GraphQLOptions {
  services: Services;
  feed: Feed;
  sessions: Sessions;
  /** Returns the session of the credentials; null if they are not valid. */
  authenticate: (credentials: Credentials) => Promise<Session | null>;
  /** By default new. */
  attempts?: Attempts;
  /** By default only pages of this machine. */
  origins?: Origins;
  /** Whether the schema can be queried; true by default. */
  introspection?: boolean;
  /** By default 30 s and 1000 subscriptions. */
  load?: LoadLimits;
  /** The packs that this process loads from directories; by default none. */
  local?: LocalPacks;
  /** The indexes of packs; by default none. */
  indexes?: IndexCache;
}

/** The context of a socket's operation, which has no request; over HTTP only `requestId` may be set. */
export interface SocketContext {
  credentials: Credentials;
  ip: string | null;
  requestId: string;
}

/** `req` and `res` exist over HTTP. */
type Initial = YogaInitialContext & Partial<SocketContext> & { req?: IncomingMessage; res?: ServerResponse };

export type GraphQLServer = ReturnType<typeof createGraphQL>;

const maxBodyBytes = 2 * 1024 * 1024;

/** The API over HTTP: queries and mutations, subscriptions as event streams, and GraphiQL for browsers, all at `/graphql`. */
export function createGraphQL({ services, feed, sessions, authenticate, ...options }: GraphQLOptions) {
  const {
    introspection = true,
    load = loadLimits,
    attempts = createAttempts(),
    local = null,
    indexes = null,
  } = options;
  const origins =
    options.origins ?? createOrigins({ host: "127.0.0.1", hosts: [], corsOrigins: [], trustedProxies: [] });
  return createYoga<Partial<SocketContext>, Context>({
    schema,
    graphqlEndpoint: "/graphql",
    landingPage: false,
    logging: false,
    cors: false,
    multipart: false,
    maxRequestBodySize: maxBodyBytes,
    // useMasking masks all errors, with the request's id.
    maskedErrors: { maskError: (error) => error as Error },
    context: async ({ request, credentials, ip, req, res, requestId }: Initial): Promise<Context> => {
      const given = credentials ?? credentialsOf(request, origins);
      const session = await authenticate(given);
      const cookies = res ? cookiesOf(request, res, origins) : null;
      const cookie = session && sessions.wasExtended(session) ? cookieCredential(given) : null;
      if (cookie !== null) cookies?.keep(cookie);
      const reader = () => context.session;
      const context: Context = {
        services,
        db: securedDb(services.db, reader),
        written: securedDb(services.db, reader, { own: true }),
        feed,
        session,
        sessions,
        attempts,
        local,
        indexes,
        cookies,
        requestId: requestId ?? randomUUID(),
        ip: ip ?? (req ? origins.addressOf(req) : null),
        lastEventId: request?.headers.get("last-event-id") || null,
        position: feed.start().cursor,
        beginsAfter: null,
        burst: null,
        isSocket: credentials !== undefined,
      };
      return context;
    },
    plugins: [
      ...(introspection ? [useGraphiQL()] : []),
      useMasking({ log: services.log, metrics: services.metrics, hideSuggestions: !introspection }),
      useLimits({ introspection }),
      useLoadLimits(load, services.metrics),
      useDenials(),
      useEventIds(),
      useClientHabits(),
    ],
    graphiql: false,
  });
}
