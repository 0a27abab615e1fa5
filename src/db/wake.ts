import { randomUUID } from "node:crypto";
import { type Loop, type LoopOptions, startLoop } from "../lib/loop.ts";
import type { Log } from "../log.ts";
import type { Database } from "./client.ts";

/** What has changed. A topic is only a hint: its listeners read the rows. */
export type Topic =
  /** The notification log has new entries. */
  | "feed"
  /** There are new event jobs. */
  | "event"
  /** Executions are scheduled in the runtime with that ref. */
  | `execution:${string}`
  /** Executions are to be cancelled. */
  | "cancel"
  /** Timers have changed. */
  | "timer"
  /** An inquiry with a time-out was created. */
  | "inquiry"
  /** A worker was cordoned or uncordoned. */
  | "worker"
  /** The execution with that id has written output, or has ended. */
  | `log:${string}`;

/** Wake-ups between the parts of all processes. */
export interface Wake extends AsyncDisposable {
  /** Wakes the listeners of this process at once and those of the others soon. Call it after the commit, never inside a transaction. */
  announce(topics: Iterable<Topic>): void;
  /** Calls back whenever the topic is announced, by any process; returns the function that stops it. */
  on(topic: Topic, callback: () => void): () => void;
}

/** Starts a loop that is also woken by the topic. */
export function startWokenLoop(wake: Wake, topic: Topic, options: LoopOptions): Loop {
  const loop = startLoop(options);
  const unsubscribe = wake.on(topic, () => loop.wake());
  return {
    wake: loop.wake,
    [Symbol.asyncDispose]: async () => {
      unsubscribe();
      await loop[Symbol.asyncDispose]();
    },
  };
}

const spacingMs = 5;
/** Postgres refuses a payload of 8,000 bytes; beyond this everything is announced as `*`. */
const longestPayload = 7000;

/**
 * A NOTIFY inside a transaction takes a cluster-wide lock, so none is sent there: what was announced since the last one
 * goes out together, at most every 5 ms, on its own connection. What a killed process did not announce, the polls find.
 */
export async function createWake(database: Database, log: Log): Promise<Wake> {
  const callbacks = new Map<string, Set<() => void>>(); // by topic; other processes may announce topics unknown here
  const call = (topic: string) => {
    for (const callback of callbacks.get(topic) ?? []) callback();
  };
  const own = randomUUID();
  const pending = new Set<Topic>();
  let sending: Promise<void> | null = null;
  let closed = false;
  const send = async () => {
    while (pending.size > 0 && !closed) {
      const topics = [...pending].join(",");
      pending.clear();
      await database.notify(`${own} ${topics.length > longestPayload ? "*" : topics}`).catch((error: unknown) => {
        log.warn({ err: error }, "announcing a change failed; the other processes' polls will find it");
      });
      await new Promise((resolve) => setTimeout(resolve, spacingMs));
    }
    sending = null;
  };
  await database.listen((payload) => {
    const [sender, topics = "*"] = payload.split(" ");
    if (sender === own) return; // its listeners were called at once
    for (const topic of topics === "*" ? [...callbacks.keys()] : topics.split(",")) call(topic);
  });
  return {
    announce: (topics) => {
      for (const topic of topics) {
        call(topic);
        pending.add(topic);
      }
      if (database.kind === "pglite") pending.clear();
      else sending ??= send();
    },
    on: (topic, callback) => {
      const set = callbacks.get(topic) ?? new Set();
      callbacks.set(topic, set.add(callback));
      return () => {
        set.delete(callback);
        if (set.size === 0) callbacks.delete(topic);
      };
    },
    [Symbol.asyncDispose]: async () => {
      closed = true;
      await sending;
    },
  };
}
