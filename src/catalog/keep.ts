import { existsSync } from "node:fs";
import { copyFile, mkdir, rename, stat, utimes } from "node:fs/promises";
import { dirname, join } from "node:path";
import { ConflictError } from "../errors.ts";
import { createScratch, removeLeftScratch } from "../lib/scratch.ts";
import type { Log } from "../log.ts";
import { readFiles } from "./files.ts";
import type { CheckedPack } from "./read.ts";

/** Where the files of releases stay. */
export interface ReleaseStore {
  /** The directory of installed packs. */
  directory: string;
  /** The user that actions run as, who must be able to read the files; null: the server's own. */
  runAs: { uid: number; gid: number } | null;
  log: Log;
}

/** A pack of a directory whose files were copied, so that what runs keeps its release when they change. */
export interface KeptPack extends CheckedPack {
  /** The directory that was read; `path` is that of the copy. */
  directory: string;
}

/**
 * Copies the files of a checked pack to where releases stay, and returns the pack with that path. Where nothing can be written, or the user of
 * actions could not read it, the pack is used in its own directory, and the log says so. Throws ConflictError when the files change meanwhile.
 */
export async function keepRelease(source: CheckedPack, store: ReleaseStore): Promise<KeptPack> {
  const { path: directory } = source;
  try {
    await mkdir(store.directory, { recursive: true, mode: 0o755 });
    if (store.runAs === null || (await mayEnter(store.directory, store.runAs))) {
      return { ...source, directory, path: await copyOf(source, store.directory) };
    }
    warn(store, source, "the user that actions run as may not enter ATTUNE__PACKS__INSTALL_DIR");
  } catch (error) {
    if (!(error instanceof Error && "syscall" in error)) throw error;
    warn(store, source, `its files cannot be copied (${error.message})`);
  }
  return { ...source, directory };
}

function warn({ log }: ReleaseStore, { pack, path }: CheckedPack, reason: string): void {
  log.warn({ pack: pack.ref, path }, `a pack is used in its own directory, and changes with it at once: ${reason}`);
}

/** Returns the directory with the same files that is named by their digest. */
async function copyOf({ path, digest, pack }: CheckedPack, store: string): Promise<string> {
  const target = join(store, pack.ref, digest);
  if (existsSync(target) && (await digestOf(target)) === digest) {
    await touch(target);
    return target;
  }
  await removeLeftScratch(store);
  const scratch = createScratch(store);
  try {
    const copy = join(scratch.directory, "files");
    await copyFiles(path, copy);
    if ((await digestOf(copy)) !== digest) {
      throw new ConflictError(`The files in ${path} changed while they were read: try again.`);
    }
    await mkdir(dirname(target), { recursive: true, mode: 0o755 });
    // What has its name and other contents was changed by an action.
    if (existsSync(target)) await rename(target, join(scratch.directory, "changed"));
    await rename(copy, target).catch(async (error: unknown) => {
      if (!existsSync(target)) throw error; // else another process was faster
      if ((await digestOf(target)) !== digest) throw error;
    });
    await touch(target);
    return target;
  } finally {
    scratch.remove();
  }
}

const digestOf = async (directory: string) => (await readFiles(directory, () => false)).digest;

/** It counts as new: what removes old releases leaves it alone. */
const touch = (target: string) => utimes(target, new Date(), new Date());

async function copyFiles(from: string, to: string): Promise<void> {
  const { paths } = await readFiles(from, () => false);
  await mkdir(to);
  for (const path of paths) {
    await mkdir(dirname(join(to, path)), { recursive: true });
    await copyFile(join(from, path), join(to, path));
  }
}

/** Returns whether a user may enter the directory and those above it. */
async function mayEnter(directory: string, { uid, gid }: { uid: number; gid: number }): Promise<boolean> {
  const { mode, uid: owner, gid: group } = await stat(directory);
  const bit = owner === uid ? 0o100 : group === gid ? 0o010 : 0o001;
  if ((mode & bit) === 0) return false;
  const above = dirname(directory);
  return above === directory || (await mayEnter(above, { uid, gid }));
}
