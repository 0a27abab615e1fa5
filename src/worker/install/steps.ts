import { type InstallStep, type InstallStepStatus, writeStep } from "../../execution/install-steps.ts";
import { faultPoint } from "../../lib/fault.ts";
import type { Run } from "../runtimes/runtime.ts";

/** Lets subscribers know how far the steps of an installation are. */
export interface Steps {
  /** Does a step. What `say` is given last is its message, unless it fails. */
  run<T>(step: InstallStep, message: string, work: (say: (message: string) => void) => Promise<T>): Promise<T>;
  /** Passes over steps. */
  skip(steps: readonly InstallStep[], why: string): void;
}

/** How much of an installation is done when a step begins, in percent. */
const percents: Readonly<Record<InstallStep, number>> = {
  ...{ fetch: 5, checksum: 20, check: 25, dependencies: 35, environments: 40, tests: 60, activate: 90 },
};

/** Returns the steps of an attempt, which are written to its log. `reasonOf` describes an error of a step for users. */
export function createSteps({ claim, onOutput }: Run, reasonOf: (error: unknown) => string): Steps {
  const note = (step: InstallStep, status: InstallStepStatus, [durationMs, message]: [number, string | null]) =>
    onOutput("system", writeStep({ step, status, attempt: claim.attempt, durationMs, message }));
  const end: typeof note = (step, ...how) => {
    faultPoint("install.step", step);
    note(step, ...how);
  };
  return {
    run: async (step, message, work) => {
      const started = performance.now();
      let said: string | null = null;
      const say = (text: string) => {
        said = text;
        note(step, "running", [performance.now() - started, text]);
      };
      onOutput("stdout", `::progress ${percents[step]} ${message}\n`);
      note(step, "running", [0, message]);
      try {
        const done = await work(say);
        end(step, "done", [performance.now() - started, said]);
        return done;
      } catch (error) {
        note(step, "failed", [performance.now() - started, reasonOf(error)]);
        throw error;
      }
    },
    skip: (steps, why) => {
      for (const step of steps) end(step, "skipped", [0, why]);
    },
  };
}

/** Returns the steps of a pack that another one needs: what they say is said by the step of that pack. */
export const stepsWithin = (ref: string, say: (message: string) => void): Steps => ({
  run: async (_step, message, work) => {
    say(`${ref}: ${message}`);
    return await work((text) => say(`${ref}: ${text}`));
  },
  skip: () => {},
});
