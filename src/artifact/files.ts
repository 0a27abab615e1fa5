import { createHash, randomUUID } from "node:crypto";
import { type FileHandle, mkdir, open, rename, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import type { Services } from "../db/services.ts";
import { invalid } from "../errors.ts";

const mib = 1024 * 1024;
/** Contents up to this size stand in the row, and may be held in memory whole. */
export const rowBytes = mib;
/** Without a directory that all processes share, larger ones do, too, up to this. */
const rowBytesAlone = 32 * mib;
const mostBytes = 1024 * mib;

/** Bytes that are ready to become a version: at hand, in a file that lasts, or in one that is gone after the transaction. */
export type Content = { size: number; sha256: string } & (
  | { bytes: Uint8Array; storageKey: null; spool: null }
  | { bytes: null; storageKey: string; spool: null }
  | { bytes: null; storageKey: null; spool: string }
);

/** Bytes as they came; whatever is temporary about them goes when this is disposed of. */
export interface Received extends AsyncDisposable {
  size: number;
  sha256: string;
  /** Makes them last, to the disk if they are a file; the transaction that stores the version follows. May be asked again. */
  keep(): Promise<Content>;
}

/** Where large contents go: a directory that all processes share, or null. */
type FilePlace = Pick<Services, "artifactsDir">;

/** Throws InvalidInputError at `size` for more bytes than can be kept here. */
export function checkSize({ artifactsDir }: FilePlace, size: number): void {
  if (size > mostBytes) throw invalid("size", `must be at most ${mostBytes / mib} MiB`);
  if (artifactsDir !== null || size <= rowBytesAlone) return;
  throw invalid(
    "size",
    `must be at most ${rowBytesAlone / mib} MiB: for more, set ATTUNE__ARTIFACTS__DIR to a directory that all processes share`,
  );
}

/** Where files wait until they have a name: on the same file system, so that renaming is at once. */
export const waitingRoom = (artifactsDir: string) => join(artifactsDir, "tmp");

/**
 * Reads a source to its end: at most 1 MiB of it stays in memory, more goes into a temporary file. A piece is used before the
 * next is asked for. Throws InvalidInputError at `size` for more than can be kept, and whatever the source throws.
 */
export async function receiveContent(place: FilePlace, source: AsyncIterable<Uint8Array>): Promise<Received> {
  const { artifactsDir } = place;
  const hash = createHash("sha256");
  const pieces: Uint8Array[] = [];
  const spool = createSpool(artifactsDir === null ? tmpdir() : waitingRoom(artifactsDir));
  let size = 0;
  try {
    for await (const piece of source) {
      size += piece.length;
      checkSize(place, size);
      hash.update(piece);
      if (size <= rowBytes) {
        pieces.push(Uint8Array.from(piece)); // the source may use its memory again
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
      if (artifactsDir === null) return { ...known, bytes: null, storageKey: null, spool: spool.path };
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

/** A temporary file, made with its first bytes and gone at the end unless it was moved. */
function createSpool(directory: string) {
  const path = join(directory, `attune-artifact-${randomUUID()}`);
  let handle: FileHandle | null = null;
  return {
    path,
    write: async (bytes: Uint8Array) => {
      if (handle === null) {
        await mkdir(directory, { recursive: true, mode: 0o700 });
        handle = await open(path, "wx", 0o600);
      }
      await handle.writeFile(bytes); // from where the last ended
    },
    moveTo: async (target: string) => {
      await handle?.sync();
      const made = await mkdir(dirname(target), { recursive: true, mode: 0o700 });
      await rename(path, target);
      await syncDirectory(dirname(target));
      if (made !== undefined) await syncDirectory(dirname(dirname(target)));
    },
    [Symbol.asyncDispose]: async () => {
      await handle?.close();
      handle = null;
      await rm(path, { force: true });
    },
  };
}

/** A name is on the disk when its directory is. */
async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, "r");
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}

/** Removes files whose rows are gone; what cannot be removed now, the sweep finds. */
export async function removeFiles(
  { artifactsDir, log }: FilePlace & Pick<Services, "log">,
  storageKeys: readonly (string | null)[],
): Promise<void> {
  for (const key of storageKeys) {
    if (key === null) continue;
    if (artifactsDir === null) log.warn({ key }, "an artifact's file was left: ATTUNE__ARTIFACTS__DIR is not set");
    else
      await rm(join(artifactsDir, key), { force: true }).catch((error: unknown) => {
        log.warn({ err: error, key }, "removing an artifact's file; the sweep will try again");
      });
  }
}

/** The path of a version's file. */
export function pathOf({ artifactsDir }: FilePlace, storageKey: string): string {
  if (artifactsDir !== null) return join(artifactsDir, storageKey);
  throw new Error(`the content ${storageKey} is in a file, and ATTUNE__ARTIFACTS__DIR is not set`);
}
