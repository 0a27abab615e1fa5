import { readFileSync, readlinkSync } from "node:fs";
import { hostname } from "node:os";

/** Identifies a process: pids are reused, so the start time is included; only its own host can look it up. */
export interface ProcessIdentity {
  /** The machine's boot id and the pid namespace; only the host's name if the system has neither. */
  host: string;
  pid: number;
  /** The start time in clock ticks after boot; null if the system does not report it. */
  started: string | null;
}

/** Returns the host of this process; only processes of the same host can check each other. */
export function thisHost(): string {
  try {
    return `${readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim()}/${readlinkSync("/proc/self/ns/pid")}`;
  } catch {
    return hostname();
  }
}

/** Returns the identity of this process. */
export function thisProcess(): ProcessIdentity {
  return { host: thisHost(), pid: process.pid, started: startOf(process.pid) };
}

/** Returns whether the process, which must be of this host, is still alive. */
export function isAlive({ pid, started }: ProcessIdentity): boolean {
  try {
    process.kill(pid, 0);
  } catch (error) {
    return error instanceof Error && "code" in error && error.code === "EPERM";
  }
  return started === null || startOf(pid) === started;
}

/** Returns field 22 of /proc/<pid>/stat (proc(5)), counted after the command's name, which may contain spaces and brackets. */
function startOf(pid: number): string | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19] ?? null;
  } catch {
    return null;
  }
}
