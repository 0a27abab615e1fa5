import { createHash } from "node:crypto";
import { constants } from "node:fs";
import { lstat, readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Issue } from "../errors.ts";

/** Files of tools in a working copy, which are never part of a pack. */
const IGNORED = new Set([".git", "node_modules", "__pycache__"]);
const MOST_FILES = 10_000;
const MOST_BYTES = 256 * 1024 * 1024;
const DEEPEST = 20;

/** The regular files of a pack: their sorted paths, and the contents of the requested ones. */
export interface PackFiles {
  paths: ReadonlySet<string>;
  contents: ReadonlyMap<string, Buffer>;
  /** sha-256, hex, over the paths and contents. */
  digest: string;
  /** Bytes of all contents together. */
  size: number;
  /** Faults: links, devices, names that are not plain text, and exceeded limits. */
  issues: Issue[];
}

/** Reads every file below an existing directory once, and keeps the contents of those that `wanted` selects. */
export async function readFiles(directory: string, wanted: (path: string) => boolean): Promise<PackFiles> {
  const { paths, issues } = await listFiles(directory);
  const contents = new Map<string, Buffer>();
  const hash = createHash("sha256");
  let size = 0;
  for (const path of paths) {
    const length = (await lstat(join(directory, path))).size;
    if (size + length > MOST_BYTES) {
      issues.push({ path, message: `the pack is larger than ${MOST_BYTES} bytes` });
      break;
    }
    // O_NOFOLLOW: a file that was replaced by a link after it was listed is not followed.
    const content = await readFile(join(directory, path), { flag: constants.O_RDONLY | constants.O_NOFOLLOW });
    // With the lengths, two different trees cannot give the same stream of bytes.
    hash.update(`${Buffer.byteLength(path)}:${path}${content.length}:`).update(content);
    size += content.length;
    if (wanted(path)) contents.set(path, content);
  }
  return { paths: new Set(paths), contents, digest: hash.digest("hex"), size, issues };
}

/** Returns the sorted paths of the files that belong to a pack, and the faults of the others. */
export async function listFiles(directory: string): Promise<{ paths: string[]; issues: Issue[] }> {
  const paths: string[] = [];
  const issues: Issue[] = [];
  const pending = [""];
  for (let folder = pending.pop(); folder !== undefined; folder = pending.pop()) {
    for (const entry of await readdir(join(directory, folder), { withFileTypes: true })) {
      if (IGNORED.has(entry.name)) continue;
      const path = folder === "" ? entry.name : `${folder}/${entry.name}`;
      const fault = entryFault(entry.name, path);
      if (fault) issues.push({ path, message: fault });
      else if (entry.isDirectory()) pending.push(path);
      else if (entry.isFile()) paths.push(path);
      else issues.push({ path, message: unusual(entry.isSymbolicLink()) });
    }
    if (paths.length > MOST_FILES) {
      issues.push({ path: "", message: `expected at most ${MOST_FILES} files` });
      break;
    }
  }
  return { paths: paths.slice(0, MOST_FILES).sort(), issues };
}

function unusual(isLink: boolean): string {
  return `${isLink ? "a symbolic link" : "a special file"} cannot be part of a pack; expected regular files and directories`;
}

function entryFault(name: string, path: string): string | null {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is refused
  if (/[\u0000-\u001f\u007f\\\ufffd]/.test(name))
    return "expected a name in UTF-8 without control characters or backslashes";
  return path.split("/").length > DEEPEST ? `expected at most ${DEEPEST} levels of folders` : null;
}
