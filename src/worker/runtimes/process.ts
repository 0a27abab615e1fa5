import { join } from "node:path";
import type { ExecutionOutcome } from "../../execution/finish.ts";
import { buildLimitMs } from "../../process/environments/build.ts";
import { EnvironmentError } from "../../process/environments/environments.ts";
import { type Setting, variablesIn } from "../../process/environments/recipe.ts";
import { runProcess } from "../../process/process.ts";
import { actionError, type HostEnvironment, outcome, type Run, type Runtime, stopped } from "./runtime.ts";
import { graceMs, inStage, outcomeOf, variablesOf } from "./stage.ts";

/** How much later an execution's deadline is while it waits for its environment: the builds of a lost worker and of the next one. */
const longestWaitMs = 2 * buildLimitMs;

/** Returns a runtime that runs each action in a process of its own: the entry point is a file of the pack. `variables` are added to its environment. */
export function processRuntime(variables: Readonly<Record<string, string>>): Runtime {
  return { slots: "process", perform: (run, entrypoint, host) => performProcess(run, entrypoint, host, variables) };
}

async function performProcess(
  run: Run,
  entrypoint: string,
  host: HostEnvironment,
  variables: Readonly<Record<string, string>>,
): Promise<ExecutionOutcome> {
  const { claim } = run;
  const interpreter = host.interpreters.get(claim.runtimeRef);
  const directory = claim.release && (host.releases.get(claim.release.digest) ?? claim.release.path);
  if (interpreter === undefined || directory === null) {
    const message = `This worker cannot run ${entrypoint} in ${claim.runtimeRef}.`;
    return outcome(claim, "failed", { error: { code: "RUNTIME_UNAVAILABLE", message } });
  }
  const setting = await settingOf(run, host, { interpreter, directory });
  if ("status" in setting) return setting;
  return await inStage(run, host, host.runAs === null ? "own" : "user", async (stage) => {
    const { artifactsDir, parameterFile, tokenFile, scratch } = stage;
    // The home of the worker's own user is closed to another one.
    const base = host.runAs === null ? host.base : { ...host.base, HOME: scratch };
    const spec = {
      command: setting.command,
      args: [join(setting.directory, entrypoint)],
      cwd: setting.directory,
      env: {
        ...variablesOf(run, host, { base, artifactsDir, parameterFile, tokenFile }),
        ...variables,
        ...variablesIn([setting], host.base),
      },
      runAs: host.runAs,
      stdin: stage.stdin,
      timeoutMs: claim.timeoutMs,
      graceMs,
      signal: run.signal,
    };
    const start = host.warm.starterOf(claim.runtimeRef);
    return outcomeOf(run, await runProcess(spec, { onOutput: run.onOutput }, start));
  });
}

/** Returns how the action is started: in its release's environment, if that needs one. Returns the outcome when there is none. */
async function settingOf(
  { claim, signal, onOutput, restartTime }: Run,
  { environments }: HostEnvironment,
  { interpreter, directory }: { interpreter: string; directory: string },
): Promise<Setting | ExecutionOutcome> {
  const plain = { command: interpreter, directory, variables: {}, programs: null, links: {} };
  const checksum = claim.release?.environment ?? null;
  if (claim.release === null || checksum === null) return plain;
  const { packRef, runtimeRef, release } = claim;
  let hasWaited = false;
  const wait = async () => {
    hasWaited = true;
    onOutput("system", `Waiting for the environment of the pack "${packRef}" in ${runtimeRef}.\n`);
    await restartTime(longestWaitMs);
  };
  try {
    const wanted = {
      packRef: packRef ?? "",
      runtimeRef,
      checksum,
      release: { digest: release.digest, path: directory },
    };
    const setting = await environments.enter(wanted, { signal, wait });
    if (hasWaited) await restartTime(0);
    return setting;
  } catch (error) {
    if (signal.aborted) return stopped(claim);
    if (!(error instanceof EnvironmentError)) return actionError(claim, error);
    return outcome(claim, "failed", { error: { code: "ENVIRONMENT_FAILED", message: error.message } });
  }
}
