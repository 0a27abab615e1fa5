import { randomUUID } from "node:crypto";
import type { IncomingMessage } from "node:http";
import { createYoga, type YogaInitialContext } from "graphql-yoga";
import type { KeyedEngine } from "../access/key.ts";
import type { Session } from "../access/session.ts";
import type { Sessions } from "../access/sessions.ts";
import type { Feed } from "../notifier/feed.ts";
import type { Context } from "./context.ts";
import { type Credentials, credentialsOf } from "./credentials.ts";
import { maskError, useMasking } from "./errors.ts";
import { examples } from "./examples.ts";
import { useLimits } from "./limits.ts";
import { schema } from "./schema.ts";
import { securedDb } from "./secured.ts";
import { useEventIds } from "./sse.ts";

export interface GraphQLOptions {
  engine: KeyedEngine;
  feed: Feed;
  sessions: Sessions;
  /** Who the credentials belong to; null when to nobody. */
  authenticate: (credentials: Credentials) => Promise<Session | null>;
}

/** What a socket's operation brings instead of a request. */
export interface SocketContext {
  credentials: Credentials;
  ip: string | null;
}

/** `req` is there over HTTP. */
type Initial = YogaInitialContext & Partial<SocketContext> & { req?: IncomingMessage };

export type GraphQLServer = ReturnType<typeof createGraphQL>;

const longestBody = 2 * 1024 * 1024;

// GraphiQL 5 leaves a stale offset on the tabs that it opens with, and applies it to the one that is pressed: it jumps away
// from under the pointer, so that the first click on each tab does nothing.
const tabsInPlace = "<style>.graphiql-tab { transform: none !important; }</style>";

/** The API over HTTP: queries and mutations, subscriptions as event streams, and GraphiQL for browsers, all at `/graphql`. */
export function createGraphQL({ engine, feed, sessions, authenticate }: GraphQLOptions) {
  return createYoga<Partial<SocketContext>, Context>({
    schema,
    graphqlEndpoint: "/graphql",
    landingPage: false,
    logging: false,
    cors: false,
    multipart: false,
    maxRequestBodySize: longestBody,
    maskedErrors: { maskError: (error) => maskError(error, { requestId: randomUUID(), log: engine.log }) },
    context: async ({ request, credentials, ip, req }: Initial): Promise<Context> => {
      const session = await authenticate(credentials ?? credentialsOf(request));
      const reader = () => context.session;
      const context: Context = {
        engine,
        db: securedDb(engine.db, reader),
        written: securedDb(engine.db, reader, { own: true }),
        feed,
        session,
        sessions,
        requestId: randomUUID(),
        ip: ip ?? req?.socket.remoteAddress ?? null,
        lastEventId: request?.headers.get("last-event-id") || null,
      };
      return context;
    },
    plugins: [useMasking(), useLimits(), useEventIds()],
    renderGraphiQL: async (options) => {
      const { renderGraphiQL } = await import("@graphql-yoga/render-graphiql"); // 9 MB
      return renderGraphiQL(options).replace("<head>", `<head>${tabsInPlace}`);
    },
    graphiql: {
      title: "Attune",
      subscriptionsProtocol: "WS",
      defaultTabs: examples.map(({ query, variables }) => ({
        query,
        variables: variables ? JSON.stringify(variables, null, 2) : null,
      })),
    },
  });
}
