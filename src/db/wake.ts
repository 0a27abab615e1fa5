import { randomUUID } from "node:crypto";
import { type Loop, type LoopOptions, startLoop } from "../lib/loop.ts";
import type { Log } from "../log.ts";
import type { Database } from "./client.ts";

/**
 * Topics are hints of what to look at; whoever is woken reads the rows. `feed`: the notification log; `event`: event jobs;
 * `execution:<runtime>`: scheduled executions; `cancel`: cancel requests; `timer`: timers; `inquiry`: inquiries that
 * may expire; `log:<id>`: an execution's log.
 */
export interface Wake extends AsyncDisposable {
  /** Tells this process at once and the others soon; call it after the commit, never inside a transaction. */
  announce(topics: Iterable<string>): void;
  /** Calls back whenever the topic is announced here or elsewhere; returns the way to stop it. */
  on(topic: string, callback: () => void): () => void;
}

/** Starts a loop that is also woken by the topic. */
export function startWokenLoop(wake: Wake, topic: string, options: LoopOptions): Loop {
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
  const callbacks = new Map<string, Set<() => void>>();
  const call = (topic: string) => {
    for (const callback of callbacks.get(topic) ?? []) callback();
  };
  const own = randomUUID();
  const pending = new Set<string>();
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
    if (sender === own) return; // this process was told at once
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
