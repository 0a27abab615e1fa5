import type { Services } from "../db/services.ts";
import { startLoop } from "../lib/loop.ts";
import { enforceEvents } from "../rule/enforce.ts";
import { createRuleSets } from "../rule/ruleset.ts";
import { startInquiries } from "./inquiries.ts";
import { startSweep } from "./sweep.ts";

const batchSize = 100;
/** Behind the wake-ups: finds what a killed process did not announce. */
const pollMs = 2000;

/** Starts the executor role: evaluates events as they come, expires inquiries and sweeps. Resolves with the way to stop it. */
export function startExecutor(services: Services, sweepMs: number): { stop(): Promise<void> } {
  const ruleSets = createRuleSets();
  const events = startLoop({
    pass: async () => ((await enforceEvents(services, ruleSets, batchSize)) === batchSize ? 0 : pollMs),
    failed: (error) => services.log.error({ err: error }, "evaluating events"),
  });
  const unsubscribe = services.wake.on("event", () => events.wake());
  const sweep = startSweep(services, sweepMs);
  const inquiries = startInquiries(services);
  return {
    stop: async () => {
      unsubscribe();
      await Promise.all([events.stop(), sweep.stop(), inquiries.stop()]);
    },
  };
}
