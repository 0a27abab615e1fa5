import { LONGEST_TIMER } from "../lib/timer.ts";

/** The time that an action may take, counted in the worker. */
export interface Deadline extends Disposable {
  /** Aborted when the time is over. */
  signal: AbortSignal;
  /** Stops the clock while the action waits for something that is no part of it; when every pause is over, its whole time begins anew. */
  pause(): Disposable;
}

/** Returns a deadline whose time begins now. */
export function startDeadline(timeoutMs: number): Deadline {
  const late = new AbortController();
  let pauses = 0;
  let timer: NodeJS.Timeout | undefined;
  const begin = () => {
    timer = setTimeout(() => late.abort(), Math.min(timeoutMs, LONGEST_TIMER));
  };
  begin();
  return {
    signal: late.signal,
    pause: () => {
      clearTimeout(timer);
      pauses += 1;
      return {
        [Symbol.dispose]: () => {
          pauses -= 1;
          if (pauses === 0) begin();
        },
      };
    },
    [Symbol.dispose]: () => {
      pauses = Number.NaN; // what still waits begins no clock
      clearTimeout(timer);
    },
  };
}
