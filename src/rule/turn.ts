import { setImmediate as nextTurn } from "node:timers/promises";
import { cpuTime } from "../lang/meter.ts";

/** Work that took longer is followed by a turn of the event loop. */
const longMs = 5;

/** Runs the work; if it took long, lets requests and timers have their turn before it returns the result. */
export async function inTurn<T>(work: () => T): Promise<T> {
  const from = cpuTime();
  const result = work();
  if (cpuTime() - from > longMs) await nextTurn();
  return result;
}

/** Returns a function that tells whether the thread has used that much processor time since its first call, which returns false. */
export function createLimit(ms: number): () => boolean {
  let from: number | null = null;
  return () => {
    if (from !== null) return cpuTime() - from > ms;
    from = cpuTime();
    return false;
  };
}
