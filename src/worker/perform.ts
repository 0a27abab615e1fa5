import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Claim } from "../execution/claim.ts";
import type { ExecutionError, ExecutionOutcome } from "../execution/finish.ts";
import type { Json } from "../lib/json.ts";
import type { Mask } from "../secrecy/mask.ts";
import { builtins } from "./builtin.ts";
import { parseOutput } from "./output.ts";
import { actionEnvironment, formatParameters } from "./parameters.ts";
import { type ProcessResult, runProcess } from "./process.ts";

const graceMs = 5000;
/** The longest delay that a timer holds (24.8 days); a longer one would fire at once. */
const longestTimer = 2 ** 31 - 1;

export interface Surroundings {
  /** The server's environment, of which actions see five names. */
  base: Record<string, string | undefined>;
  apiUrl: string;
  /** Where this host has the contents of a release (by digest), if not where they were loaded from. */
  releases: ReadonlyMap<string, string>;
  /** The command of each runtime that was found on this host. */
  interpreters: ReadonlyMap<string, string>;
  /** Makes the execution's token; null when nobody stands behind it any more. */
  issueToken: (claim: Claim) => Promise<string | null>;
}

export interface Run {
  claim: Claim;
  /** Its abort stops the action: the execution was cancelled, or the worker is stopping. */
  signal: AbortSignal;
  onOutput: (stream: "stdout" | "stderr" | "system", text: string) => void;
  /** For what the action writes; null when it was given no secret. */
  mask: Mask | null;
  /** Keeps what the action left in its artifacts directory, before that is removed; never rejects. */
  onLeft: (directory: string) => Promise<void>;
}

/** Runs one claimed execution to its end, whatever the action does; never rejects for what the action did. */
export async function perform(run: Run, surroundings: Surroundings): Promise<ExecutionOutcome> {
  const { claim } = run;
  if (claim.entrypoint === null) {
    return outcome(claim, "failed", {
      error: { code: "NO_SUCH_ACTION", message: `The action "${claim.actionRef}" is gone.` },
    });
  }
  const builtin = builtins[claim.entrypoint];
  if (claim.runtimeRef === "core.action.builtin") {
    if (builtin) return await performBuiltin(run, builtin);
    return outcome(claim, "failed", {
      error: { code: "NO_SUCH_BUILTIN", message: `This worker has no built-in action "${claim.entrypoint}".` },
    });
  }
  return await performProcess(run, claim.entrypoint, surroundings);
}

async function performBuiltin({ claim, signal }: Run, builtin: (typeof builtins)[string]): Promise<ExecutionOutcome> {
  const started = performance.now();
  const deadline = new AbortController();
  const timer = setTimeout(() => deadline.abort(), Math.min(claim.timeoutMs, longestTimer));
  try {
    const result = await builtin(claim.config, AbortSignal.any([signal, deadline.signal]));
    const durationMs = Math.round(performance.now() - started);
    if ("data" in result) {
      return outcome(claim, "completed", { result: { exit_code: 0, duration_ms: durationMs, data: result.data } });
    }
    if (signal.aborted) return outcome(claim, "cancelled", { reason: "stopped by request" });
    if (deadline.signal.aborted) return timedOut(claim, null);
    return outcome(claim, "failed", { result: { exit_code: 1, duration_ms: durationMs }, error: result.error });
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    return outcome(claim, "failed", { error: { code: "ACTION_ERROR", message } });
  } finally {
    clearTimeout(timer);
  }
}

