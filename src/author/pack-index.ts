import { createHash } from "node:crypto";
import { mkdir, readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import type { PackIndex } from "../catalog/pack-index.ts";
import { readPack } from "../catalog/read.ts";
import { InvalidInputError, type Issue, invalid } from "../errors.ts";
import { createScratch } from "../lib/scratch.ts";
import { packRoot, SourceError, unpack } from "../worker/install/archive.ts";

/**
 * Returns an index of the archives in a directory, whose addresses begin with `base`. Each is unpacked and checked. Throws InvalidInputError with the faults
 * of all of them, and for two archives of the same version.
 */
export async function indexOf(directory: string, base: string, signal: AbortSignal): Promise<PackIndex> {
  if (!URL.canParse(base))
    throw invalid("url", "expected the address of the directory, such as https://example.org/packs/");
  const files = await readdir(directory).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") throw invalid("", `there is no directory "${directory}"`);
    throw error;
  });
  const names = files.filter((name) => /\.(tar\.gz|tgz|tar|zip)$/.test(name)).sort();
  if (names.length === 0) {
    throw invalid("", `"${directory}" has no archive: expected files that end in .tar.gz, .tgz, .tar or .zip`);
  }
  const packs: PackIndex["packs"] = [];
  const issues: Issue[] = [];
  const scratch = createScratch();
  try {
    for (const [number, name] of names.entries()) {
      const target = join(scratch.directory, String(number));
      await mkdir(target);
      try {
        await unpack(join(directory, name), target, signal);
        const { pack } = await readPack(await packRoot(target));
        const { ref, label, version, description, tags } = pack;
        if (packs.some((other) => other.ref === ref && other.version === version)) {
          issues.push({ path: name, message: `is a second archive of ${ref} ${version}` });
        }
        const checksum = createHash("sha256")
          .update(await readFile(join(directory, name)))
          .digest("hex");
        const url = new URL(encodeURIComponent(name), base.endsWith("/") ? base : `${base}/`).href;
        packs.push({ ref, label, version, description, tags, install_sources: [{ type: "archive", url, checksum }] });
      } catch (error) {
        if (error instanceof InvalidInputError) {
          issues.push(...error.issues.map(({ path, message }) => ({ path: `${name}: ${path}`, message })));
        } else if (error instanceof SourceError) issues.push({ path: name, message: error.message });
        else throw error;
      }
    }
  } finally {
    scratch.remove();
  }
  if (issues.length > 0) throw new InvalidInputError(issues);
  return { packs };
}
