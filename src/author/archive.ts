import { buffer } from "node:stream/consumers";
import { create } from "tar";
import { readFiles } from "../catalog/files.ts";
import { readPack } from "../catalog/read.ts";

/**
 * Returns the files of the pack in a directory as a .tar.gz archive, without what tools leave in a working copy. Throws InvalidInputError for a pack that
 * is not valid.
 */
export async function archiveOf(directory: string): Promise<Buffer> {
  const { path } = await readPack(directory);
  const { paths } = await readFiles(path, () => false);
  // The same files give the same bytes: no times, owners or umask.
  return await buffer(create({ gzip: true, cwd: path, portable: true, noMtime: true }, [...paths]));
}
