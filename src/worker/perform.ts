import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Claim } from "../execution/claim.ts";
import type { ExecutionError, Outcome } from "../execution/finish.ts";
import type { Json } from "../lang/json.ts";
import { builtins } from "./builtin.ts";
import { parseOutput } from "./output.ts";
import { actionEnvironment, formatParameters } from "./parameters.ts";
import { type ProcessResult, runProcess } from "./process.ts";

/** A result above this is left out of the row; what the action printed is in its log. */
const longestResult = 256 * 1024;
const graceMs = 5000;

export interface Surroundings {
  /** The server's environment, of which actions see five names. */
  base: Record<string, string | undefined>;
  apiUrl: string;
  /** Where this host has the contents of a release (by digest), if not where they were loaded from. */
  releases: ReadonlyMap<string, string>;
  /** The command of each runtime that was found on this host. */
  interpreters: ReadonlyMap<string, string>;
}

export interface Run {
  claim: Claim;
  /** Its abort stops the action: the execution was cancelled, or the worker is stopping. */
  signal: AbortSignal;
  onOutput: (stream: "stdout" | "stderr" | "system", text: string) => void;
}

/** Runs one claimed execution to its end, whatever the action does; never rejects for what the action did. */
export async function perform(run: Run, surroundings: Surroundings): Promise<Outcome> {
  const { claim } = run;
  if (claim.entrypoint === null) {
    return outcome(claim, "failed", {
      error: { code: "NO_SUCH_ACTION", message: `The action "${claim.actionRef}" is gone.` },
    });
  }
  const builtin = builtins[claim.actionRef];
  if (claim.runtimeRef === "core.action.builtin") {
    if (builtin) return await performBuiltin(run, builtin);
    return outcome(claim, "failed", {
      error: { code: "NO_SUCH_BUILTIN", message: `This worker has no built-in action "${claim.actionRef}".` },
    });
  }
  return await performProcess(run, claim.entrypoint, surroundings);
}

async function performBuiltin({ claim, signal }: Run, builtin: (typeof builtins)[string]): Promise<Outcome> {
  const started = performance.now();
  const deadline = new AbortController();
  const timer = setTimeout(() => deadline.abort(), claim.timeoutMs);
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

async function performProcess(run: Run, entrypoint: string, surroundings: Surroundings): Promise<Outcome> {
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
          tokenFile: null,
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
    return judge(claim, result);
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    return outcome(claim, "failed", { error: { code: "ACTION_ERROR", message } });
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

function judge(claim: Claim, process: ProcessResult): Outcome {
  const { ended, exitCode, signalName, durationMs, message } = process;
  const parsed = parseOutput(claim.outputFormat, process.stdout);
  const data = "data" in parsed ? parsed.data : null;
  const result = { exit_code: exitCode, duration_ms: durationMs, data };
  switch (ended) {
    case "timeout":
      return timedOut(claim, result);
    case "cancelled":
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

function timedOut(claim: Claim, result: Json): Outcome {
  const message = `The action ran longer than ${claim.timeoutMs / 1000} s.`;
  return outcome(claim, "timeout", { result, error: { code: "TIMEOUT", message }, reason: message });
}

function outcome(
  claim: Claim,
  status: Outcome["status"],
  end: { result?: Json; error?: ExecutionError; reason?: string },
): Outcome {
  const { id, attempt } = claim;
  return {
    id,
    attempt,
    status,
    result: fitting(end.result ?? null),
    error: end.error ?? null,
    reason: end.reason ?? end.error?.message ?? null,
  };
}

function fitting(result: Json): Json {
  if (typeof result !== "object" || result === null || Array.isArray(result)) return result;
  const { data } = result;
  // A long text is told by its length: 10 MiB of output need not be written out once more to be refused.
  const isLong = typeof data === "string" && data.length > longestResult;
  const size = Buffer.byteLength(isLong ? data : JSON.stringify(result));
  if (size <= longestResult) return result;
  return {
    ...result,
    data: null,
    data_omitted: `${size} bytes: above the limit of ${longestResult}; the log has the output`,
  };
}
