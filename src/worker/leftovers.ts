import { constants, type Dirent } from "node:fs";
import { type FileHandle, open, opendir, readlink, realpath } from "node:fs/promises";
import { join } from "node:path";
import { receiveContent } from "../artifact/files.ts";
import { type ExecutionAttempt, keepContent } from "../artifact/keep.ts";
import { kindOf } from "../artifact/kind.ts";
import type { Services } from "../db/services.ts";
import { Refusal } from "../errors.ts";
import type { ExecutionOutcome } from "../execution/finish.ts";
import { isObject } from "../lib/json.ts";
import type { Persist } from "../process/persist.ts";
import type { Mask } from "../secrecy/mask.ts";

const mib = 1024 * 1024;
const maxDepth = 3;
const maxFiles = 100;
const maxBytes = 256 * mib;
/** How many directory entries are read: an action may leave a million. */
const maxEntries = 10_000;
/** How many skipped files are named in the log. */
const maxNamed = 20;
/** A longer result, in bytes, is stored as an artifact instead of in the row. */
const longestResult = 256 * 1024;

/** The reason why a file is not stored. */
class SkippedFile extends Error {}

/**
 * Stores the regular files in an action's artifacts directory as versions of its artifacts, and reports skipped files in the log. Never
 * rejects: these files do not affect the execution's outcome. Secrets are masked in the names of files.
 */
export async function keepFiles(
  services: Services,
  of: ExecutionAttempt,
  directory: string,
  { report, mask, persist }: { report: (text: string) => void; mask: Mask | null; persist: Persist },
): Promise<void> {
  const { files, skipped } = await listFiles(directory);
  const masked = (name: string) => mask?.text(name) ?? name;
  let room = maxBytes;
  for (const [index, file] of files.sort().entries()) {
    try {
      if (index >= maxFiles) throw new SkippedFile(`there are more than ${maxFiles} files`);
      if (file.includes("\ufffd")) throw new SkippedFile("its name is not UTF-8");
      room -= await keepFile(services, of, { directory, file, name: masked(file), room, persist });
    } catch (error) {
      skipped.push(`${file} (${reasonOf(error)})`);
      if (!(error instanceof SkippedFile || error instanceof Refusal)) {
        services.log.error(
          { err: error, execution: of.id, file: masked(file) },
          "a file that an action left could not be stored",
        );
      }
    }
  }
  if (skipped.length === 0) return;
  const more = skipped.length > maxNamed ? ` and ${skipped.length - maxNamed} more` : "";
  report(`Artifacts left out: ${oneLine(skipped.slice(0, maxNamed).join(", "))}${more}.\n`);
}

/** Actions choose the names: none may start a new line in the log. */
const oneLine = (text: string) => text.replaceAll(/[\p{Cc}\p{Zl}\p{Zp}]/gu, "\ufffd");

function reasonOf(error: unknown): string {
  if (error instanceof SkippedFile || error instanceof Refusal) return error.message;
  return error instanceof Error && "code" in error
    ? `it could not be read or stored: ${error.code}`
    : "it could not be stored";
}

/** Returns the paths of the regular files below the directory, relative to it, and the skipped ones with their reasons. */
async function listFiles(root: string): Promise<{ files: string[]; skipped: string[] }> {
  const files: string[] = [];
  const skipped: string[] = [];
  let left = maxEntries;
  const visit = async (path: string, depth: number): Promise<void> => {
    for await (const entry of await opendir(join(root, path))) {
      left -= 1;
      if (left < 0) return;
      const inner = join(path, entry.name);
      const reason = skipReasonOf(entry, depth);
      if (reason !== null) skipped.push(`${inner} (${reason})`);
      else if (entry.isFile()) files.push(inner);
      else await enter(inner, depth + 1);
    }
  };
  const enter = async (path: string, depth: number) => {
    await visit(path, depth).catch((error: unknown) => {
      skipped.push(`${path || "all of them"} (${reasonOf(error)})`);
    });
  };
  await enter("", 1);
  if (left < 0) skipped.push(`all entries after the first ${maxEntries}`);
  return { files, skipped };
}

