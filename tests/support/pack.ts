import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll } from "vitest";
import { loadPack } from "../../src/catalog/load.ts";
import { preparePack } from "../../src/catalog/queues.ts";
import { readPack } from "../../src/catalog/read.ts";
import { write } from "../../src/db/tx.ts";
import { packRules } from "../../src/rule/check.ts";
import type { TestServices } from "./database.ts";

/** Returns a function that writes files into a new directory, or into `at`, and returns it; all are removed after the file's tests. */
export function packDirectories(): (files: Record<string, string>, at?: string) => string {
  const directories: string[] = [];
  afterAll(() => {
    for (const each of directories) rmSync(each, { recursive: true, force: true });
  });
  return (files, at) => {
    const directory = at ?? mkdtempSync(join(tmpdir(), "attune-pack-"));
    if (at === undefined) directories.push(directory);
    for (const [path, content] of Object.entries(files)) {
      mkdirSync(dirname(join(directory, path)), { recursive: true });
      writeFileSync(join(directory, path), content);
    }
    return directory;
  };
}

/** Loads a pack from its directory, as a start does. */
export async function loadDirectory(services: TestServices, directory: string): Promise<void> {
  const source = await readPack(directory);
  await preparePack(services, source);
  await write(services, (tx) => loadPack(tx, source, packRules));
}
