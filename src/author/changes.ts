import { lstat } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { listFiles } from "../catalog/files.ts";
import { invalid } from "../errors.ts";

const pauseMs = 200;
/** Looking at the files takes at most this part of the time. */
const mostWork = 0.1;

/**
 * Yields once at the beginning, and again when the files of the directory have changed and have then been the same for a moment: several changes are
 * one. Changes while the caller works are noticed afterwards. Throws the signal's reason when it aborts, and InvalidInputError when there is no such directory.
 *
 * It looks at the files instead of listening to the system: this sees editors that replace files, directories that come and go, and
 * mounted file systems alike.
 */
export async function* changesIn(directory: string, signal: AbortSignal): AsyncGenerator<void> {
  let seen: string | null = null;
  let before = await describeFiles(directory);
  if (before === null) throw invalid("", `there is no directory ${directory}`);
  for (;;) {
    const started = performance.now();
    const now = await describeFiles(directory);
    const took = performance.now() - started;
    signal.throwIfAborted();
    if (now !== null && now === before && now !== seen) {
      seen = now;
      yield;
    }
    before = now;
    await sleep(Math.max(pauseMs, took / mostWork), undefined, { signal });
  }
}

/** Returns a text that differs when a file does; null while the directory is missing, or changes under the eyes. */
async function describeFiles(directory: string): Promise<string | null> {
  try {
    const { paths } = await listFiles(directory);
    const lines: string[] = [];
    for (const path of paths) {
      const { mtimeNs, size, ino } = await lstat(join(directory, path), { bigint: true });
      lines.push(`${path}\0${mtimeNs}\0${size}\0${ino}`);
    }
    return lines.join("\n");
  } catch (error) {
    if (error instanceof Error && "code" in error && (error.code === "ENOENT" || error.code === "ENOTDIR")) return null;
    throw error;
  }
}
