import { readdir, readFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";

/** How long descendants may outlive their leader at least, in milliseconds: also those that were killed with it take a moment to end. */
const leftoverMs = 250;
/** How many entries of /proc are read at once: one by one, a busy server took 10 s for a hundred. */
const readTogether = 200;

/** Sends a signal to the group (0: only checks). Returns false if the group is empty. */
export function signalGroup(pid: number, signal: "SIGTERM" | "SIGKILL" | 0): boolean {
  try {
    return process.kill(-pid, signal);
  } catch (error) {
    // The other error is EPERM: the group has processes of another user.
    return !(error instanceof Error && "code" in error && error.code === "ESRCH");
  }
}

/** Waits for the group to become empty, at least until it is to be killed (a time of the monotonic clock, null: it is not), then kills it. */
export async function endGroup(
  pid: number,
  { killAt, report }: { killAt: number | null; report(text: string): void },
): Promise<void> {
  const until = Math.max(killAt ?? 0, performance.now() + leftoverMs);
  for (let pause = 5; await isGroupAlive(pid); pause = Math.min(2 * pause, 100)) {
    const left = until - performance.now();
    if (left <= 0) {
      report("Processes were left behind: SIGKILL was sent to the process group.");
      break;
    }
    await sleep(Math.min(pause, left));
  }
  // Also when none was seen alive: a process that forks constantly can escape the check, but not the signal.
  signalGroup(pid, "SIGKILL");
}

/**
 * Returns whether the group has a living process. A zombie accepts signals until its new parent reaps it, which the first process of a
 * container may never do; only /proc shows the difference. Without /proc, zombies count.
 */
async function isGroupAlive(pgid: number): Promise<boolean> {
  if (!signalGroup(pgid, 0)) return false;
  const names = await readdir("/proc").catch(() => null);
  if (names === null) return true;
  const pids = names.filter((each) => /^\d+$/.test(each));
  for (let from = 0; from < pids.length; from += readTogether) {
    const reads = pids.slice(from, from + readTogether).map((pid) => readFile(`/proc/${pid}/stat`, "latin1"));
    const stats = await Promise.allSettled(reads);
    if (stats.some((stat) => stat.status === "fulfilled" && isAliveIn(stat.value, pgid))) return true;
  }
  return false;
}

function isAliveIn(stat: string, pgid: number): boolean {
  // After the command's name in parentheses, which may hold any character: state, parent, group.
  const [state, , group] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return group === String(pgid) && state !== "Z";
}
