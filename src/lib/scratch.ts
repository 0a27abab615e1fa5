import { randomUUID } from "node:crypto";
import { existsSync, lstatSync, mkdtempSync, renameSync, rmSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { tryLock } from "./lock.ts";

const prefix = "attune-scratch-";

/** A private directory for the temporary files of this process. */
export interface Scratch {
  directory: string;
  /** Deletes it. */
  remove(): void;
}

/** Creates a directory that `removeLeftScratch` leaves alone as long as this process lives. */
export function createScratch(base = tmpdir()): Scratch {
  for (let tries = 1; ; tries += 1) {
    const directory = mkdtempSync(join(base, prefix));
    const lock = tryLock(directory);
    // Between its creation and the lock another process may have removed it as a dead one's.
    if (lock !== null && existsSync(directory)) {
      return {
        directory,
        remove: () => {
          removeQuietly(directory);
          lock.release();
        },
      };
    }
    lock?.release();
    if (tries === 3)
      throw new Error(`The temporary directory ${base} does not support locks: set TMPDIR to another one.`);
  }
}

/**
 * Deletes the directories that dead processes of this user left: kill -9 cannot be handled. Their locks tell, and not their process ids,
 * which mean nothing to a process in another container.
 */
export async function removeLeftScratch(base = tmpdir()): Promise<void> {
  for (const name of await readdir(base)) {
    const directory = join(base, name);
    if (!name.startsWith(prefix) || !isOwn(directory)) continue;
    const lock = tryLock(directory);
    if (lock === null) continue;
    const doomed = join(base, `${prefix}${randomUUID()}`);
    try {
      renameSync(directory, doomed); // its creator, if it has just created it, finds that it is gone
    } catch {
      continue; // another process was faster
    } finally {
      lock.release();
    }
    removeQuietly(doomed);
  }
}

/** In a directory that all users share, anybody can create a link, or a directory, of that name. */
function isOwn(directory: string): boolean {
  try {
    const found = lstatSync(directory);
    return found.isDirectory() && found.uid === process.getuid?.();
  } catch {
    return false; // it was deleted meanwhile
  }
}

/** An action may leave directories that cannot be deleted: those stay. */
function removeQuietly(directory: string): void {
  try {
    rmSync(directory, { recursive: true, force: true });
  } catch {}
}

/**
 * Takes an open file's name away and returns a path that works for this user's processes as long as the file is open here: nothing of
 * it is left when this process ends, however it ends. Where the system has no /proc, the file keeps its name, which is returned.
 */
export function unname(path: string, fd: number): string {
  const open = `/proc/${process.pid}/fd/${fd}`;
  if (!existsSync(open)) return path;
  rmSync(path);
  return open;
}
