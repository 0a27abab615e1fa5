import { readdir, readFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { isAlive, type ProcessIdentity, thisHost, thisProcess } from "./process-identity.ts";

/** The variable by which an action's processes are known as those of the process that started them. */
export const workerVariable = "ATTUNE_WORKER_PROCESS";

/** The host belongs to it: the process ids of containers mean nothing outside of them, where their processes can be seen. */
const nameOf = ({ host, pid, started }: ProcessIdentity) => `${host} ${pid} ${started}`;

/** Returns the variable's value for actions that this process starts. */
export const ownName = () => nameOf(thisProcess());

/** How many entries of /proc are read at once. */
const readTogether = 200;
/** How often it looks again, because a process may start another one meanwhile. */
const rounds = 10;
const pauseMs = 20;

/**
 * Ends, with SIGKILL, the processes of actions that these workers' processes started on this host, and their groups. Returns whether none is
 * left: those of another user cannot be ended. A process that has cleared its environment is not found, and none is without /proc.
 */
export async function endProcessesOf(workers: readonly ProcessIdentity[]): Promise<boolean> {
  const names = new Set(workers.map(nameOf));
  return names.size === 0 || (await end((worker) => names.has(worker)));
}

/** Does the same for all processes of actions whose worker's process no longer exists. */
export async function endOrphans(): Promise<boolean> {
  const here = thisHost();
  return await end((worker) => {
    const [host = "", pid = "", started = ""] = worker.split(" ");
    return host === here && started !== "null" && !isAlive({ host, pid: Number(pid), started });
  });
}

async function end(isLost: (worker: string) => boolean): Promise<boolean> {
  for (let round = 0; round < rounds; round += 1) {
    const found = (await findProcesses()).filter(({ worker }) => isLost(worker));
    if (found.length === 0) return true;
    for (const { pid, group } of found) {
      signal(-group);
      signal(pid);
    }
    await sleep(pauseMs);
  }
  return false;
}

function signal(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {} // it has ended, or belongs to another user: the next round shows which
}

interface Found {
  pid: number;
  group: number;
  worker: string;
}

async function findProcesses(): Promise<Found[]> {
  const pids = (await readdir("/proc").catch(() => [])).filter((name) => /^\d+$/.test(name));
  const found: Found[] = [];
  for (let from = 0; from < pids.length; from += readTogether) {
    const read = await Promise.all(pids.slice(from, from + readTogether).map(readProcess));
    found.push(...read.filter((each) => each !== null));
  }
  return found;
}

/** Returns null for processes that are no action's, have ended, or may not be read. */
async function readProcess(pid: string): Promise<Found | null> {
  try {
    const environment = await readFile(`/proc/${pid}/environ`, "latin1");
    const entry = environment.split("\0").find((each) => each.startsWith(`${workerVariable}=`));
    if (entry === undefined) return null;
    const stat = await readFile(`/proc/${pid}/stat`, "latin1");
    // After the command's name in parentheses, which may hold any character: state, parent, group.
    const [state, , group] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return state === "Z"
      ? null
      : { pid: Number(pid), group: Number(group), worker: entry.slice(workerVariable.length + 1) };
  } catch {
    return null;
  }
}
