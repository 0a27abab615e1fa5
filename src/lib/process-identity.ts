import { readFileSync, readlinkSync } from "node:fs";
import { hostname } from "node:os";

/** A process beyond doubt: pids are reused, so its start counts too; and only its own host can look it up. */
export interface ProcessIdentity {
  /** The boot of the machine and the pid namespace; the host's name alone where the system has neither. */
  host: string;
  pid: number;
  /** Clock ticks after boot at which it started; null where the system does not say. */
  started: string | null;
}

/** Where this process lives: only processes of the same host can judge each other. */
export function thisHost(): string {
  try {
    return `${readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim()}/${readlinkSync("/proc/self/ns/pid")}`;
  } catch {
    return hostname();
  }
}

/** This process. */
export function thisProcess(): ProcessIdentity {
  return { host: thisHost(), pid: process.pid, started: startOf(process.pid) };
}

/** Whether a process of this host is still the one that it was. */
export function isAlive({ pid, started }: ProcessIdentity): boolean {
  try {
    process.kill(pid, 0);
  } catch (error) {
    return error instanceof Error && "code" in error && error.code === "EPERM";
  }
  return started === null || startOf(pid) === started;
}

/** Field 22 of /proc/<pid>/stat (proc(5)), counted behind the command's name, which may hold spaces and brackets. */
function startOf(pid: number): string | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19] ?? null;
  } catch {
    return null;
  }
}
