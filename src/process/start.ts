import { type ChildProcess, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import type { Readable, Writable } from "node:stream";

/** The user and group that processes run as. */
export interface RunAs {
  uid: number;
  gid: number;
}

/** A command to run, and its limits. */
export interface ProcessSpec {
  command: string;
  args: string[];
  cwd: string;
  /** The whole environment: nothing is inherited. The command is looked up in its PATH. */
  env: Record<string, string>;
  /** The user and group of the process; null: those of this process. */
  runAs?: RunAs | null;
  /** Written as UTF-8, then closed; null gives the process an empty stdin. */
  stdin: string | null;
  /** Running time after which the process is stopped, in milliseconds; above 24.8 days it counts as 24.8 days. */
  timeoutMs: number;
  /** Time between SIGTERM and SIGKILL, in milliseconds. */
  graceMs: number;
  /** Cancels the process. */
  signal: AbortSignal;
}

/** The exit of a process. */
export interface Exit {
  /** Null if a signal ended the process. */
  exitCode: number | null;
  signalName: string | null;
  /** What is to be reported about it. */
  note?: string;
}

/** A started process, the leader of its own session and process group. */
export interface Started {
  pid: number;
  /** Null if the process has an empty stdin. */
  stdin: Writable | null;
  stdout: Readable;
  stderr: Readable;
  exited: Promise<Exit>;
  /** Whether its interpreter had started before. */
  isWarm: boolean;
  /** Lets this process end while that one goes on. */
  unref(): void;
}

/** Starts a process; rejects when it cannot be started. However it is started, it differs in nothing but what docs/warm.md names. */
export type Starter = (spec: ProcessSpec) => Promise<Started>;

/** Starts a new process. */
export const startCold: Starter = async (spec) => {
  const child = spawn(spec.command, spec.args, {
    cwd: spec.cwd,
    env: spec.env,
    detached: true,
    ...spec.runAs,
    stdio: [spec.stdin === null ? "ignore" : "pipe", "pipe", "pipe"],
  });
  return await startedOf(child, spec.stdin !== null);
};

/** Returns a child with pipes as a started process; rejects when it did not start. */
export async function startedOf(child: ChildProcess, hasStdin: boolean): Promise<Started> {
  const { pid, stdin, stdout, stderr } = child;
  if (pid === undefined || stdout === null || stderr === null) {
    throw await new Promise<Error>((resolve) => child.once("error", resolve));
  }
  const exited = new Promise<Exit>((resolve) => {
    child.once("exit", (exitCode, signalName) => resolve({ exitCode, signalName }));
  });
  return { pid, stdin: hasStdin ? stdin : null, stdout, stderr, exited, isWarm: false, unref: () => child.unref() };
}

/** Returns why the process did not start, for the action's author. */
export function startMessage(spec: ProcessSpec, thrown: unknown): string {
  const error: NodeJS.ErrnoException = thrown instanceof Error ? thrown : new Error(String(thrown));
  // The system reports a missing directory with the same code as a missing command.
  if (error.code === "ENOENT" && !existsSync(spec.cwd)) return `The working directory "${spec.cwd}" does not exist.`;
  if (error.code === "ENOENT") return `The command "${spec.command}" was not found.`;
  if (error.code === "EACCES") return `The command "${spec.command}" is not executable.`;
  if (error.code === "E2BIG") return "The arguments and the environment are too long for the system.";
  return `The command "${spec.command}" could not be started: ${error.message}`;
}
