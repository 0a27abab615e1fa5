import { chmodSync, chownSync, closeSync, openSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { unname } from "../lib/scratch.ts";
import type { RunAs } from "./start.ts";

/** Who reads a process's files: its own user's processes by /proc, those of another user by name, or any user inside of a container. */
export type Audience = "own" | "user" | "container";

/** Makes the path belong to the user of the processes. */
export function giveTo(path: string, runAs: RunAs | null): void {
  if (runAs !== null) chownSync(path, runAs.uid, runAs.gid);
}

/**
 * Files with secrets for one action. They have no names before they have contents: kill -9 leaves nothing of them. A process of another
 * user or in a container cannot open the worker's files by /proc: those files keep their names, in a directory that only the action's user can
 * enter and that the next start removes.
 */
export function createSecretFiles(directory: string, runAs: RunAs | null, audience: Audience) {
  const open: number[] = [];
  return {
    /** Returns the file's path. */
    write: (name: string, text: string): string => {
      const named = join(directory, name);
      const fd = openSync(named, "wx", 0o600);
      open.push(fd);
      giveTo(named, runAs);
      const path = audience === "own" ? unname(named, fd) : named;
      writeFileSync(fd, text);
      if (audience === "container") chmodSync(named, 0o644);
      return path;
    },
    close: () => {
      for (const fd of open) closeSync(fd);
    },
  };
}
