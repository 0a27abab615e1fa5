import type { Services } from "../db/services.ts";
import { write } from "../db/tx.ts";
import { startWokenLoop } from "../db/wake.ts";
import { endLate, expireDue, untilNextDue } from "../inquiry/expire.ts";

/** Behind the wake-ups: finds what a killed process did not announce. */
const pollMs = 15_000;
/** Between two looks at something that is due and that someone else holds just now. */
const leastMs = 50;

/** What one pass did. */
export interface Expired {
  /** How many inquiries and executions it ended. */
  ended: number;
  /** Milliseconds until the next is due; null when none is. */
  nextMs: number | null;
}

/** Ends inquiries that have expired, then executions that wait past their own deadlines. */
export async function expireInquiries(services: Services): Promise<Expired> {
  const expired = await write(services, expireDue);
  const late = await write(services, endLate);
  return { ended: expired + late, nextMs: await untilNextDue(services.db) };
}

/** Starts ending inquiries when their time is up. */
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
