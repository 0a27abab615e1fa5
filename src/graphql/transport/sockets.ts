import { randomUUID } from "node:crypto";
import type { IncomingMessage, Server } from "node:http";
import { type ExecutionArgs, GraphQLError } from "graphql";
import { useServer } from "graphql-ws/use/ws";
import { WebSocketServer } from "ws";
import { notOurHost, type Origins } from "../../access/origin.ts";
import { exactNumbers } from "../../lib/json-text.ts";
import type { Metrics } from "../../metrics.ts";
import { rateLimited } from "../guards/load.ts";
import { type ErrorScope, maskError } from "../guards/masking.ts";
import { socketCredentials } from "./credentials.ts";
import type { GraphQLServer } from "./server.ts";
import { createSocketPlaces, type PlaceLimits } from "./socket-places.ts";
import { createSocketSessions } from "./socket-session.ts";

const maxMessageBytes = 2 * 1024 * 1024;
const maxOperations = 100;

interface SocketOptions extends Omit<ErrorScope, "requestId"> {
  yoga: GraphQLServer;
  origins: Origins;
  metrics: Metrics;
  /** By default `placeLimits`. */
  places?: PlaceLimits;
}

/**
 * Accepts sockets at `/graphql` (`graphql-transport-ws`) and runs their operations like those over HTTP, with the credentials
 * of the connection, which closes when they become invalid. Upgrades from untrusted origins are refused. Disposing the result
 * closes all sockets.
 */
export function attachSockets(
  server: Server,
  { yoga, origins, metrics, places: limits, ...scope }: SocketOptions,
): AsyncDisposable {
  const places = createSocketPlaces(limits);
  const sockets = new WebSocketServer({ noServer: true, maxPayload: maxMessageBytes });
  const sessions = createSocketSessions();
  const protocol = useServer(
    {
      // If hundreds of clients connect at once, initialising a connection can take long.
      connectionInitWaitTimeout: 15_000,
      jsonMessageReviver: exactNumbers,
      // Yoga's functions, with its plugins, are attached to each operation.
      execute: (args) => prepared(args).execute(args),
      subscribe: (args) => prepared(args).subscribe(args),
      onComplete: (connection, id) => sessions.completed(connection, id),
      onClose: (connection) => sessions.forget(connection),
      onSubscribe: async (connection, _id, params) => {
        const { connectionParams, extra, subscriptions } = connection;
        const requestId = randomUUID();
        const refusal = (errors: readonly unknown[]) =>
          errors.map((error) => socketError(error, { ...scope, requestId }));
        if (Object.keys(subscriptions).length > maxOperations) {
          return refusal([rateLimited("operations of one socket", maxOperations)]);
        }
        const credentials = socketCredentials(extra.request, connectionParams, origins);
        const { schema, execute, subscribe, contextFactory, parse, validate } = yoga.getEnveloped({
          credentials,
          ip: origins.addressOf(extra.request),
          requestId,
          params,
        });
        try {
          const document = parse(params.query);
          const errors = validate(schema, document);
          if (errors.length > 0) return refusal(errors);
          const contextValue = await contextFactory();
          sessions.follow(connection, contextValue);
          if (contextValue.session !== null) places.keep(extra.socket);
          return {
            schema,
            document,
            operationName: params.operationName || undefined,
            variableValues: params.variables,
            contextValue,
            rootValue: { execute, subscribe },
          };
        } catch (error) {
          return refusal([error]);
        }
      },
    },
    sockets,
  );
  server.on("upgrade", (request, socket, head) => {
    const address = origins.addressOf(request) ?? "";
    const refused =
      upgradeRefusal(request, origins) ??
      (places.makeRoom(address) ? null : (["503 Service Unavailable", "Too many sockets are open.\n"] as const));
    if (refused) {
      const [status, reason] = refused;
      const length = `Content-Type: text/plain\r\nContent-Length: ${Buffer.byteLength(reason)}`;
      socket.end(`HTTP/1.1 ${status}\r\nConnection: close\r\n${length}\r\n\r\n${reason}`);
      return;
    }
    sockets.handleUpgrade(request, socket, head, (opened) => {
      places.add(opened, address);
      metrics.sockets.inc();
      opened.once("close", () => metrics.sockets.dec());
      sockets.emit("connection", opened, request);
    });
  });
  return {
    [Symbol.asyncDispose]: async () => {
      places[Symbol.dispose]();
      await protocol.dispose();
    },
  };
}

/** Returns the status and reason of a refused upgrade; null if it is accepted. Browsers always send an origin, programs do not. */
function upgradeRefusal({ url = "", headers: { host, origin } }: IncomingMessage, origins: Origins) {
  if (!/^\/graphql\/?(\?|$)/.test(url)) return ["404 Not Found", "Sockets are at /graphql.\n"] as const;
  if (!origins.isOurHost(host ?? null)) return ["421 Misdirected Request", `${notOurHost}\n`] as const;
  if (origin === undefined || origins.isTrusted(origin, host ?? null)) return null;
  return ["403 Forbidden", "Sockets of this origin are refused: add it to ATTUNE__SERVER__CORS_ORIGINS.\n"] as const;
}

/** Returns the error for a message of the protocol, without its HTTP status. */
function socketError(error: unknown, scope: ErrorScope): GraphQLError {
  const masked = maskError(error, scope);
  const { http: _status, ...extensions } = masked.extensions;
  const { message, nodes, source, positions, path } = masked;
  return new GraphQLError(message, { nodes, source, positions, path, extensions });
}

type Runners = Pick<ReturnType<GraphQLServer["getEnveloped"]>, "execute" | "subscribe">;

function prepared(args: ExecutionArgs): Runners {
  return args.rootValue as Runners; // set by onSubscribe
}
