import { randomUUID } from "node:crypto";
import type { IncomingMessage, Server } from "node:http";
import { type ExecutionArgs, GraphQLError } from "graphql";
import { useServer } from "graphql-ws/use/ws";
import { WebSocketServer } from "ws";
import { notOurHost, type Origins } from "../../access/origin.ts";
import { rateLimited } from "../guards/load.ts";
import { type ErrorScope, maskError } from "../guards/masking.ts";
import { socketCredentials } from "./credentials.ts";
import type { GraphQLServer } from "./server.ts";
import { createSocketSessions } from "./socket-session.ts";

const longestMessage = 2 * 1024 * 1024;
const mostOperations = 100;
const mostSockets = 10_000;

interface SocketOptions extends Omit<ErrorScope, "requestId"> {
  yoga: GraphQLServer;
  origins: Origins;
}

/**
 * Takes the sockets of the server at `/graphql` (`graphql-transport-ws`) and runs their operations as those over HTTP, each
 * with the credentials of its connection, which closes when they hold no more. Pages of origins that are not trusted get none.
 * Disposing the result closes them all.
 */
export function attachSockets(server: Server, { yoga, origins, ...scope }: SocketOptions): AsyncDisposable {
  const sockets = new WebSocketServer({ noServer: true, maxPayload: longestMessage });
  const sessions = createSocketSessions();
  const protocol = useServer(
    {
      // A client among hundreds that connect at once may need a while to say hello.
      connectionInitWaitTimeout: 15_000,
      // Both come with the operation from Yoga: masked, limited, with its context.
      execute: (args) => prepared(args).execute(args),
      subscribe: (args) => prepared(args).subscribe(args),
      onComplete: (connection, id) => sessions.completed(connection, id),
      onClose: (connection) => sessions.forget(connection),
      onSubscribe: async (connection, _id, params) => {
        const { connectionParams, extra, subscriptions } = connection;
        const requestId = randomUUID();
        const refusal = (errors: readonly unknown[]) => errors.map((error) => told(error, { ...scope, requestId }));
        if (Object.keys(subscriptions).length > mostOperations) {
          return refusal([rateLimited("operations of one socket", mostOperations)]);
        }
        const credentials = socketCredentials(extra.request, connectionParams, origins);
        const { schema, execute, subscribe, contextFactory, parse, validate } = yoga.getEnveloped({
          credentials,
          ip: extra.request.socket.remoteAddress ?? null,
          requestId,
          params,
        });
        try {
          const document = parse(params.query);
          const errors = validate(schema, document);
          if (errors.length > 0) return refusal(errors);
          const contextValue = await contextFactory();
          sessions.follow(connection, contextValue);
          return {
            schema,
            document,
            operationName: params.operationName,
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
    const full = sockets.clients.size >= mostSockets;
    const refused = full
      ? (["503 Service Unavailable", "Too many sockets are open.\n"] as const)
      : refuse(request, origins);
    if (refused) {
      const [status, reason] = refused;
      const length = `Content-Type: text/plain\r\nContent-Length: ${Buffer.byteLength(reason)}`;
      socket.end(`HTTP/1.1 ${status}\r\nConnection: close\r\n${length}\r\n\r\n${reason}`);
      return;
    }
    sockets.handleUpgrade(request, socket, head, (opened) => sockets.emit("connection", opened, request));
  });
  return {
    [Symbol.asyncDispose]: async () => {
      await protocol.dispose();
    },
  };
}

/** The status and reason of an upgrade that is refused; null when it is not. Programs send no origin, browsers always do. */
function refuse({ url = "", headers: { host, origin } }: IncomingMessage, origins: Origins) {
  if (url.split("?", 1)[0] !== "/graphql") return ["404 Not Found", "Sockets are at /graphql.\n"] as const;
  if (!origins.isOurHost(host ?? null)) return ["421 Misdirected Request", `${notOurHost}\n`] as const;
  if (origin === undefined || origins.isTrusted(origin, host ?? null)) return null;
  return ["403 Forbidden", "Pages of that origin get no socket: list it in ATTUNE__SERVER__CORS_ORIGINS.\n"] as const;
}

/** The error as a message of the protocol has it: what it meant for an HTTP answer is left out. */
function told(error: unknown, scope: ErrorScope): GraphQLError {
  const masked = maskError(error, scope);
  const { http: _status, ...extensions } = masked.extensions;
  const { message, nodes, source, positions, path } = masked;
  return new GraphQLError(message, { nodes, source, positions, path, extensions });
}

type Runners = Pick<ReturnType<GraphQLServer["getEnveloped"]>, "execute" | "subscribe">;

function prepared(args: ExecutionArgs): Runners {
  return args.rootValue as Runners; // put there by onSubscribe
}
