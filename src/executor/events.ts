import type { Services } from "../db/services.ts";
import { startWokenLoop } from "../db/wake.ts";
import { enforceEvents } from "../rule/enforce.ts";
import { createRuleSets } from "../rule/ruleset.ts";

const batchSize = 100;
/** Behind the wake-ups: finds what a killed process did not announce. */
const pollMs = 2000;

/** Starts evaluating events as they come. */
export function startEvents(services: Services): AsyncDisposable {
  const ruleSets = createRuleSets();
  return startWokenLoop(services.wake, "event", {
    pass: async () => ((await enforceEvents(services, ruleSets, batchSize)) === batchSize ? 0 : pollMs),
    failed: (error) => services.log.error({ err: error }, "evaluating events"),
  });
}
