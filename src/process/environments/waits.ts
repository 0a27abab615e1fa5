import type { Services } from "../../db/services.ts";

/** Fallback for wake-ups that a killed process did not send. */
const pollMs = 2000;

/** Returns a wait for the next change of environments, from the time of this call; it ends after two seconds, or when the worker stops. */
export function nextWake({ wake }: Services, stopping: AbortSignal): () => Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const unsubscribe = wake.on("environment", resolve);
  const timer = setTimeout(resolve, pollMs);
  const stop = () => resolve();
  stopping.addEventListener("abort", stop, { once: true });
  const end = promise.finally(() => {
    unsubscribe();
    clearTimeout(timer);
    stopping.removeEventListener("abort", stop);
  });
  return () => end;
}

/** Resolves with the result of the work, which goes on when the signal is aborted: then this throws the signal's reason. */
export async function orAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  const { promise, reject } = Promise.withResolvers<never>();
  const abort = () => reject(signal.reason);
  if (signal.aborted) abort();
  signal.addEventListener("abort", abort, { once: true });
  work.catch(() => {}); // it goes on, for others that wait for it
  try {
    return await Promise.race([work, promise]);
  } finally {
    signal.removeEventListener("abort", abort);
  }
}
