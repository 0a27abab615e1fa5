import { isPassing } from "../db/passing.ts";
import type { Services } from "../db/services.ts";
import { write } from "../db/tx.ts";
import { startWokenLoop } from "../db/wake.ts";
import type { Owners } from "../rule/authority.ts";
import { decideRule, findUndecided, untilNextDue } from "../rule/windows.ts";

/** Fallback for wake-ups that a killed process did not send. */
const pollMs = 2000;
/** The shortest pause, for a rule that another transaction has locked and for matches after an event that is not evaluated yet. */
const leastMs = 20;
/** The longest pause for the same. */
const mostMs = 1000;
/** After an error a rule is left alone for so long. */
const restMs = 10_000;

/** Starts deciding which matches start the actions of rules with a window or a limit. */
export function startWindows(services: Services, owners: Owners): AsyncDisposable {
  const rest = new Map<string, number>();
  let waitMs = leastMs;
  return startWokenLoop(services.wake, "window", {
    pass: async () => {
      if (services.room.shortage() !== null) return pollMs;
      const { count, isLeft, isWaiting } = await decideWindows(services, owners, rest);
      if (isLeft) return 0;
      waitMs = count > 0 ? leastMs : Math.min(mostMs, waitMs * 2);
      if (isWaiting) return waitMs;
      return Math.max(leastMs, Math.min(pollMs, (await untilNextDue(services.db)) ?? pollMs));
    },
    failed: (error) => services.log.error({ err: error }, "deciding about matches"),
  });
}

/** What one pass did. */
export interface WindowsPass {
  count: number;
  /** Whether more can be decided about at once. */
  isLeft: boolean;
  /** Whether something is left that cannot be decided about yet, or is decided about elsewhere. */
  isWaiting: boolean;
}

/** Decides once about every rule that needs it, each in a transaction of its own, so that none stops the others. */
export async function decideWindows(
  services: Services,
  owners: Owners,
  rest: Map<string, number> = new Map(),
): Promise<WindowsPass> {
  const pass: WindowsPass = { count: 0, isLeft: false, isWaiting: false };
  for (const rule of await findUndecided(services.db)) {
    if ((rest.get(rule) ?? 0) > performance.now()) continue;
    rest.delete(rule);
    try {
      const decided = await write(services, (tx) => decideRule(tx, owners, rule));
      pass.count += decided?.count ?? 0;
      pass.isLeft ||= decided?.isLeft === true;
      pass.isWaiting ||= decided === null || decided.count === 0;
    } catch (error) {
      if (isPassing(error)) throw error;
      services.log.error({ err: error, rule }, "deciding about the matches of a rule");
      rest.set(rule, performance.now() + restMs);
    }
  }
  return pass;
}
