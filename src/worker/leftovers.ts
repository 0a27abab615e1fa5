import { constants, type Dirent } from "node:fs";
import { type FileHandle, open, opendir, readlink, realpath } from "node:fs/promises";
import { join } from "node:path";
import { receiveContent } from "../artifact/files.ts";
import { type ExecutionAttempt, keepContent } from "../artifact/keep.ts";
import { kindOf } from "../artifact/kind.ts";
import type { Services } from "../db/services.ts";
import { Refusal } from "../errors.ts";
import type { ExecutionOutcome } from "../execution/finish.ts";
import type { Json, JsonObject } from "../lib/json.ts";
import { persist } from "./persist.ts";

const mib = 1024 * 1024;
const mostDepth = 3;
const mostFiles = 100;
const mostBytes = 256 * mib;
/** How many names are looked at: an action may leave a million. */
const mostEntries = 10_000;
/** How many of those that were left out are named in the log. */
const mostNamed = 20;
/** A result above this does not stand in the row. */
const longestResult = 256 * 1024;

/** Why a file was left out; a sentence's end. */
class LeftOut extends Error {}

/**
 * Makes the regular files in an action's artifacts directory versions of its artifacts, and says in the log what was left out. Never
 * rejects: what an action leaves does not decide how it ended. `shown` is a name as it may be seen.
 */
export async function keepFiles(
  services: Services,
  of: ExecutionAttempt,
  directory: string,
  { say, shown }: { say: (text: string) => void; shown: (name: string) => string },
): Promise<void> {
  const { files, leftOut } = await listFiles(directory);
  let room = mostBytes;
  for (const [index, file] of files.sort().entries()) {
    try {
      if (index >= mostFiles) throw new LeftOut(`there are more than ${mostFiles} files`);
      if (file.includes("\ufffd")) throw new LeftOut("its name is not UTF-8");
      room -= await keepFile(services, of, { directory, file, name: shown(file), room });
    } catch (error) {
      leftOut.push(`${file} (${reasonOf(error)})`);
      if (!(error instanceof LeftOut || error instanceof Refusal)) {
        services.log.error(
          { err: error, execution: of.id, file: shown(file) },
          "a file that an action left could not be stored",
        );
      }
    }
  }
  if (leftOut.length === 0) return;
  const more = leftOut.length > mostNamed ? ` and ${leftOut.length - mostNamed} more` : "";
  say(`Artifacts left out: ${oneLine(leftOut.slice(0, mostNamed).join(", "))}${more}.\n`);
}

/** Names are the action's own: none of them begins a line in the log. */
const oneLine = (text: string) => text.replaceAll(/[\p{Cc}\p{Zl}\p{Zp}]/gu, "\ufffd");

function reasonOf(error: unknown): string {
  if (error instanceof LeftOut || error instanceof Refusal) return error.message;
  return error instanceof Error && "code" in error
    ? `it could not be read or stored: ${error.code}`
    : "it could not be stored";
}

/** The paths of the regular files below the directory, relative to it, and why others are none of them. */
async function listFiles(root: string): Promise<{ files: string[]; leftOut: string[] }> {
  const files: string[] = [];
  const leftOut: string[] = [];
  let left = mostEntries;
  const visit = async (path: string, depth: number): Promise<void> => {
    for await (const entry of await opendir(join(root, path))) {
      left -= 1;
      if (left < 0) return;
      const inner = join(path, entry.name);
      const fault = faultOf(entry, depth);
      if (fault !== null) leftOut.push(`${inner} (${fault})`);
      else if (entry.isFile()) files.push(inner);
      else await enter(inner, depth + 1);
    }
  };
  const enter = async (path: string, depth: number) => {
    await visit(path, depth).catch((error: unknown) => {
      leftOut.push(`${path || "all of them"} (${reasonOf(error)})`);
    });
  };
  await enter("", 1);
  if (left < 0) leftOut.push(`whatever comes after ${mostEntries} names`);
  return { files, leftOut };
}

/** Why an entry is neither a file to keep nor a directory to look into; null: it is one of both. */
function faultOf(entry: Dirent, depth: number): string | null {
  if (entry.isFile()) return null;
  if (entry.isDirectory()) return depth < mostDepth ? null : `deeper than ${mostDepth} levels`;
  return entry.isSymbolicLink() ? "a symbolic link" : "no file";
}

/** Stores one file; answers its size. */
async function keepFile(
  services: Services,
  of: ExecutionAttempt,
  { directory, file, name, room }: { directory: string; file: string; name: string; room: number },
): Promise<number> {
  await using handle = await openRegular(directory, file);
  await using received = await receiveContent(services, readUpTo(handle, room));
  const ref = `${of.actionRef}/${name}`;
  const kept = await persist(() => keepContent(services, of, { ref, ...kindOf(file), received }));
  if (kept === null) throw new LeftOut("the execution is not this worker's any more");
  return received.size;
}

/** Opens a regular file inside the directory: a process that outlives its group may put a link in its place at any time. */
async function openRegular(directory: string, file: string): Promise<FileHandle> {
  const path = join(await realpath(directory), file);
  const handle = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  const opened = await readlink(`/proc/self/fd/${handle.fd}`).catch(() => path); // where the system has no /proc
  if (opened === path && (await handle.stat()).isFile()) return handle;
  await handle.close();
  throw new LeftOut("no file inside the directory");
}

async function* readUpTo(handle: FileHandle, most: number): AsyncGenerator<Uint8Array, void> {
  const buffer = Buffer.alloc(256 * 1024);
  for (let at = 0; ; ) {
    const { bytesRead } = await handle.read(buffer, 0, buffer.length, at);
    if (bytesRead === 0) return;
    at += bytesRead;
    if (at > most) throw new LeftOut(`more than ${mostBytes / mib} MiB together`);
    yield buffer.subarray(0, bytesRead);
  }
}

/** The outcome as the row can hold it: a result above 256 KiB becomes a version of the action's artifact, and its place is told instead. */
export async function fitResult(
  services: Services,
  of: ExecutionAttempt,
  outcome: ExecutionOutcome,
): Promise<ExecutionOutcome> {
  const { result } = outcome;
  const data = isObject(result) ? (result["data"] ?? null) : result;
  // A long text is told by its length: 10 MiB of output need not be written out once more to be refused.
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

/** The text as UTF-8, piece by piece in the same memory: written out at once, a result would weigh twice what it does. */
async function* encode(text: string): AsyncGenerator<Uint8Array, void> {
  const piece = new Uint8Array(64 * 1024);
  const encoder = new TextEncoder();
  for (let start = 0; start < text.length; ) {
    // As many characters as there is room for in any case; a pair of surrogates is not parted.
    const { read, written } = encoder.encodeInto(text.slice(start, start + piece.length), piece);
    yield piece.subarray(0, written);
    start += read;
  }
}

const isObject = (value: Json): value is JsonObject =>
  typeof value === "object" && value !== null && !Array.isArray(value);
