import type { Server } from "node:http";
import { type ExecutionArgs, GraphQLError } from "graphql";
import { useServer } from "graphql-ws/use/ws";
import { WebSocketServer } from "ws";
import { socketCredentials } from "./credentials.ts";
import type { GraphQLServer } from "./server.ts";

const longestMessage = 2 * 1024 * 1024;

/**
 * Takes the sockets of the server at `/graphql` (`graphql-transport-ws`) and runs their operations as those over HTTP, each
 * with the credentials of its connection. Answers the way to close them all.
 */
export function attachSockets(server: Server, yoga: GraphQLServer): () => Promise<void> {
  const sockets = new WebSocketServer({ noServer: true, maxPayload: longestMessage });
  const protocol = useServer(
    {
      // A client among hundreds that connect at once may need a while to say hello.
      connectionInitWaitTimeout: 15_000,
      // Both come with the operation from Yoga: masked, limited, with its context.
      execute: (args) => prepared(args).execute(args),
      subscribe: (args) => prepared(args).subscribe(args),
      onSubscribe: async ({ connectionParams, extra }, _id, params) => {
        const credentials = socketCredentials(extra.request, connectionParams);
        const { schema, execute, subscribe, contextFactory, parse, validate } = yoga.getEnveloped({
          credentials,
          ip: extra.request.socket.remoteAddress ?? null,
          params,
        });
        try {
          const document = parse(params.query);
          const errors = validate(schema, document);
          if (errors.length > 0) return errors;
          return {
            schema,
            document,
            operationName: params.operationName,
            variableValues: params.variables,
            contextValue: await contextFactory(),
            rootValue: { execute, subscribe },
          };
        } catch (error) {
          if (error instanceof GraphQLError) return [error];
          throw error;
        }
      },
    },
    sockets,
  );
  server.on("upgrade", (request, socket, head) => {
    const path = (request.url ?? "").split("?", 1)[0];
    if (path !== "/graphql") {
      socket.end("HTTP/1.1 404 Not Found\r\nConnection: close\r\n\r\n");
      return;
    }
    sockets.handleUpgrade(request, socket, head, (opened) => sockets.emit("connection", opened, request));
  });
  return async () => {
    await protocol.dispose();
  };
}

type Runners = Pick<ReturnType<GraphQLServer["getEnveloped"]>, "execute" | "subscribe">;

function prepared(args: ExecutionArgs): Runners {
  return args.rootValue as Runners; // put there by onSubscribe
}
