import { url as debuggerUrl } from "node:inspector";
import { Worker } from "node:worker_threads";
import { moduleEnding } from "./program.ts";

/** What the watching thread gets. */
export interface WatchdogData {
  /** Counts the beats of the watched thread. */
  beats: Int32Array;
  limitSeconds: number;
  /** Written to standard error before the process is killed. */
  message: string;
}

const beatMs = 500;

/**
 * Kills the process when this thread has been busy with one thing for `limitSeconds`, because nothing in it could end that: an embedded
 * database that cannot go on spins. Nothing is lost by it; whatever supervises the process starts it again. A process that is stopped, or
 * has a debugger, is not busy.
 */
export function startWatchdog({ limitSeconds, message }: Omit<WatchdogData, "beats">): Disposable {
  const beats = new Int32Array(new SharedArrayBuffer(4));
  const data: WatchdogData = { beats, limitSeconds, message };
  const timer = setInterval(() => {
    if (debuggerUrl() === undefined) Atomics.add(beats, 0, 1);
    else Atomics.store(beats, 0, -1);
  }, beatMs).unref();
  const watching = new Worker(new URL(`./watchdog-thread${moduleEnding}`, import.meta.url), {
    workerData: data,
    execArgv: [],
  });
  watching.unref();
  return {
    [Symbol.dispose]: () => {
      clearInterval(timer);
      Atomics.store(beats, 0, -1);
      void watching.terminate();
    },
  };
}
