import type { WebSocket } from "ws";
import type { Context } from "../kit/context.ts";

/** A connection of graphql-ws: its open operations, by id, and its socket. */
interface Connection {
  subscriptions: Readonly<Record<string, unknown>>;
  extra: { socket: WebSocket };
}

/** The close code and reason of the protocol for invalid credentials. */
const forbidden = [4403, "Forbidden"] as const;
/** How long the operations of an ended session may take to send their error. */
const graceMs = 500;

/** Closes the sockets of ended sessions when their streams have sent the error, at the latest after `graceMs`. */
export interface SocketSessions {
  /** Watches the context's session for the connection. */
  follow(connection: Connection, context: Context): void;
  /** Call it when an operation is about to complete. */
  completed(connection: Connection, id: string): void;
  /** Call it when the connection is closed. */
  forget(connection: Connection): void;
}

/** Creates the registry of the sessions of sockets. */
export function createSocketSessions(): SocketSessions {
  const followed = new Map<WebSocket, () => void>();
  const ending = new Map<WebSocket, NodeJS.Timeout>();

  function end({ subscriptions, extra: { socket } }: Connection): void {
    const close = () => socket.close(...forbidden);
    if (Object.keys(subscriptions).length === 0) close();
    else ending.set(socket, setTimeout(close, graceMs));
  }

  return {
    follow: (connection, { session, sessions }) => {
      const { socket } = connection.extra;
      if (session === null || followed.has(socket) || socket.readyState !== socket.OPEN) return;
      const unwatch = sessions.watch(session, (now) => {
        if (now === null) end(connection);
      });
      followed.set(socket, unwatch);
    },
    completed: ({ subscriptions, extra: { socket } }, id) => {
      if (!ending.has(socket) || Object.keys(subscriptions).some((other) => other !== id)) return;
      setImmediate(() => socket.close(...forbidden)); // after the complete message
    },
    forget: ({ extra: { socket } }) => {
      followed.get(socket)?.();
      followed.delete(socket);
      clearTimeout(ending.get(socket));
      ending.delete(socket);
    },
  };
}
