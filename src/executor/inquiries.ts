import type { Services } from "../db/services.ts";
import { write } from "../db/tx.ts";
import { startWokenLoop } from "../db/wake.ts";
import { endLate, expireDue, untilNextDue } from "../inquiry/expire.ts";

/** Fallback for wake-ups that a killed process did not send. */
const pollMs = 15_000;
/** The shortest pause, for inquiries that are due but locked by another transaction. */
const leastMs = 50;

/** The result of one pass. */
export interface Expired {
  /** The number of inquiries and executions that it ended. */
  ended: number;
  /** Milliseconds until the next one is due; null when none is pending. */
  nextMs: number | null;
}

/** Ends expired inquiries, then parked executions past their own deadlines. */
export async function expireInquiries(services: Services): Promise<Expired> {
  const expired = await write(services, expireDue);
  const late = await write(services, endLate);
  return { ended: expired + late, nextMs: await untilNextDue(services.db) };
}

/** Starts ending inquiries when they expire. */
export function startInquiries(services: Services): AsyncDisposable {
  return startWokenLoop(services.wake, "inquiry", {
    pass: async () => {
      const { ended, nextMs } = await expireInquiries(services);
      if (ended > 0) services.log.info({ ended }, "inquiries expired");
      return Math.max(leastMs, Math.min(pollMs, nextMs ?? pollMs));
    },
    failed: (error) => services.log.error({ err: error }, "expiring inquiries"),
  });
}
