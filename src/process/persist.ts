import { setTimeout as sleep } from "node:timers/promises";
import { isFinal } from "../db/final.ts";
import type { Log } from "../log.ts";

const longestPauseMs = 2000;

/** Calls `store` until it succeeds, and returns its result. Throws an error that the data causes, and after `stop` every error. */
export type Persist = <T>(store: () => Promise<T>) => Promise<T>;

/** Keeps what processes produced until the database stores it, however long that takes. */
export interface Persistence {
  persist: Persist;
  /** Returns whether something is kept that the database has not stored at the first try. */
  isWaiting(): boolean;
  /** Ends the pauses: from now on nothing is tried again. */
  stop(): void;
}

/** Creates a persistence. It logs `waits` when something waits for the database, and calls `stored` when nothing does any longer. */
export function createPersistence(log: Log, waits: string, stored: () => void = () => {}): Persistence {
  const stopping = new AbortController();
  let waiting = 0;

  async function retry<T>(store: () => Promise<T>, cause: unknown): Promise<T> {
    let error = cause;
    for (let tries = 1; !stopping.signal.aborted && !isFinal(error); tries += 1) {
      await sleep(Math.min(100 * 2 ** tries, longestPauseMs), undefined, { signal: stopping.signal }).catch(() => {});
      try {
        return await store();
      } catch (thrown) {
        error = thrown;
      }
    }
    throw error;
  }

  return {
    persist: async (store) => {
      try {
        return await store();
      } catch (error) {
        if (isFinal(error)) throw error;
        if (waiting === 0) log.warn({ err: error }, waits);
        waiting += 1;
        try {
          return await retry(store, error);
        } finally {
          waiting -= 1;
          if (waiting === 0) stored();
        }
      }
    },
    isWaiting: () => waiting > 0,
    stop: () => stopping.abort(),
  };
}
