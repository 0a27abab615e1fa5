import { builtins } from "../builtin.ts";
import { originOf } from "../cloud-event.ts";
import { startDeadline } from "../deadline.ts";
import { actionError, outcome, type Runtime, stopped, timedOut } from "./runtime.ts";

/** Runs built-in actions inside the worker. */
export const builtinRuntime: Runtime = {
  slots: "shared",
  perform: async ({ claim, cause, signal, mask, ask }, entrypoint, { reach }) => {
    const builtin = builtins[entrypoint];
    if (!builtin) {
      const message = `This worker has no built-in action "${entrypoint}".`;
      return outcome(claim, "failed", { error: { code: "NO_SUCH_BUILTIN", message } });
    }
    const started = performance.now();
    using deadline = startDeadline(claim.timeoutMs);
    try {
      const stopping = AbortSignal.any([signal, deadline.signal]);
      const context = { signal: stopping, reach, mask, cause, origin: originOf(claim), ask };
      const result = await builtin(claim.config, context);
      const durationMs = Math.round(performance.now() - started);
      if (result === "parked") return null;
      if (result === "cancelled") return stopped(claim);
      if ("data" in result) {
        return outcome(claim, "completed", { result: { exit_code: 0, duration_ms: durationMs, data: result.data } });
      }
      if (signal.aborted) return stopped(claim);
      if (deadline.signal.aborted) return timedOut(claim, null);
      return outcome(claim, "failed", { result: { exit_code: 1, duration_ms: durationMs }, error: result.error });
    } catch (error) {
      return actionError(claim, error);
    }
  },
};
