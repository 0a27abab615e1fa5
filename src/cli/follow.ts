import { setTimeout as sleep } from "node:timers/promises";
import { createClient } from "graphql-ws/client";
import { failureOf } from "./client.ts";
import type { Connection } from "./connection.ts";
import { Failure } from "./failure.ts";

/** A message of a subscription. */
export interface Message {
  cursor: string;
}

interface ApiErrors {
  message: string;
  extensions?: { code?: string };
}

/** What to subscribe to. The document takes `$after`, and its message selects `cursor`. */
export interface Subscription {
  document: string;
  variables: Record<string, unknown>;
  /** Messages begin after this cursor. */
  after: string | null;
}

/** How often an idle connection is tried, and how long the server may take to respond to that. */
const pingMs = 10_000;
const pongMs = 5_000;
const longestWaitMs = 10_000;

/**
 * Yields the messages of a subscription until it completes. A broken connection is opened again, and continues after the last message;
 * `onBreak` hears of each one. Throws Failure when the server ends the stream with an error, and the signal's reason when aborted.
 */
export async function* follow<T extends Message>(
  connection: Connection,
  { document, variables, after }: Subscription,
  { signal, onBreak }: { signal: AbortSignal; onBreak: (reason: string) => void },
): AsyncGenerator<T> {
  let last = after;
  for (let wait = 100; ; wait = Math.min(2 * wait, longestWaitMs)) {
    const client = openSocket(connection);
    const end = () => client.terminate();
    signal.addEventListener("abort", end);
    try {
      signal.throwIfAborted();
      const results = client.iterate<Record<string, T>>({ query: document, variables: { ...variables, after: last } });
      for await (const { data, errors } of results) {
        if (errors?.[0]) throw failureOf(errors[0] as ApiErrors, connection);
        const [message] = Object.values(data ?? {});
        if (!message) continue;
        yield message;
        last = message.cursor;
        wait = 100;
      }
      signal.throwIfAborted(); // a terminated client completes
      return;
    } catch (error) {
      signal.throwIfAborted();
      onBreak(reasonOf(error, connection));
    } finally {
      signal.removeEventListener("abort", end);
      await client.dispose();
    }
    await sleep(wait, undefined, { signal });
  }
}

/** Opens a client that notices a network that has gone silent. */
function openSocket({ url, token }: Connection) {
  let silence: NodeJS.Timeout | undefined;
  const client = createClient({
    url: `${url.replace(/^http/, "ws")}/graphql`,
    retryAttempts: 0,
    connectionAckWaitTimeout: pingMs,
    keepAlive: pingMs,
    ...(token === null ? {} : { connectionParams: { authorization: `Bearer ${token}` } }),
    on: {
      ping: (received) => {
        if (!received) silence = setTimeout(() => client.terminate(), pongMs);
      },
      pong: () => clearTimeout(silence),
      closed: () => clearTimeout(silence),
    },
  });
  return client;
}

/** Returns why the connection broke; throws when another attempt would end in the same way. */
function reasonOf(error: unknown, connection: Connection): string {
  const failure = Array.isArray(error) ? failureOf(error[0], connection) : error;
  if (failure instanceof Failure) {
    if (passing.has(failure.code ?? "")) return failure.message;
    throw failure;
  }
  const { code, reason, message } = error as { code?: number; reason?: string; message?: string };
  if (code === undefined) return message || "the network failed";
  if (code === 4499) return "it was silent"; // this client has ended it
  if (code < 4400 || code > 4499) return reason || `closed with ${code}`;
  throw failureOf(
    { message: reason ?? `closed with ${code}`, extensions: { code: closeCodes[code] ?? "" } },
    connection,
  );
}

/** The errors after which a stream can go on at once. */
const passing: ReadonlySet<string> = new Set(["LAGGED", "UNAVAILABLE"]);

const closeCodes: Readonly<Record<number, string>> = { 4401: "UNAUTHENTICATED", 4403: "UNAUTHENTICATED" };
