import { z } from "zod";
import { retryable } from "../execution/states.ts";

/** The longest time-out of an execution, and the longest delay of a retry, in seconds: 30 days. */
export const LONGEST_TIMEOUT = 30 * 24 * 60 * 60;

const seconds = z.number().nonnegative().max(LONGEST_TIMEOUT);

/**
 * When and how often an execution that did not complete is retried. The delays are seconds; `jitter` is the share of a delay that is random, from 0
 * to 1.
 */
export const retryPolicy = z.strictObject({
  max: z.int().min(1).max(100),
  delay: seconds.default(0),
  backoff: z.enum(["constant", "linear", "exponential"]).default("constant"),
  max_delay: seconds.nullable().default(null),
  jitter: z.number().min(0).max(1).default(0),
  on: z
    .array(z.enum(retryable))
    .min(1)
    .default([...retryable]),
});
export type RetryPolicy = z.infer<typeof retryPolicy>;

/** The same as users of the API give it. */
export interface RetryInput {
  max: number;
  delay?: number | null;
  backoff?: RetryPolicy["backoff"] | null;
  maxDelay?: number | null;
  jitter?: number | null;
  on?: RetryPolicy["on"] | null;
}

const { max_delay, ...sameNames } = retryPolicy.shape;
/** Accepts a RetryInput and returns it as it is stored. */
export const retryInput = z.preprocess(
  (given) =>
    typeof given === "object" && given !== null
      ? Object.fromEntries(Object.entries(given).filter(([, value]) => value !== null))
      : given,
  z
    .strictObject({ ...sameNames, maxDelay: max_delay })
    .transform(({ maxDelay, ...rest }): RetryPolicy => ({ ...rest, max_delay: maxDelay })),
);
