/** What a rule may use for one event: its conditions have such a budget, and its templates another. */
interface MeterLimits {
  /** Units of work. A step of an expression costs `unitsPerStep`, and a character that is read or made one. */
  units: number;
  /** Milliseconds of the thread's processor time: a backstop for steps that cost more than was thought. */
  cpuMs: number;
}

/** Counts the work of an evaluation. */
export interface Meter {
  /** Charges work before it is done. Throws ExhaustedError once the budget is used up, and at each later call. */
  charge(units: number): void;
  /** Whether the budget is used up. */
  isExhausted(): boolean;
}

/** The budget of an evaluation is used up. */
export class ExhaustedError extends Error {
  override readonly name = "ExhaustedError";
}

export const unitsPerStep = 16;
const usual: MeterLimits = { units: 32_000_000, cpuMs: 100 };
/** So much work takes a few milliseconds; reading the time more often would cost more than the work. With a share of the budget it is read ten times. */
const unitsPerCheck = 500_000;
/** Some systems count the processor time of a thread in steps of several milliseconds. */
const leastCpuMs = 10;

/** Returns a meter with a share of the budget of a rule, by default the whole; it measures the processor time from its first charge. */
export function createMeter(share = 1): Meter {
  const [units, cpuMs] = [Math.ceil(usual.units * share), Math.max(leastCpuMs, usual.cpuMs * share)];
  const perCheck = Math.min(unitsPerCheck, units / 10);
  let left = units;
  let unchecked = 0;
  let startedAt: number | null = null;
  // One error for all charges: a loop that catches it, as exists() does, must not take time.
  let exhausted: ExhaustedError | null = null;
  const exhaust = () => {
    exhausted = new ExhaustedError(
      `it takes too much work for one event: at most ${Math.floor(units / unitsPerStep)} steps, ${units} characters and ${Math.ceil(cpuMs)} ms${share < 1 ? ", because many rules take long" : ""}`,
    );
    return exhausted;
  };
  return {
    isExhausted: () => exhausted !== null,
    charge: (amount) => {
      if (exhausted !== null) throw exhausted;
      startedAt ??= cpuTime();
      left -= amount;
      unchecked += amount;
      if (left < 0) throw exhaust();
      if (unchecked < perCheck) return;
      unchecked = 0;
      if (cpuTime() - startedAt > cpuMs) throw exhaust();
    },
  };
}

/** Returns the processor time that this thread has used, in milliseconds. Waiting for other processes does not count. */
export function cpuTime(): number {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1000;
}
