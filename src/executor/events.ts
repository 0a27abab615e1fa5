import { isPassing } from "../db/passing.ts";
import type { Services } from "../db/services.ts";
import { write } from "../db/tx.ts";
import { startWokenLoop } from "../db/wake.ts";
import { faultPoint } from "../lib/fault.ts";
import { enforceBatch, enforceEach } from "../rule/enforce.ts";
import type { RuleSets } from "../rule/ruleset.ts";
import { enforceSuspects } from "./suspects.ts";

const batchSize = 100;
/** Fallback for wake-ups that a killed process did not send. */
const pollMs = 2000;

/** Starts evaluating events as they arrive. */
export function startEvents(services: Services, ruleSets: RuleSets): AsyncDisposable {
  let isFirst = true;
  return startWokenLoop(services.wake, "event", {
    pass: async () => {
      if (services.room.shortage() !== null) return pollMs;
      if (isFirst) await enforceSuspects(services, ruleSets, batchSize);
      isFirst = false;
      return (await enforceEvents(services, ruleSets, batchSize)) === batchSize ? 0 : pollMs;
    },
    failed: (error) => services.log.error({ err: error }, "evaluating events"),
  });
}

/** Evaluates up to `limit` events in one transaction; if it fails, each separately in another. Returns their number. */
export async function enforceEvents(services: Services, ruleSets: RuleSets, limit: number): Promise<number> {
  const taken = await enforceTogether(services, ruleSets, limit);
  if (taken > 0) faultPoint("enforcement.after_commit");
  return taken;
}

async function enforceTogether(services: Services, ruleSets: RuleSets, limit: number): Promise<number> {
  try {
    return await write(services, async (tx) => {
      const taken = await enforceBatch(tx, ruleSets, limit);
      faultPoint("enforcement.before_commit");
      return taken;
    });
  } catch (error) {
    if (isPassing(error)) throw error; // no event is to blame: it counts as no try
    services.log.warn({ err: error }, "a batch of events failed; evaluating each event separately");
    return await write(services, (tx) => enforceEach(tx, ruleSets, limit));
  }
}
