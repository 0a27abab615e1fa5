/** Passes that follow one another. Disposing it lets no further pass begin and waits for the one in flight. */
export interface Loop extends AsyncDisposable {
  /** Runs a pass soon: at once when idle, else right after the pass in flight. */
  wake(): void;
}

export interface LoopOptions {
  /** One pass; returns in how many milliseconds the next is due at the latest (0: more work is waiting). */
  pass: (signal: AbortSignal) => Promise<number>;
  /** Called with what a pass threw; the next follows after a growing delay of at most 5 s. */
  failed: (error: unknown) => void;
}

/** Runs passes one after another: when woken, when the last one said so, and again after a failure. */
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

/** A sleep that others can end. Call `arm` before looking for work, so that a wake-up in between is not missed. */
export interface Rest {
  arm(): void;
  /** Resolves after `ms` milliseconds, or at once when `end` was called since `arm`, or as soon as it is. */
  sleep(ms: number): Promise<void>;
  end(): void;
}

/** Returns a Rest. It uses plain callbacks: a new AbortSignal for each wake-up would be the largest part of an event's cost in this process. */
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
