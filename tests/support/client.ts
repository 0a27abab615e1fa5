import { createClient as createSseClient } from "graphql-sse";
import { createClient as createSocketClient } from "graphql-ws";
import WebSocket from "ws";

/** One message of a subscription's root field. */
export interface Stream<T> {
  seen: T[];
  /** The error that ended the stream; null when none did. */
  error(): unknown;
  /** WebSocket: cuts the connection as a broken network does. SSE: ends the subscription. */
  drop(): void;
  ended: Promise<void>;
}

interface Connection {
  url: string;
  token: string;
}

interface Operation {
  query: string;
  variables?: Record<string, unknown>;
}

type Subscribe = <T>(server: Connection, operation: Operation) => Stream<T>;

interface Result {
  data?: unknown;
  errors?: unknown;
}

/** Collects the results of a client's `subscribe`. */
function collect<T>(
  subscribe: (sink: { next(result: Result): void; error(error: unknown): void; complete(): void }) => void,
  drop: () => void,
): Stream<T> {
  const seen: T[] = [];
  let failure: unknown = null;
  const ended = new Promise<void>((resolve) => {
    subscribe({
      next: (result) => {
        if (result.errors) failure = result.errors;
        if (result.data) seen.push(Object.values(result.data as Record<string, T>)[0] as T);
      },
      error: (error) => {
        failure = error;
        resolve();
      },
      complete: resolve,
    });
  });
  return { seen, error: () => failure, drop, ended };
}

/** Subscribes over a new WebSocket (graphql-transport-ws), with the public client. */
export const overSocket: Subscribe = <T>(server: Connection, operation: Operation) => {
  const client = createSocketClient({
    url: `${server.url.replace("http", "ws")}/graphql`,
    webSocketImpl: WebSocket,
    retryAttempts: 0,
    lazy: true,
    connectionParams: { authorization: `Bearer ${server.token}` },
  });
  return collect<T>(
    (sink) => client.subscribe(operation, sink),
    () => client.terminate(),
  );
};

/** Subscribes over server-sent events, with the public client. */
export const overEvents: Subscribe = <T>(server: Connection, operation: Operation) => {
  const client = createSseClient({
    url: `${server.url}/graphql`,
    retryAttempts: 0,
    headers: { authorization: `Bearer ${server.token}` },
  });
  return collect<T>(
    (sink) => client.subscribe(operation, sink),
    () => client.dispose(),
  );
};