async function performProcess(run: Run, entrypoint: string, surroundings: Surroundings): Promise<ExecutionOutcome> {
  const { claim } = run;
  const interpreter = surroundings.interpreters.get(claim.runtimeRef);
  const directory = claim.release && (surroundings.releases.get(claim.release.digest) ?? claim.release.path);
  if (interpreter === undefined || directory === null) {
    const message = `This worker cannot run ${entrypoint} in ${claim.runtimeRef}.`;
    return outcome(claim, "failed", { error: { code: "RUNTIME_UNAVAILABLE", message } });
  }
  const scratch = mkdtempSync(join(tmpdir(), "attune-execution-"));
  try {
    const parameters = formatParameters(claim.config, claim.parameterFormat);
    const parameterFile = claim.parameterDelivery === "file" ? join(scratch, "parameters") : null;
    if (parameterFile) writeFileSync(parameterFile, parameters, { mode: 0o600 });
    const artifactsDir = join(scratch, "artifacts");
    mkdirSync(artifactsDir);
    chmodSync(scratch, 0o700);
    const tokenFile = await writeToken(run, surroundings, scratch);
    const result = await runProcess(
      {
        command: interpreter,
        args: [join(directory, entrypoint)],
        cwd: directory,
        env: actionEnvironment({
          base: surroundings.base,
          executionId: BigInt(claim.id),
          action: claim.actionRef,
          packRef: claim.packRef ?? "",
          apiUrl: surroundings.apiUrl,
          parameterFile,
          tokenFile,
          artifactsDir,
          rule: claim.ruleRef,
          trigger: claim.triggerRef,
        }),
        stdin: parameterFile ? null : parameters,
        timeoutMs: claim.timeoutMs,
        graceMs,
        signal: run.signal,
      },
      { onOutput: run.onOutput },
    );
    await run.onLeft(artifactsDir);
    return judge(run, result);
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    return outcome(claim, "failed", { error: { code: "ACTION_ERROR", message } });
  } finally {
    removeScratch(scratch, run);
  }
}

/** An action may leave directories that its user cannot empty: then they stay, and the execution ends all the same. */
function removeScratch(scratch: string, { onOutput }: Run): void {
  try {
    rmSync(scratch, { recursive: true, force: true });
  } catch (error) {
    onOutput("system", `${scratch} could not be removed: ${error instanceof Error ? error.message : String(error)}\n`);
  }
}

/** The file of the execution's token in its own directory; null when it has none. */
async function writeToken({ claim, onOutput }: Run, surroundings: Surroundings, scratch: string) {
  if (!claim.hasPermissions) return null;
  const token = await surroundings.issueToken(claim);
  if (token === null) {
    onOutput("system", "There is no token: nobody stands behind this execution any more.\n");
    return null;
  }
  const file = join(scratch, "token");
  writeFileSync(file, token, { mode: 0o600 });
  return file;
}

/** What stdout says, as the action's format reads it. A message about what cannot be read may quote a piece of it: of the masked text then. */
function readOutput({ claim, mask }: Run, stdout: string): ReturnType<typeof parseOutput> {
  const parsed = parseOutput(claim.outputFormat, stdout);
  if (mask === null || "data" in parsed) return parsed;
  const masked = parseOutput(claim.outputFormat, mask.text(stdout));
  return "error" in masked ? masked : { error: `The output is not valid ${claim.outputFormat}.` };
}

function judge(run: Run, process: ProcessResult): ExecutionOutcome {
  const { claim } = run;
  const { ended, exitCode, signalName, durationMs, message } = process;
  const parsed = readOutput(run, process.stdout);
  const data = "data" in parsed ? parsed.data : null;
  const result = { exit_code: exitCode, duration_ms: durationMs, data };
  switch (ended) {
    case "timed_out":
      return timedOut(claim, result);
    case "stopped":
      return outcome(claim, "cancelled", { result, reason: "stopped by request" });
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

function timedOut(claim: Claim, result: Json): ExecutionOutcome {
  const message = `The action ran longer than ${claim.timeoutMs / 1000} s.`;
  return outcome(claim, "timeout", { result, error: { code: "TIMEOUT", message }, reason: message });
}

function outcome(
  claim: Claim,
  status: ExecutionOutcome["status"],
  end: { result?: Json; error?: ExecutionError; reason?: string },
): ExecutionOutcome {
  const { id, attempt } = claim;
  return {
    id,
    attempt,
    status,
    result: end.result ?? null,
    error: end.error ?? null,
    reason: end.reason ?? end.error?.message ?? null,
  };
}
