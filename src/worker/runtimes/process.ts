import { chmodSync, chownSync, closeSync, mkdirSync, mkdtempSync, openSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { ExecutionOutcome } from "../../execution/finish.ts";
import { unname } from "../../lib/scratch.ts";
import { buildLimitMs } from "../environments/build.ts";
import { EnvironmentError } from "../environments/environments.ts";
import type { Setting } from "../environments/recipe.ts";
import { parseOutput } from "../output.ts";
import { actionEnvironment, formatParameters } from "../parameters.ts";
import { type ProcessResult, runProcess } from "../process.ts";
import {
  actionError,
  type HostEnvironment,
  outcome,
  type Run,
  type RunAs,
  type Runtime,
  stopped,
  timedOut,
} from "./runtime.ts";

const graceMs = 5000;
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
  const scratch = createScratchOf(host);
  const files = createSecretFiles(scratch, host.runAs);
  try {
    const parameters = formatParameters(claim.config, claim.parameterFormat);
    const parameterFile = claim.parameterDelivery === "file" ? files.write("parameters", parameters) : null;
    const artifactsDir = join(scratch, "artifacts");
    mkdirSync(artifactsDir);
    giveTo(artifactsDir, host.runAs);
    const token = await issueToken(run, host);
    const tokenFile = token === null ? null : files.write("token", token);
    const environment = actionEnvironment({
      // The home of the worker's own user is closed to another one.
      base: host.runAs === null ? host.base : { ...host.base, HOME: scratch },
      executionId: BigInt(claim.id),
      action: claim.actionRef,
      packRef: claim.packRef ?? "",
      apiUrl: host.apiUrl,
      parameterFile,
      tokenFile,
      artifactsDir,
      rule: claim.ruleRef,
      trigger: claim.triggerRef,
    });
    const spec = {
      command: setting.command,
      args: [join(setting.directory, entrypoint)],
      cwd: setting.directory,
      env: { ...environment, ...variables, ...setting.variables },
      runAs: host.runAs,
      stdin: parameterFile ? null : parameters,
      timeoutMs: claim.timeoutMs,
      graceMs,
      signal: run.signal,
    };
    const result = await runProcess(spec, { onOutput: run.onOutput });
    await run.collectArtifacts(artifactsDir);
    return outcomeOf(run, result);
  } catch (error) {
    return actionError(claim, error);
  } finally {
    files.close();
    removeScratch(scratch, run);
  }
}

/** Returns how the action is started: in its release's environment, if that needs one. Returns the outcome when there is none. */
async function settingOf(
  { claim, signal, onOutput, restartTime }: Run,
  { environments }: HostEnvironment,
  { interpreter, directory }: { interpreter: string; directory: string },
): Promise<Setting | ExecutionOutcome> {
  const plain = { command: interpreter, directory, variables: {} };
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

/** Creates the directory for an execution's files, which only the action's user may enter. */
function createScratchOf({ scratch, runAs }: HostEnvironment): string {
  if (runAs !== null) chmodSync(scratch, 0o711);
  const directory = mkdtempSync(join(scratch, "execution-"));
  giveTo(directory, runAs);
  return directory;
}

function giveTo(path: string, runAs: RunAs | null): void {
  if (runAs !== null) chownSync(path, runAs.uid, runAs.gid);
}

/** An action may leave directories that cannot be removed: then they are kept, and the execution ends all the same. */
function removeScratch(scratch: string, { onOutput }: Run): void {
  try {
    rmSync(scratch, { recursive: true, force: true });
  } catch (error) {
    onOutput("system", `${scratch} could not be removed: ${error instanceof Error ? error.message : String(error)}\n`);
  }
}

/** Returns the execution's token; null when it gets none. */
async function issueToken({ claim, onOutput }: Run, host: HostEnvironment): Promise<string | null> {
  if (!claim.hasPermissions) return null;
  const token = await host.issueToken(claim);
  if (token === null) onOutput("system", "There is no token: the identity of this execution no longer exists.\n");
  return token;
}

/**
 * Files with secrets for one action. They have no names before they have contents: kill -9 leaves nothing of them. A process of another
 * user cannot open the worker's files by /proc: those files keep their names, in a directory that the next start removes.
 */
function createSecretFiles(directory: string, runAs: RunAs | null) {
  const open: number[] = [];
  return {
    /** Returns the file's path. */
    write: (name: string, text: string): string => {
      const named = join(directory, name);
      const fd = openSync(named, "wx", 0o600);
      open.push(fd);
      giveTo(named, runAs);
      const path = runAs === null ? unname(named, fd) : named;
      writeFileSync(fd, text);
      return path;
    },
    close: () => {
      for (const fd of open) closeSync(fd);
    },
  };
}

/** Parses stdout in the action's output format. Error messages may quote the output, so they are built from the masked text. */
function readOutput({ claim, mask }: Run, stdout: string): ReturnType<typeof parseOutput> {
  const parsed = parseOutput(claim.outputFormat, stdout);
  if (mask === null || "data" in parsed) return parsed;
  const masked = parseOutput(claim.outputFormat, mask.text(stdout));
  return "error" in masked ? masked : { error: `The output is not valid ${claim.outputFormat}.` };
}

function outcomeOf(run: Run, process: ProcessResult): ExecutionOutcome {
  const { claim } = run;
  const { ended, exitCode, signalName, durationMs, message } = process;
  const parsed = readOutput(run, process.stdout);
  const data = "data" in parsed ? parsed.data : null;
  const result = { exit_code: exitCode, duration_ms: durationMs, data };
  switch (ended) {
    case "timed_out":
      return timedOut(claim, result);
    case "stopped":
      return stopped(claim, result);
    case "spawn_failed":
      return outcome(claim, "failed", {
        error: { code: "SPAWN_FAILED", message: message ?? "the process did not start" },
      });
    case "exited":
      if (exitCode !== 0) {
        const how = exitCode === null ? `was ended by ${signalName}` : `exited with code ${exitCode}`;
        return outcome(claim, "failed", { result, error: { code: "EXIT_CODE", message: `The action ${how}.` } });
      }
      if ("error" in parsed)
        return outcome(claim, "failed", { result, error: { code: "OUTPUT_INVALID", message: parsed.error } });
      return outcome(claim, "completed", { result });
    default:
      throw new Error(ended satisfies never);
  }
}
