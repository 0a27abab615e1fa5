const longestMs = 300_000;
/** After running this long, in milliseconds, an end counts as the first one. */
const wellMs = 60_000;

/** Returns how long a sensor waits after that many ends in a row: 1, 2, 4 … 300 s when the first delay is one second. */
export const delayAfter = (failures: number, firstMs = 1000): number =>
  Math.min(longestMs, firstMs * 2 ** Math.min(failures - 1, 30));

/** Returns how many ends in a row there are with another one, after the sensor ran that long. */
export const countFailure = (failures: number, ranMs: number): number => (ranMs >= wellMs ? 1 : failures + 1);
