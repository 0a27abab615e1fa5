import type { WebSocket } from "ws";
import type { Context } from "../kit/context.ts";

/** A connection of graphql-ws: its operations that are not complete yet, by id, and its socket. */
interface Connection {
  subscriptions: Readonly<Record<string, unknown>>;
  extra: { socket: WebSocket };
}

/** What the protocol calls it when the credentials do not hold. */
const forbidden = [4403, "Forbidden"] as const;
/** How long the operations of a session that is over may take to say so. */
const graceMs = 500;

/** Closes the sockets whose session is over: as soon as their streams have told so, or a moment later. */
export interface SocketSessions {
  /** The connection works for this context's session. */
  follow(connection: Connection, context: Context): void;
  /** The operation is about to be told complete. */
  completed(connection: Connection, id: string): void;
  /** The connection is gone. */
  forget(connection: Connection): void;
}

/** Sessions of sockets. */
export function createSocketSessions(): SocketSessions {
  const followed = new Map<WebSocket, () => void>();
  const over = new Map<WebSocket, NodeJS.Timeout>();

  function end({ subscriptions, extra: { socket } }: Connection): void {
    const close = () => socket.close(...forbidden);
    if (Object.keys(subscriptions).length === 0) close();
    else over.set(socket, setTimeout(close, graceMs));
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
      if (!over.has(socket) || Object.keys(subscriptions).some((other) => other !== id)) return;
      setImmediate(() => socket.close(...forbidden)); // behind the message that says complete
    },
    forget: ({ extra: { socket } }) => {
      followed.get(socket)?.();
      followed.delete(socket);
      clearTimeout(over.get(socket));
      over.delete(socket);
    },
  };
}
