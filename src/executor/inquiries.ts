import type { Services } from "../db/services.ts";
import { startWokenLoop } from "../db/wake.ts";
import { expireInquiries } from "../inquiry/expire.ts";

/** Behind the wake-ups: finds what a killed process did not announce. */
const pollMs = 15_000;
/** Between two looks at something that is due and that someone else holds just now. */
const leastMs = 50;

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
