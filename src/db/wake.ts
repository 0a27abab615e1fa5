import { randomUUID } from "node:crypto";
import { type Loop, type LoopOptions, startLoop } from "../lib/loop.ts";
import { createPace } from "../lib/pace.ts";
import type { Log } from "../log.ts";
import type { Database } from "./client.ts";
import type { Queue } from "./jobs.ts";

/** A change to announce. A topic is only a hint: its listeners read the rows. */
export type Topic =
  /** The notification log has new entries. */
  | "feed"
  /** There are new events. */
  | "event"
  /** Matches of rules wait for the decision of a window. */
  | "window"
  /** Executions are scheduled in that queue. */
  | Queue
  /** An action has a queue that it may not have had. */
  | "queues"
  /** Executions are to be cancelled. */
  | "cancel"
  /** Timers have changed. */
  | "timer"
  /** An execution waits for a time, or its group for the rate of its policy. */
  | "admission"
  /** An inquiry with a time-out was created. */
  | "inquiry"
  /** Environments of packs are to be built, or are built. */
  | "environment"
  /** A worker was cordoned or uncordoned. */
  | "worker"
  /** What sensors depend on has changed: rules, triggers, sensors or packs. */
  | "sensor"
  /** The sensor with that id has written output. */
  | `sensor-log:${string}`
  /** The execution with that id has written output or has ended. */
  | `log:${string}`;

/** Wakes the parts of all processes after changes. */
export interface Wake extends AsyncDisposable {
  /** Wakes the listeners of this process at once and those of other processes soon. Call it after the commit, never inside a transaction. */
  announce(topics: Iterable<Topic>): void;
  /** Calls back whenever any process announces the topic; returns the function that unsubscribes. */
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

const pace = { everyMs: 6, burst: 8 };
/** Postgres refuses payloads of 8,000 bytes; for longer ones, `*` announces all topics. */
const longestPayload = 7000;

/**
 * Starts the wake-ups of this process. A NOTIFY inside a transaction takes a cluster-wide lock, so topics are sent together outside of
 * one: at once after a pause, every few milliseconds under load. Polls find the changes that a killed process did not announce.
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
  const turn = createPace(pace);
  const send = async () => {
    while (pending.size > 0) {
      await turn();
      if (closed) break;
      const topics = [...pending].join(",");
      pending.clear();
      await database.notify(`${own} ${topics.length > longestPayload ? "*" : topics}`).catch((error: unknown) => {
        log.warn({ err: error }, "announcing a change failed; the other processes' polls will find it");
      });
    }
    sending = null;
  };
  await database.listen((payload) => {
    const [sender, topics = "*"] = (payload ?? "").split(" ");
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
