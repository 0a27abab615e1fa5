import type { Services } from "../db/services.ts";
import { expireInquiries } from "../inquiry/expire.ts";
import { startLoop } from "../lib/loop.ts";

/** Behind the wake-ups: finds what a killed process did not announce. */
const pollMs = 15_000;
/** Between two looks at something that is due and that someone else holds just now. */
const leastMs = 50;

/** Ends inquiries when their time is up. */
export function startInquiries(services: Services): { stop(): Promise<void> } {
  const loop = startLoop({
    pass: async () => {
      const { ended, nextMs } = await expireInquiries(services);
      if (ended > 0) services.log.info({ ended }, "inquiries expired");
      return Math.max(leastMs, Math.min(pollMs, nextMs ?? pollMs));
    },
    failed: (error) => services.log.error({ err: error }, "expiring inquiries"),
  });
  const unsubscribe = services.wake.on("inquiry", () => loop.wake());
  return {
    stop: async () => {
      unsubscribe();
      await loop.stop();
    },
  };
}