/** Returns why an entry is neither a file to store nor a directory to read; null when it is one. */
function skipReasonOf(entry: Dirent, depth: number): string | null {
  if (entry.isFile()) return null;
  if (entry.isDirectory()) return depth < maxDepth ? null : `deeper than ${maxDepth} levels`;
  return entry.isSymbolicLink() ? "a symbolic link" : "not a regular file";
}

/** Stores one file and returns its size in bytes. */
async function keepFile(
  services: Services,
  of: ExecutionAttempt,
  {
    directory,
    file,
    name,
    room,
    persist,
  }: { directory: string; file: string; name: string; room: number; persist: Persist },
): Promise<number> {
  await using handle = await openRegular(directory, file);
  await using received = await receiveContent(services, readUpTo(handle, room));
  const ref = `${of.actionRef}/${name}`;
  const kept = await persist(() => keepContent(services, of, { ref, ...kindOf(file), received }));
  if (kept === null) throw new SkippedFile("the execution no longer belongs to this worker");
  return received.size;
}

/** Opens a regular file inside the directory: a process that escaped its group may replace it with a link at any time. */
async function openRegular(directory: string, file: string): Promise<FileHandle> {
  const path = join(await realpath(directory), file);
  const handle = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  const opened = await readlink(`/proc/self/fd/${handle.fd}`).catch(() => path); // where the system has no /proc
  if (opened === path && (await handle.stat()).isFile()) return handle;
  await handle.close();
  throw new SkippedFile("not a regular file inside the directory");
}

async function* readUpTo(handle: FileHandle, most: number): AsyncGenerator<Uint8Array, void> {
  const buffer = Buffer.alloc(256 * 1024);
  for (let at = 0; ; ) {
    const { bytesRead } = await handle.read(buffer, 0, buffer.length, at);
    if (bytesRead === 0) return;
    at += bytesRead;
    if (at > most) throw new SkippedFile(`more than ${maxBytes / mib} MiB together`);
    yield buffer.subarray(0, bytesRead);
  }
}

/** Returns the outcome with a result that fits into the row: a result above 256 KiB is stored as an artifact and replaced by its ref. */
export async function fitResult(
  services: Services,
  of: ExecutionAttempt,
  { outcome, persist }: { outcome: ExecutionOutcome; persist: Persist },
): Promise<ExecutionOutcome> {
  const { result } = outcome;
  const data = isObject(result) ? (result["data"] ?? null) : result;
  // The length of a long text is enough: 10 MiB of output need not be serialized to be measured.
  const isLong = typeof data === "string" && data.length > longestResult;
  if (!isLong && Buffer.byteLength(JSON.stringify(result)) <= longestResult) return outcome;
  const { data: _moved, ...rest } = isObject(result) ? result : {};
  const text = typeof data === "string" ? data : JSON.stringify(data);
  try {
    await using received = await receiveContent(services, encode(text));
    const content = {
      ref: `${of.actionRef}/result`,
      ...kindOf(typeof data === "string" ? "result.txt" : "result.json"),
      received,
    };
    const kept = await persist(() => keepContent(services, of, content));
    if (kept) return { ...outcome, result: { ...rest, artifact: kept.ref, version: kept.version, size: kept.size } };
  } catch (error) {
    services.log.error({ err: error, execution: of.id }, "a result could not be stored as an artifact");
  }
  const note = `${Buffer.byteLength(text)} bytes: above the limit of ${longestResult}; the log has the output`;
  return { ...outcome, result: { ...rest, data: null, data_omitted: note } };
}

/** Yields the text as UTF-8 in pieces that reuse one buffer: encoded at once, a result would need twice its memory. */
async function* encode(text: string): AsyncGenerator<Uint8Array, void> {
  const piece = new Uint8Array(64 * 1024);
  const encoder = new TextEncoder();
  for (let start = 0; start < text.length; ) {
    // No surrogate pair is split: half a pair at the end of the slice never fits into the piece.
    const { read, written } = encoder.encodeInto(text.slice(start, start + piece.length), piece);
    yield piece.subarray(0, written);
    start += read;
  }
}
