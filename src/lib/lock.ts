import { chmodSync, existsSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { StartError } from "../errors.ts";

/**
 * Creates `directory` (mode 0700, ignored by git) if it is missing, and locks it for this process. The embedded database has no lock
 * itself, and two writers lose rows. SQLite's exclusive lock is the operating system's, so it is free at once after kill -9. Throws
 * StartError when another process holds the lock, the directory has other files, or it cannot be written.
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

/** What every data directory has from its first start. */
const own = ["lock", "pgdata", "encryption.key", "credentials.json"];

/** Throws StartError for a directory with files that are not a server's: its permissions must not be changed. */
function refuseForeign(directory: string): void {
  const names = readdirSync(directory).filter((name) => name !== ".gitignore");
  if (names.length === 0 || names.some((name) => own.includes(name))) return;
  const some = names.slice(0, 3).join(", ");
  throw new StartError(
    `The directory ${directory} has files of something else (${some}${names.length > 3 ? ", …" : ""}): set ATTUNE__DATA_DIR to a new or empty one.`,
  );
}

function prepare(directory: string): void {
  try {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    refuseForeign(directory);
    chmodSync(directory, 0o700);
    const ignore = join(directory, ".gitignore");
    if (!existsSync(ignore)) writeFileSync(ignore, "*\n", { mode: 0o600 });
  } catch (cause) {
    if (cause instanceof StartError) throw cause;
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new StartError(
      `The data directory ${directory} cannot be used (${reason}): set ATTUNE__DATA_DIR to a directory that this user may write.`,
      { cause },
    );
  }
}
