import { closeSync, mkdirSync, mkdtempSync, openSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Claim } from "../execution/claim.ts";
import type { ExecutionError, ExecutionOutcome } from "../execution/finish.ts";
import type { Json } from "../lib/json.ts";
import { unname } from "../lib/scratch.ts";
import type { Mask } from "../secrecy/mask.ts";
import { type Builtin, builtins } from "./builtin.ts";
import type { Reach } from "./http.ts";
import { parseOutput } from "./output.ts";
import { actionEnvironment, formatParameters } from "./parameters.ts";
import { type ProcessResult, runProcess } from "./process.ts";

const graceMs = 5000;
/** The longest delay of a timer (24.8 days); a longer one would fire at once. */
const longestTimer = 2 ** 31 - 1;

/** The properties of this host that actions depend on. */
export interface HostEnvironment {
  /** The server's environment variables; five are passed to actions. */
  base: Record<string, string | undefined>;
  apiUrl: string;
  /** Directories of releases on this host by digest, where they differ from the directories that they were loaded from. */
  releases: ReadonlyMap<string, string>;
  /** The command of each runtime on this host. */
  interpreters: ReadonlyMap<string, string>;
  /** The directory for the temporary files of executions. */
  scratch: string;
  /** What `core.http_request` may reach. */
  reach: Reach;
  /** Creates the execution's token; null when its identity no longer exists. */
  issueToken: (claim: Claim) => Promise<string | null>;
}

/** A claimed execution to run, and the receivers of its output. */
export interface Run {
  claim: Claim;
  /** Stops the action: the execution was cancelled, or the worker is stopping. */
  signal: AbortSignal;
  onOutput: (stream: "stdout" | "stderr" | "system", text: string) => void;
  /** For the action's output; null when it has no secrets. */
  mask: Mask | null;
  /** Stores the files in the action's artifacts directory before it is removed; never rejects. */
  collectArtifacts: (directory: string) => Promise<void>;
}

/** Runs a claimed execution to its end and returns the outcome. Failures of the action do not reject. */
export async function performAction(run: Run, host: HostEnvironment): Promise<ExecutionOutcome> {
  const { claim } = run;
  if (claim.entrypoint === null) {
    return outcome(claim, "failed", {
      error: { code: "NO_SUCH_ACTION", message: `The action "${claim.actionRef}" no longer exists.` },
    });
  }
  const builtin = builtins[claim.entrypoint];
  if (claim.runtimeRef === "core.action.builtin") {
    if (builtin) return await performBuiltin(run, builtin, host);
    return outcome(claim, "failed", {
      error: { code: "NO_SUCH_BUILTIN", message: `This worker has no built-in action "${claim.entrypoint}".` },
    });
  }
  return await performProcess(run, claim.entrypoint, host);
}

async function performBuiltin(
  { claim, signal, mask }: Run,
  builtin: Builtin,
  { reach }: HostEnvironment,
): Promise<ExecutionOutcome> {
  const started = performance.now();
  const deadline = new AbortController();
  const timer = setTimeout(() => deadline.abort(), Math.min(claim.timeoutMs, longestTimer));
  try {
    const result = await builtin(claim.config, {
      signal: AbortSignal.any([signal, deadline.signal]),
      reach,
      mask,
    });
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

async function performProcess(run: Run, entrypoint: string, host: HostEnvironment): Promise<ExecutionOutcome> {
  const { claim } = run;
  const interpreter = host.interpreters.get(claim.runtimeRef);
  const directory = claim.release && (host.releases.get(claim.release.digest) ?? claim.release.path);
  if (interpreter === undefined || directory === null) {
    const message = `This worker cannot run ${entrypoint} in ${claim.runtimeRef}.`;
    return outcome(claim, "failed", { error: { code: "RUNTIME_UNAVAILABLE", message } });
  }
  const scratch = mkdtempSync(join(host.scratch, "execution-"));
  const files = createSecretFiles(scratch);
  try {
    const parameters = formatParameters(claim.config, claim.parameterFormat);
    const parameterFile = claim.parameterDelivery === "file" ? files.write("parameters", parameters) : null;
    const artifactsDir = join(scratch, "artifacts");
    mkdirSync(artifactsDir);
    const token = await issueToken(run, host);
    const tokenFile = token === null ? null : files.write("token", token);
    const result = await runProcess(
      {
        command: interpreter,
        args: [join(directory, entrypoint)],
        cwd: directory,
        env: actionEnvironment({
          base: host.base,
          executionId: BigInt(claim.id),
          action: claim.actionRef,
          packRef: claim.packRef ?? "",
          apiUrl: host.apiUrl,
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
    await run.collectArtifacts(artifactsDir);
    return outcomeOf(run, result);
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    return outcome(claim, "failed", { error: { code: "ACTION_ERROR", message } });
  } finally {
    files.close();
    removeScratch(scratch, run);
  }
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

/** Files with secrets for one action. They have no names before they have contents: kill -9 leaves nothing of them. */
function createSecretFiles(directory: string) {
  const open: number[] = [];
  return {
    /** Returns the file's path. */
    write: (name: string, text: string): string => {
      const named = join(directory, name);
      const fd = openSync(named, "wx", 0o600);
      open.push(fd);
      const path = unname(named, fd);
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
