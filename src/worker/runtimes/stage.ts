import { chmodSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { ExecutionOutcome } from "../../execution/finish.ts";
import type { ProcessResult } from "../../process/process.ts";
import { type Audience, createSecretFiles, giveTo } from "../../process/secret-files.ts";
import { parseOutput } from "../output.ts";
import { actionEnvironment, formatParameters } from "../parameters.ts";
import { actionError, type HostEnvironment, outcome, type Run, stopped, timedOut } from "./runtime.ts";

/** How long an action may take to end after SIGTERM, in milliseconds. */
export const graceMs = 5000;

/** The files of one execution. */
export interface Stage {
  /** The directory that has them, and more of the runtime's own. */
  scratch: string;
  artifactsDir: string;
  /** The text for stdin; null when the parameters are in the file. */
  stdin: string | null;
  parameterFile: string | null;
  tokenFile: string | null;
}

/** Runs `work` with the files of an execution, and stores the artifacts that it left. They are removed however it ends. */
export async function inStage(
  run: Run,
  host: HostEnvironment,
  audience: Audience,
  work: (stage: Stage) => Promise<ExecutionOutcome>,
): Promise<ExecutionOutcome> {
  const { claim } = run;
  const scratch = createScratchOf(host);
  const files = createSecretFiles(scratch, host.runAs, audience);
  try {
    const parameters = formatParameters(claim.config, claim.parameterFormat);
    const parameterFile = claim.parameterDelivery === "file" ? files.write("parameters", parameters) : null;
    const artifactsDir = join(scratch, "artifacts");
    mkdirSync(artifactsDir);
    if (audience === "container") chmodSync(artifactsDir, 0o777);
    giveTo(artifactsDir, host.runAs);
    const token = await issueToken(run, host);
    const tokenFile = token === null ? null : files.write("token", token);
    const stdin = parameterFile === null ? parameters : null;
    const ended = await work({ scratch, artifactsDir, stdin, parameterFile, tokenFile });
    await run.collectArtifacts(artifactsDir);
    return ended;
  } catch (error) {
    return actionError(claim, error);
  } finally {
    files.close();
    removeScratch(scratch, run);
  }
}

/** Returns the variables of an action that has its files at these paths. */
export function variablesOf(
  { claim, cause }: Run,
  host: HostEnvironment,
  {
    base,
    ...paths
  }: Pick<Stage, "artifactsDir" | "parameterFile" | "tokenFile"> & {
    base: Readonly<Record<string, string>>;
  },
): Record<string, string> {
  return actionEnvironment({
    base,
    executionId: BigInt(claim.id),
    action: claim.actionRef,
    packRef: claim.packRef ?? "",
    apiUrl: host.apiUrl,
    ...paths,
    rule: claim.ruleRef,
    trigger: claim.triggerRef,
    cause: cause(),
    traceparent: claim.traceContext,
  });
}

/** Creates the directory for an execution's files, which only the action's user may enter. */
function createScratchOf({ scratch, runAs }: HostEnvironment): string {
  if (runAs !== null) chmodSync(scratch, 0o711);
  const directory = mkdtempSync(join(scratch, "execution-"));
  giveTo(directory, runAs);
  return directory;
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

/** Parses stdout in the action's output format. Error messages may quote the output, so they are built from the masked text. */
function readOutput({ claim, mask }: Run, stdout: string): ReturnType<typeof parseOutput> {
  const parsed = parseOutput(claim.outputFormat, stdout);
  if (mask === null || "data" in parsed) return parsed;
  const masked = parseOutput(claim.outputFormat, mask.text(stdout));
  return "error" in masked ? masked : { error: `The output is not valid ${claim.outputFormat}.` };
}

/** Returns the outcome of an action from the end of its process. */
export function outcomeOf(run: Run, process: ProcessResult): ExecutionOutcome {
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
