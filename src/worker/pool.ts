import { type Queue, runtimeQueue } from "../db/jobs.ts";
import type { Services } from "../db/services.ts";
import { write } from "../db/tx.ts";
import { ConflictError } from "../errors.ts";
import { claimExecutions } from "../execution/claim.ts";
import { faultPoint } from "../lib/fault.ts";
import { startLoop } from "../lib/loop.ts";
import { findQueues, type ServedQueue } from "./queues.ts";
import type { Registration } from "./registry.ts";
import type { Runner } from "./runner.ts";

const claimSize = 100;
/** Fallback for wake-ups that a killed process did not send. */
const pollMs = 2000;
/** How often a worker looks for queues that it may serve. */
const lookMs = 10_000;

/** Runtimes that share slots. */
export interface PoolOptions {
  runner: Runner;
  registration: Registration;
  labels: Readonly<Record<string, string>>;
  runtimes: readonly string[];
  /** How many executions may run at once. */
  slots: number;
  /** How many of a runtime may run at once, by its ref, where that is fewer. */
  limits: ReadonlyMap<string, number>;
  mayClaim(): boolean;
  /** Is called after a pass. */
  claimed(): void;
  failed(error: unknown): void;
}

/** Claims executions for free slots. */
export interface Pool extends AsyncDisposable {
  /** Claims at once, if there may be something to claim. */
  slotFreed(): void;
  /** Claims at once. */
  wake(): void;
}

/** Starts the claims of a pool. */
export function startPool(services: Services, options: PoolOptions): Pool {
  const { runtimes } = options;
  let served: ServedQueue[] = runtimes.map((runtimeRef) => ({ queue: runtimeQueue(runtimeRef), runtimeRef }));
  /** Those that may have jobs. */
  const due = new Map<Queue, string>();
  const subscriptions = new Map<Queue, () => void>();
  const follow = () => {
    for (const { queue, runtimeRef } of served) {
      if (subscriptions.has(queue)) continue;
      const woken = () => {
        due.set(queue, runtimeRef);
        loop.wake();
      };
      subscriptions.set(queue, services.wake.on(queue, woken));
    }
  };
  let lookAt = 0;
  const look = async () => {
    lookAt = performance.now() + lookMs;
    served = await findQueues(services, options);
    follow();
    for (const { queue, runtimeRef } of served) due.set(queue, runtimeRef);
  };
  const loop = startLoop({
    failed: options.failed,
    pass: async () => {
      if (performance.now() >= lookAt) await look();
      if (due.size === 0) for (const { queue, runtimeRef } of served) due.set(queue, runtimeRef);
      if (!options.mayClaim()) return pollMs;
      const isMore = await claimDue(services, options, due);
      options.claimed();
      return isMore ? 0 : pollMs;
    },
  });
  follow();
  const unsubscribe = services.wake.on("queues", () => {
    lookAt = 0;
    loop.wake();
  });
  return {
    slotFreed: () => {
      if (due.size > 0) loop.wake();
    },
    wake: loop.wake,
    [Symbol.asyncDispose]: async () => {
      unsubscribe();
      await loop[Symbol.asyncDispose]();
      for (const each of subscriptions.values()) each();
    },
  };
}

/** Claims executions for the free slots from the queues that are due. Returns whether there may be more that can be claimed now. */
async function claimDue(
  services: Services,
  { runner, registration, runtimes, slots, limits }: PoolOptions,
  due: Map<Queue, string>,
): Promise<boolean> {
  let isMore = false;
  for (const [queue, runtimeRef] of [...due]) {
    const free = slots - runner.count(runtimes);
    if (free <= 0) return false; // the next free slot wakes the pool, for which the queue is still due
    const limit = Math.min(claimSize, free, (limits.get(runtimeRef) ?? slots) - runner.count([runtimeRef]));
    if (limit <= 0) continue;
    due.delete(queue);
    const askedAt = performance.now();
    const claimed = await claim(services, registration, { runtimeRef, queue, limit });
    if (claimed === null || claimed.isMore) due.set(queue, runtimeRef);
    if (claimed === null) return false; // the heartbeat finds out when the worker may claim again
    isMore ||= claimed.isMore;
    if (claimed.claims.length > 0) faultPoint("claim.after_commit");
    for (const each of claimed.claims) runner.begin(each, askedAt);
  }
  return isMore;
}

/** Returns null when the worker was cordoned after its last heartbeat. */
async function claim(
  services: Services,
  registration: Registration,
  from: { runtimeRef: string; queue: Queue; limit: number },
) {
  try {
    return await write(services, (tx) => claimExecutions(tx, registration, from));
  } catch (error) {
    if (error instanceof ConflictError) return null;
    throw error;
  }
}
