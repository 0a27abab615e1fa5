import { finished } from "node:stream/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { LONGEST_TIMER } from "../lib/timer.ts";
import { createCapture, createStore } from "./capture.ts";
import { endGroup, signalGroup } from "./group.ts";
import { type ProcessSpec, type Started, type Starter, startCold, startMessage } from "./start.ts";

/** How long to wait for a leader after SIGKILL (another user's process, a hung disk). */
const unkillableMs = 2_000;

/** Receivers of what a process writes. */
export interface ProcessHooks {
  /** Receives output in order, within 200 ms, without NUL. "system" lines report what was done to the process. Must not throw. */
  onOutput(stream: "stdout" | "stderr" | "system", text: string): void;
}

/** The end of a process and its output. */
export interface ProcessResult {
  ended: "exited" | "timed_out" | "stopped" | "spawn_failed";
  /** Null if a signal ended the process, or it never started or ended. */
  exitCode: number | null;
  signalName: string | null;
  durationMs: number;
  /** The first 10 MiB, without the truncation marker. */
  stdout: string;
  truncated: { stdout: boolean; stderr: boolean };
  /** Why the process did not start or exit by itself; null if it did. */
  message: string | null;
}

/**
 * Starts a command, by default in a new process, as the leader of its own session and process group, and resolves when the group is empty, however the
 * command behaves; never rejects. Time-out and abort send SIGTERM to the group and, after the grace, SIGKILL; descendants that outlive the
 * leader are killed after 250 ms. Invalid UTF-8 and NUL become U+FFFD. A descendant that calls setsid() leaves the group and is not
 * killed; its output is read until it has been silent for 100 ms, at most 1 s.
 */
export async function runProcess(
  spec: ProcessSpec,
  hooks: ProcessHooks,
  start: Starter = startCold,
): Promise<ProcessResult> {
  const started = performance.now();
  const store = createStore();
  const stdout = createCapture((text) => hooks.onOutput("stdout", text), store.append);
  const stderr = createCapture((text) => hooks.onOutput("stderr", text));
  const report = (text: string) => {
    stdout.flush();
    stderr.flush();
    hooks.onOutput("system", `${text}\n`);
  };
  const finish = (end: Pick<ProcessResult, "ended" | "exitCode" | "signalName" | "message">): ProcessResult => ({
    ...end,
    durationMs: Math.round(performance.now() - started),
    stdout: store.take(),
    truncated: { stdout: stdout.truncated(), stderr: stderr.truncated() },
  });
  const notStarted = { exitCode: null, signalName: null };

  if (spec.signal.aborted)
    return finish({ ...notStarted, ended: "stopped", message: "Cancelled before it was started." });
  let child: Started;
  try {
    child = await start(spec);
  } catch (error) {
    return finish({ ...notStarted, ended: "spawn_failed", message: startMessage(spec, error) });
  }

  child.stdout.on("data", stdout.write);
  child.stderr.on("data", stderr.write);
  // The write fails when the process closes its stdin or never reads it: that is allowed.
  for (const pipe of pipesOf(child)) pipe.on("error", () => {});
  child.stdin?.end(spec.stdin);

  const { killAt, ...end } = await supervise(spec, child, report);
  await endGroup(child.pid, { killAt, report });
  await drain(child, () => stdout.received() + stderr.received());
  stdout.end();
  stderr.end();
  return finish(end);
}

const pipesOf = ({ stdin, stdout, stderr }: Started) => (stdin === null ? [stdout, stderr] : [stdin, stdout, stderr]);

type Ended = Pick<ProcessResult, "ended" | "exitCode" | "signalName" | "message"> & { killAt: number | null };

/** Waits for the leader to exit and stops the group on time-out or abort. `killAt` is when the grace ends, if it was stopped. */
function supervise(spec: ProcessSpec, child: Started, report: (text: string) => void): Promise<Ended> {
  const { pid } = child;
  return new Promise((resolve) => {
    const stopped: Omit<Ended, "exitCode" | "signalName"> = { ended: "exited", message: null, killAt: null };
    let timer = setTimeout(
      () => stop("timed_out", timeoutMessage(spec.timeoutMs)),
      Math.min(spec.timeoutMs, LONGEST_TIMER),
    );
    const cancel = () => stop("stopped", "Cancelled.");
    spec.signal.addEventListener("abort", cancel, { once: true });

    function settle(exitCode: number | null, signalName: string | null) {
      clearTimeout(timer);
      spec.signal.removeEventListener("abort", cancel);
      resolve({ ...stopped, exitCode, signalName });
    }
    function stop(ended: "timed_out" | "stopped", message: string) {
      if (stopped.killAt !== null) return;
      clearTimeout(timer);
      Object.assign(stopped, { ended, message, killAt: performance.now() + spec.graceMs });
      report(`${message} SIGTERM was sent to the process group.`);
      signalGroup(pid, "SIGTERM");
      timer = setTimeout(kill, Math.min(spec.graceMs, LONGEST_TIMER));
    }
    function kill() {
      report(`Still running after ${seconds(spec.graceMs)}: SIGKILL was sent to the process group.`);
      signalGroup(pid, "SIGKILL");
      timer = setTimeout(giveUp, unkillableMs);
    }
    function giveUp() {
      stopped.message = `${stopped.message} Process ${pid} could not be ended and was given up.`;
      child.unref();
      settle(null, null);
    }
    void child.exited.then(({ exitCode, signalName, note }) => {
      if (note !== undefined) report(note);
      settle(exitCode, signalName);
    });
    if (spec.signal.aborted) cancel(); // while it was started
  });
}

function timeoutMessage(ms: number): string {
  return `Timed out after ${seconds(ms)}.`;
}

function seconds(ms: number): string {
  return `${ms / 1000} s`;
}

/**
 * Reads the pipes to their end; if another process holds them open, until five turns brought nothing, at most 50 turns of 20 ms. It
 * counts turns, not time: each turn of the event loop reads the pipes, so that a busy server does not lose a process's last output.
 */
async function drain(child: Started, received: () => number): Promise<void> {
  const atEnd = Promise.allSettled(
    [child.stdout, child.stderr].map((pipe) => finished(pipe, { writable: false })),
  ).then(() => true);
  let before = received();
  for (let turn = 0, quiet = 0; turn < 50 && quiet < 5; turn++) {
    if (await Promise.race([atEnd, sleep(20, false)])) break;
    quiet = received() === before ? quiet + 1 : 0;
    before = received();
  }
  for (const pipe of pipesOf(child)) pipe.destroy();
}
