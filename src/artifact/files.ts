import { createHash, randomUUID } from "node:crypto";
import { type FileHandle, mkdir, open, rename, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import type { Services } from "../db/services.ts";
import { invalid } from "../errors.ts";
import { unname } from "../lib/scratch.ts";

const mib = 1024 * 1024;
/** Contents up to this size are stored in the row, and may be held in memory. */
export const rowBytes = mib;
/** Without a shared directory, contents up to this size are stored in the row, too. */
const rowBytesAlone = 32 * mib;
const maxBytes = 1024 * mib;

/** A content that can be stored as a version: in memory, in a permanent file, or in a temporary file. */
export type StorableContent = { size: number; sha256: string } & (
  | { bytes: Uint8Array; storageKey: null; spool: null }
  | { bytes: null; storageKey: string; spool: null }
  | { bytes: null; storageKey: null; spool: string }
);

/** A received content; disposing deletes its temporary file. */
export interface Received extends AsyncDisposable {
  size: number;
  sha256: string;
  /** Makes the content permanent, synced to disk if it is a file, before the transaction that stores the version. May be called again. */
  keep(): Promise<StorableContent>;
}

/** The directory of large contents, which all processes share, or null. */
type FileStore = Pick<Services, "artifactsDir">;

/** Throws InvalidInputError for `size` when this installation cannot store that many bytes. */
export function checkSize({ artifactsDir }: FileStore, size: number): void {
  if (size > maxBytes) throw invalid("size", `must be at most ${maxBytes / mib} MiB`);
  if (artifactsDir !== null || size <= rowBytesAlone) return;
  throw invalid(
    "size",
    `must be at most ${rowBytesAlone / mib} MiB: for more, set ATTUNE__ARTIFACTS__DIR to a directory that all processes share`,
  );
}

/** Returns the directory of temporary files: on the same file system, so that renaming is atomic. */
export const spoolDirectory = (artifactsDir: string) => join(artifactsDir, "tmp");

/**
 * Reads a source to its end: at most 1 MiB is held in memory, more is written to a temporary file. Each piece is used before the next is
 * requested. Throws InvalidInputError for `size` when the content is too large, and the errors of the source.
 */
export async function receiveContent(place: FileStore, source: AsyncIterable<Uint8Array>): Promise<Received> {
  const { artifactsDir } = place;
  const hash = createHash("sha256");
  const pieces: Uint8Array[] = [];
  const spool = createSpool(artifactsDir === null ? tmpdir() : spoolDirectory(artifactsDir), artifactsDir !== null);
  let size = 0;
  try {
    for await (const piece of source) {
      size += piece.length;
      checkSize(place, size);
      hash.update(piece);
      if (size <= rowBytes) {
        pieces.push(Uint8Array.from(piece)); // the source may reuse its memory
        continue;
      }
      for (const earlier of pieces.splice(0)) await spool.write(earlier);
      await spool.write(piece);
    }
  } catch (error) {
    await spool[Symbol.asyncDispose]();
    throw error;
  }
  const known = { size, sha256: hash.digest("hex") };
  let moved: string | null = null;
  return {
    ...known,
    keep: async () => {
      if (size <= rowBytes) return { ...known, bytes: Buffer.concat(pieces), storageKey: null, spool: null };
      if (artifactsDir === null) return { ...known, bytes: null, storageKey: null, spool: spool.path() };
      moved ??= await moveIn(artifactsDir, known.sha256, spool);
      return { ...known, bytes: null, storageKey: moved, spool: null };
    },
    [Symbol.asyncDispose]: spool[Symbol.asyncDispose],
  };
}

async function moveIn(artifactsDir: string, sha256: string, spool: ReturnType<typeof createSpool>): Promise<string> {
  const storageKey = `${sha256.slice(0, 2)}/${sha256}-${randomUUID()}`;
  await spool.moveTo(join(artifactsDir, storageKey));
  return storageKey;
}

/** A temporary file: created with its first bytes, and deleted by disposing unless it was moved. It has a name only if it can be moved. */
function createSpool(directory: string, isMoved: boolean) {
  const named = join(directory, `attune-artifact-${randomUUID()}`);
  let path = named;
  let handle: FileHandle | null = null;
  return {
    path: () => path,
    write: async (bytes: Uint8Array) => {
      if (handle === null) {
        await mkdir(directory, { recursive: true, mode: 0o700 });
        handle = await open(named, "wx", 0o600);
        if (!isMoved) path = unname(named, handle.fd);
      }
      await handle.writeFile(bytes); // appends
    },
    moveTo: async (target: string) => {
      await handle?.sync();
      const created = await mkdir(dirname(target), { recursive: true, mode: 0o700 });
      await rename(named, target);
      await syncDirectory(dirname(target));
      if (created !== undefined) await syncDirectory(dirname(dirname(target)));
    },
    [Symbol.asyncDispose]: async () => {
      await handle?.close();
      handle = null;
      await rm(named, { force: true });
    },
  };
}

/** A file's name is on disk only when its directory has been synced. */
async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, "r");
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}

/** Deletes files whose rows have been deleted; the sweep retries failures. */
export async function removeFiles(
  { artifactsDir, log }: FileStore & Pick<Services, "log">,
  storageKeys: readonly (string | null)[],
): Promise<void> {
  for (const key of storageKeys) {
    if (key === null) continue;
    if (artifactsDir === null)
      log.warn({ key }, "an artifact's file was not deleted: ATTUNE__ARTIFACTS__DIR is not set");
    else
      await rm(join(artifactsDir, key), { force: true }).catch((error: unknown) => {
        log.warn({ err: error, key }, "an artifact's file was not deleted; the sweep will retry");
      });
  }
}

/** Returns the path of a version's file. Throws when ATTUNE__ARTIFACTS__DIR is not set. */
export function pathOf({ artifactsDir }: FileStore, storageKey: string): string {
  if (artifactsDir !== null) return join(artifactsDir, storageKey);
  throw new Error(`the content ${storageKey} is in a file, and ATTUNE__ARTIFACTS__DIR is not set`);
}
