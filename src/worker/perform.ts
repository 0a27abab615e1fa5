import type { ExecutionOutcome } from "../execution/finish.ts";
import { type HostEnvironment, outcome, type Run } from "./runtimes/runtime.ts";
import { runtimes } from "./runtimes/table.ts";

/** Runs a claimed execution to its end and returns the outcome; null when it is parked. Failures of the action do not reject. */
export async function performAction(run: Run, host: HostEnvironment): Promise<ExecutionOutcome | null> {
  const { claim } = run;
  const failed = (code: string, message: string) => outcome(claim, "failed", { error: { code, message } });
  if (claim.entrypoint === null) {
    return failed("NO_SUCH_ACTION", `The action "${claim.actionRef}" no longer exists.`);
  }
  const runtime = runtimes.get(claim.runtimeRef);
  if (!runtime) {
    return failed("RUNTIME_UNAVAILABLE", `This worker cannot run ${claim.entrypoint} in ${claim.runtimeRef}.`);
  }
  return await runtime.perform(run, claim.entrypoint, host);
}
