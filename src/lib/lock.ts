import { chmodSync, existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { StartError } from "../errors.ts";

/**
 * Creates `directory` (mode 0700, ignored by git) if it is missing, and locks it for this process. The embedded database has no lock
 * itself, and two writers lose rows. SQLite's exclusive lock is the operating system's, so it is free at once after kill -9. Throws
 * StartError when another process holds the lock or the directory cannot be written.
 */
export function lockDirectory(directory: string): { release(): void } {
  prepare(directory);
  const lock = tryLock(directory);
  if (lock !== null) return lock;
  throw new StartError(
    `Another attune process is using the data directory ${directory}: stop it, or set ATTUNE__DATA_DIR to a directory of its own.`,
  );
}

/** Locks an existing directory for this process; returns null when another one holds the lock, or there can be none. */
export function tryLock(directory: string): { release(): void } | null {
  try {
    const lock = new DatabaseSync(join(directory, "lock"), { timeout: 0 });
    try {
      lock.exec("pragma locking_mode = exclusive; begin exclusive");
      return { release: () => lock.close() };
    } catch {
      lock.close();
      return null;
    }
  } catch {
    return null; // the directory is gone
  }
}

function prepare(directory: string): void {
  try {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    chmodSync(directory, 0o700);
    const ignore = join(directory, ".gitignore");
    if (!existsSync(ignore)) writeFileSync(ignore, "*\n", { mode: 0o600 });
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new StartError(
      `The data directory ${directory} cannot be used (${reason}): set ATTUNE__DATA_DIR to a directory that this user may write.`,
      { cause },
    );
  }
}
