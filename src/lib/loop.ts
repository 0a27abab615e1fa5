/** A loop of passes. Disposing it starts no further pass and waits for the current one. */
export interface Loop extends AsyncDisposable {
  /** Runs a pass at once when idle, else right after the current one. */
  wake(): void;
}

export interface LoopOptions {
  /** Runs one pass; returns the milliseconds after which the next is due at the latest (0: there is more work). */
  pass: (signal: AbortSignal) => Promise<number>;
  /** Called with the error of a pass; the next follows after an increasing delay of at most 5 s. */
  failed: (error: unknown) => void;
}

/** Starts a loop that runs a pass when woken, when the previous pass's delay is over, and again after a failure. */
export function startLoop({ pass, failed }: LoopOptions): Loop {
  const stopping = new AbortController();
  const rest = createRest();
  async function run(): Promise<void> {
    let failures = 0;
    while (!stopping.signal.aborted) {
      rest.arm();
      let wait: number;
      try {
        wait = await pass(stopping.signal);
        failures = 0;
      } catch (error) {
        if (stopping.signal.aborted) return;
        failed(error);
        failures += 1;
        rest.arm(); // a wake-up must not turn a lasting failure into a busy loop
        wait = Math.min(5000, 50 * 2 ** failures);
      }
      if (wait > 0) await rest.sleep(wait);
    }
  }
  const running = run();
  return {
    wake: rest.end,
    [Symbol.asyncDispose]: async () => {
      stopping.abort();
      rest.end();
      await running;
    },
  };
}

/** An interruptible sleep. Call `arm` before looking for work, so that a wake-up in between is not missed. */
export interface Rest {
  arm(): void;
  /** Resolves after `ms` milliseconds, or when `end` is called; at once if it was called since `arm`. */
  sleep(ms: number): Promise<void>;
  end(): void;
}

/** Returns a Rest. It uses callbacks, because a new AbortSignal for each wake-up would be the largest part of an event's cost. */
export function createRest(): Rest {
  let ended = false;
  let wake: () => void = () => {};
  return {
    arm: () => {
      ended = false;
    },
    sleep: (ms) =>
      new Promise((resolve) => {
        if (ended) return resolve();
        const timer = setTimeout(resolve, ms);
        wake = () => {
          clearTimeout(timer);
          resolve();
        };
      }),
    end: () => {
      ended = true;
      wake();
    },
  };
}
