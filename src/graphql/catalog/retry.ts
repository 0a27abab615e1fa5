import type { RetryPolicy as Stored } from "../../catalog/retry.ts";
import { builder } from "../kit/builder.ts";
import { Backoff, RetryableStatus } from "../kit/enums.ts";

/** When and how often an execution is retried. */
export const RetryInput = builder.inputType("RetryInput", {
  description:
    "When and how often an execution that does not complete is retried. Each try is an execution of its own.",
  fields: (t) => ({
    max: t.int({ required: true, description: "How many times it is retried, from 1 to 100." }),
    delay: t.float({ description: "The time before the first retry, in seconds; 0 by default." }),
    backoff: t.field({ type: Backoff, description: "How the delay grows; CONSTANT by default." }),
    maxDelay: t.float({ description: "The longest delay, in seconds; 30 days by default." }),
    jitter: t.float({ description: "The share of each delay that is random, from 0 to 1; 0 by default." }),
    on: t.field({
      type: [RetryableStatus],
      description: "The final statuses after which it is retried; FAILED, TIMEOUT and ABANDONED by default.",
    }),
  }),
});

/** The same as it is stored. */
export const RetryPolicy = builder.objectRef<Stored>("RetryPolicy").implement({
  description: "When and how often an execution that does not complete is retried.",
  fields: (t) => ({
    max: t.exposeInt("max", { description: "How many times it is retried." }),
    delay: t.exposeFloat("delay", { description: "The time before the first retry, in seconds." }),
    backoff: t.expose("backoff", { type: Backoff, description: "How the delay grows." }),
    maxDelay: t.exposeFloat("max_delay", { nullable: true, description: "The longest delay, in seconds." }),
    jitter: t.exposeFloat("jitter", { description: "The share of each delay that is random, from 0 to 1." }),
    on: t.expose("on", { type: [RetryableStatus], description: "The final statuses after which it is retried." }),
  }),
});
