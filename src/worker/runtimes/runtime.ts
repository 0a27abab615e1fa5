import type { Claim } from "../../execution/claim.ts";
import type { ExecutionError, ExecutionOutcome } from "../../execution/finish.ts";
import type { Json } from "../../lib/json.ts";
import type { Environments } from "../../process/environments/environments.ts";
import type { RunAs } from "../../process/start.ts";
import type { Mask } from "../../secrecy/mask.ts";
import type { Reach } from "../http.ts";
import type { InstallRows } from "../install/rows.ts";
import type { TestRows } from "../pack-test/rows.ts";
import type { WarmInterpreters } from "../warm/warm.ts";

/** The properties of this host that actions depend on. */
export interface HostEnvironment {
  /** The variables that are passed to actions. */
  base: Readonly<Record<string, string>>;
  /** The variables of the engine of containers. */
  engineBase: Readonly<Record<string, string>>;
  apiUrl: string;
  /** Null: actions run as the worker's own user. */
  runAs: RunAs | null;
  /** Directories of releases on this host by digest, where they differ from the directories that they were loaded from. */
  releases: ReadonlyMap<string, string>;
  /** The command of each runtime on this host. */
  interpreters: ReadonlyMap<string, string>;
  /** The directory for the temporary files of executions. */
  scratch: string;
  /** What `core.http_request` may reach. */
  reach: Reach;
  /** The variables of builds of environments. */
  buildBase: Readonly<Record<string, string>>;
  /** Where packs are installed, which all processes share, the hosts that they may come from, and the addresses of indexes. */
  installs: { directory: string; sources: readonly string[]; indexes: readonly string[] };
  environments: Pick<Environments, "enter">;
  warm: Pick<WarmInterpreters, "starterOf">;
  /** Creates the execution's token; null when its identity no longer exists. */
  issueToken: (claim: Claim) => Promise<string | null>;
}

/** A claimed execution to run, and the receivers of its output. */
export interface Run {
  /** Its parameters contain the values of their secrets. */
  claim: Claim;
  /** Returns what tells our own webhooks that the execution sent a request, so that a loop through them is noticed. Few actions need it. */
  cause: () => string;
  /** Stops the action: the execution was cancelled, or the worker is stopping. */
  signal: AbortSignal;
  onOutput: (stream: "stdout" | "stderr" | "system", text: string) => void;
  /** For the action's output; null when it has no secrets. */
  mask: Mask | null;
  /** Stores the files in the action's artifacts directory before it is removed; never rejects. */
  collectArtifacts: (directory: string) => Promise<void>;
  /** Lets the action's time begin now, and that many milliseconds later end: it waits for its environment, or has it. */
  restartTime: (extraMs: number) => Promise<void>;
  /** Creates an inquiry with the parameters, whose secrets stay hidden, and parks the execution. Returns false when it was cancelled. */
  ask: () => Promise<boolean>;
  /** The rows of the tests of a pack, and of an installation. */
  tests: TestRows;
  installs: InstallRows;
}

/** How the actions of a runtime are run. */
export interface Runtime {
  /** What limits how many run at once: each takes one of the worker's slots, or they share a fixed number because none is a process. */
  slots: "process" | "shared";
  /** Is called when a worker starts that has the runtime. */
  start?(host: HostEnvironment): Promise<void>;
  /** Runs an action to its end and returns the outcome; null when the execution is parked. Failures of the action do not reject. */
  perform(run: Run, entrypoint: string, host: HostEnvironment): Promise<ExecutionOutcome | null>;
}

/** Returns the outcome of a claimed execution. */
export function outcome(
  { id, attempt }: Claim,
  status: ExecutionOutcome["status"],
  end: { result?: Json; error?: ExecutionError; reason?: string },
): ExecutionOutcome {
  return {
    id,
    attempt,
    status,
    result: end.result ?? null,
    error: end.error ?? null,
    reason: end.reason ?? end.error?.message ?? null,
  };
}

/** Returns the outcome of an execution that ran too long. */
export function timedOut(claim: Claim, result: Json): ExecutionOutcome {
  const message = `The action ran longer than ${claim.timeoutMs / 1000} s.`;
  return outcome(claim, "timeout", { result, error: { code: "TIMEOUT", message }, reason: message });
}

/** Returns the outcome of an execution that was stopped. */
export function stopped(claim: Claim, result: Json = null): ExecutionOutcome {
  return outcome(claim, "cancelled", { result, reason: "stopped by request" });
}

/** Returns the outcome of an execution that an error of the worker's own code ended. */
export function actionError(claim: Claim, error: unknown): ExecutionOutcome {
  const message = error instanceof Error ? error.message : String(error);
  return outcome(claim, "failed", { error: { code: "ACTION_ERROR", message } });
}
