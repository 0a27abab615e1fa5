import { existsSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { Consent } from "../cli/administration.ts";
import { lockDirectory } from "../lib/lock.ts";
import { filesOf, openEmbedded, type Target } from "./target.ts";

/** Creates the database. Returns false when it exists. */
export async function createEmbedded(target: Target): Promise<boolean> {
  if (existsSync(filesOf(target))) return false;
  await (await openEmbedded(target))[Symbol.asyncDispose]();
  return true;
}

/** Removes the database, and the credentials that it has stored. Returns false when there is none. Throws StartError when a server uses it. */
export async function dropEmbedded(target: Target, consent: Consent): Promise<boolean> {
  const files = filesOf(target);
  const dropped = `${files}.dropped`;
  if (!existsSync(files) && !existsSync(dropped)) return false;
  const lock = lockDirectory(target.dataDir);
  try {
    await consent();
    rmSync(dropped, { recursive: true, force: true }); // of a process that was killed here
    rmSync(join(target.dataDir, "credentials.json"), { force: true });
    // The name is gone at once: half of the files would not be a database that could be opened.
    if (existsSync(files)) renameSync(files, dropped);
    rmSync(dropped, { recursive: true, force: true });
    return true;
  } finally {
    lock.release();
  }
}
