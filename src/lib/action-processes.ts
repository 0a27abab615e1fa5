import { readdir, readFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { globalId } from "./global-id.ts";
import { isAlive, type ProcessIdentity, thisHost, thisProcess } from "./process-identity.ts";

/** The variable by which an action's processes are known as those of the process that started them. */
export const workerVariable = "ATTUNE_WORKER_PROCESS";
/** The variable with the execution's id. */
export const executionVariable = "ATTUNE_EXEC_ID";

/** The host belongs to it: the process ids of containers mean nothing outside of them, where their processes can be seen. */
const nameOf = ({ host, pid, started }: ProcessIdentity) => `${host} ${pid} ${started}`;

/** Returns the variable's value for actions that this process starts. */
export const ownName = () => nameOf(thisProcess());

/** How many entries of /proc are read at once. */
const readTogether = 200;
/** How often it looks again, because a process may start another one meanwhile. */
const rounds = 10;
const pauseMs = 20;

/** An attempt that its worker will not finish: the worker's process, and the execution's id. */
export interface LostAttempt {
  process: ProcessIdentity;
  execution: string;
}

/**
 * Ends, with SIGKILL, what these attempts left running on this host, and the groups of these processes. Returns whether nothing is left: processes of
 * another user cannot be ended. A process that has cleared its environment is not found, and none is without /proc. What executions that have
 * ended left behind on purpose, such as a service in a session of its own, is not touched.
 */
export async function endLostProcesses(lost: readonly LostAttempt[]): Promise<boolean> {
  return await endProcesses(lost.map(({ process, execution }) => ({ process, id: globalId("Execution", execution) })));
}

/** Does the same for what these processes started for any work with a global id, such as a sensor. */
export async function endProcesses(of: readonly { process: ProcessIdentity; id: string }[]): Promise<boolean> {
  const keys = new Set(of.map(({ process, id }) => keyOf(nameOf(process), id)));
  return keys.size === 0 || (await end(({ worker, execution }) => keys.has(keyOf(worker, execution))));
}

/**
 * Does the same for what dead ones of these workers, of this host, left of earlier attempts of the execution. Another installation on the host
 * has executions with the same ids, and what its actions left running on purpose is not touched either.
 */
export async function endEarlierAttempts(execution: string, workers: readonly ProcessIdentity[]): Promise<boolean> {
  const here = thisHost();
  const dead = workers.filter((worker) => worker.host === here && !isAlive(worker));
  return await endLostProcesses(dead.map((process) => ({ process, execution })));
}

/** Ends what dead workers of this host left of the work with that global id, such as the build of an environment. */
export async function endLeftProcesses(id: string): Promise<boolean> {
  const here = thisHost();
  return await end((each) => {
    const worker = workerOf(each.worker);
    return each.execution === id && worker !== null && worker.host === here && !isAlive(worker);
  });
}

/** Returns the process that the variable's value names; null when its start is not known. */
export function workerOf(name: string): ProcessIdentity | null {
  const [host = "", pid = "", started = "null"] = name.split(" ");
  return started === "null" ? null : { host, pid: Number(pid), started };
}

const keyOf = (worker: string, execution: string) => `${worker}/${execution}`;

async function end(isLost: (found: Found) => boolean): Promise<boolean> {
  for (let round = 0; round < rounds; round += 1) {
    const found = (await findProcesses()).filter(isLost);
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
  execution: string;
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
    const environment = (await readFile(`/proc/${pid}/environ`, "latin1")).split("\0");
    const read = (name: string) => environment.find((each) => each.startsWith(`${name}=`))?.slice(name.length + 1);
    const [worker, execution] = [read(workerVariable), read(executionVariable)];
    if (worker === undefined || execution === undefined) return null;
    const stat = await readFile(`/proc/${pid}/stat`, "latin1");
    // After the command's name in parentheses, which may hold any character: state, parent, group.
    const [state, , group] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return state === "Z" ? null : { pid: Number(pid), group: Number(group), worker, execution };
  } catch {
    return null;
  }
}
