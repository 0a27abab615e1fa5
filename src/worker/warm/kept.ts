import { readFileSync } from "node:fs";

const lookMs = 5_000;
/** Within this time after its use a process does not give way to another one: starting them in turn would cost more than they save. */
const restMs = 30_000;
const pageBytes = 4096;

/** A process that is kept for later actions. */
export interface Kept {
  /** Null: it has ended, or did not start. */
  pid: number | null;
  isBusy(): boolean;
  end(): void;
}

/** The kept processes of a runtime by their keys. */
export interface KeptProcesses<T extends Kept> extends Disposable {
  /** Returns the process, which counts as used now. */
  find(key: string): T | undefined;
  /** Adds a process, unless there are too many: then the one that was not used for the longest time ends, if that was long enough. */
  add(key: string, create: () => T): void;
  /** Forgets a process without ending it. */
  remove(key: string, process: T): void;
  /** Returns how many there are, and the bytes of memory that they hold. */
  usage(): { processes: number; bytes: number };
}

/** Keeps at most that many processes; those that were not used for `idleMs` end. */
export function createKept<T extends Kept>({ most, idleMs }: { most: number; idleMs: number }): KeptProcesses<T> {
  /** In the order of their last use. */
  const kept = new Map<string, { process: T; usedAt: number }>();
  let isClosed = false;
  const endWhere = (isDue: (usedAt: number) => boolean) => {
    for (const [key, { process, usedAt }] of kept) {
      if (process.isBusy() || !isDue(usedAt)) continue;
      kept.delete(key);
      process.end();
    }
  };
  const timer = setInterval(() => endWhere((usedAt) => performance.now() - usedAt > idleMs), Math.min(lookMs, idleMs));
  timer.unref();
  return {
    find: (key) => {
      const found = kept.get(key);
      if (found === undefined) return undefined;
      kept.delete(key);
      kept.set(key, { ...found, usedAt: performance.now() });
      return found.process;
    },
    add: (key, create) => {
      if (isClosed || kept.has(key)) return;
      endWhere((usedAt) => kept.size >= most && performance.now() - usedAt > restMs);
      if (kept.size < most) kept.set(key, { process: create(), usedAt: performance.now() });
    },
    remove: (key, process) => {
      if (kept.get(key)?.process === process) kept.delete(key);
    },
    usage: () => {
      const sizes = [...kept.values()].flatMap(({ process }) =>
        process.pid === null ? [] : [residentBytes(process.pid)],
      );
      return { processes: sizes.length, bytes: sizes.reduce((sum, each) => sum + each, 0) };
    },
    [Symbol.dispose]: () => {
      isClosed = true;
      clearInterval(timer);
      for (const { process } of kept.values()) process.end();
      kept.clear();
    },
  };
}

function residentBytes(pid: number): number {
  try {
    return Number(readFileSync(`/proc/${pid}/statm`, "latin1").split(" ")[1]) * pageBytes;
  } catch {
    return 0; // it has just ended
  }
}
