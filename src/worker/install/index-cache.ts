import { createHash, randomUUID } from "node:crypto";
import { mkdir, readdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { type PackIndex, packIndex } from "../../catalog/pack-index.ts";
import { explain, firstFault } from "../../lib/wording.ts";
import type { Log } from "../../log.ts";
import { fetchContent } from "../http.ts";
import { type Allowed, checkUrl, reachOf } from "./fetch.ts";

const mostBytes = 16 * 1024 * 1024;
const limitMs = 20_000;
/** An unfinished file of a process that was killed is removed after that time. */
const unfinishedMs = 3600_000;

/** An index as it is known now. */
export interface KnownIndex {
  address: string;
  /** Null: it was never read. */
  index: PackIndex | null;
  /** When the server of the index last said that this is what it has. */
  checkedAt: Date | null;
  /** Why it could not be asked for a newer one; null: it could, or is young enough. */
  fault: string | null;
}

/** Returns the address for users: a query may contain what gives access. */
export const shownAddress = (address: string): string => address.replace(/[?#].*$/, "");

/** The indexes that a setting names. */
export interface IndexCache {
  /** Returns them in the order of the setting. Those that were not asked for within the age are asked; what cannot be reached is as it was. */
  read(signal: AbortSignal): Promise<KnownIndex[]>;
}

/** What is stored of an index: in a file, so that restarts and other processes of the directory need not ask again. */
const stored = z.object({
  address: z.string(),
  etag: z.string().nullable(),
  modified: z.string().nullable(),
  checkedAt: z.number(),
  content: z.string(),
});
type Stored = z.output<typeof stored>;

interface Read {
  file: Stored;
  index: PackIndex;
}

interface Options {
  addresses: readonly string[];
  allowed: Allowed;
  /** The directory of installed packs, which has the files in a directory of their own. */
  directory: string;
  ageMs: number;
  log: Log;
}

/** Returns a cache of the configured indexes, whose files are as many as they are, and at most 16 MiB each. */
export function createIndexCache(options: Options): IndexCache {
  const directory = join(options.directory, ".indexes");
  const pending = new Map<string, Promise<KnownIndex>>();
  /** Parsed indexes by their address, with what they were parsed from. */
  const parsed = new Map<string, Read>();
  const faults = new Map<string, { at: number; fault: string }>();

  const findStored = async (address: string): Promise<Read | null> => {
    const text = await readFile(join(directory, nameOf(address)), "utf8").catch(() => null); // none yet
    const file = text === null ? null : readStored(text);
    if (file === null || file.address !== address) return null;
    const known = parsed.get(address);
    const index = known?.file.content === file.content ? known.index : indexIn(file.content);
    const read = typeof index === "string" ? null : { file, index };
    if (read) parsed.set(address, read);
    return read;
  };
  const store = async (file: Stored): Promise<void> => {
    try {
      await mkdir(directory, { recursive: true });
      const unfinished = join(directory, `.${randomUUID()}`);
      await writeFile(unfinished, JSON.stringify(file));
      await rename(unfinished, join(directory, nameOf(file.address)));
      await removeOthers(directory, options.addresses);
    } catch (error) {
      options.log.warn(
        { err: error, directory },
        "an index of packs is not stored: it is asked for again by each search",
      );
    }
  };
  const readOne = async (address: string): Promise<KnownIndex> => {
    const known = await findStored(address);
    const as = (read: Read | null, fault: string | null): KnownIndex => ({
      ...{ address, fault, index: read?.index ?? null },
      checkedAt: read === null ? null : new Date(read.file.checkedAt),
    });
    if (known !== null && isYoung(known.file.checkedAt)) return as(known, null);
    const failed = faults.get(address);
    if (failed && isYoung(failed.at)) return as(known, failed.fault);
    const asked = await ask(address, known?.file ?? null, options.allowed);
    if ("fault" in asked) {
      faults.set(address, { at: Date.now(), fault: asked.fault });
      return as(known, asked.fault);
    }
    faults.delete(address);
    await store(asked.file);
    parsed.set(address, asked);
    return as(asked, null);
  };
  /** A time in the future is that of a clock that was changed. */
  const isYoung = (at: number) => at <= Date.now() && Date.now() - at < options.ageMs;
  return {
    read: async (signal) => {
      const all = options.addresses.map((address) => {
        const reading = pending.get(address) ?? readOne(address).finally(() => pending.delete(address));
        pending.set(address, reading);
        return reading;
      });
      signal.throwIfAborted();
      const aborted = Promise.withResolvers<never>();
      const abort = () => aborted.reject(signal.reason);
      signal.addEventListener("abort", abort);
      return await Promise.race([Promise.all(all), aborted.promise]).finally(() =>
        signal.removeEventListener("abort", abort),
      );
    },
  };
}

const nameOf = (address: string) => `${createHash("sha256").update(address).digest("hex").slice(0, 32)}.json`;

function readStored(text: string): Stored | null {
  try {
    return stored.parse(JSON.parse(text));
  } catch {
    return null; // of another version, or not whole after a power failure: it is asked for anew
  }
}

/** Returns the index in a text, or what is wrong with it. */
function indexIn(text: string): PackIndex | string {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return "it is no JSON";
  }
  const checked = packIndex.safeParse(value, { error: explain });
  if (checked.success) return checked.data;
  return typeof value === "object" && value !== null ? firstFault(checked.error) : "it is no object";
}

/** Asks for an index, and whether it differs from what is known of it. */
async function ask(address: string, known: Stored | null, allowed: Allowed): Promise<Read | { fault: string }> {
  const signal = AbortSignal.timeout(limitMs);
  try {
    checkUrl(address, allowed, ["https:", "http:"]);
    const { status, headers, content } = await fetchContent(address, reachOf(allowed), {
      check: (next) => void checkUrl(next.href, allowed, ["https:", "http:"]),
      signal,
      headers: {
        ...(known?.etag ? { "if-none-match": known.etag } : {}),
        ...(known?.modified ? { "if-modified-since": known.modified } : {}),
      },
    });
    if (status === 304 && known !== null) {
      content.destroy();
      const file = { ...known, checkedAt: Date.now() };
      const index = indexIn(known.content);
      return typeof index === "string" ? { fault: index } : { file, index };
    }
    if (status !== 200) {
      content.destroy();
      return { fault: `the server responded with status ${status}` };
    }
    const pieces: Buffer[] = [];
    let size = 0;
    for await (const piece of content as AsyncIterable<Buffer>) {
      size += piece.length;
      if (size > mostBytes) return { fault: `it is larger than ${mostBytes / 1024 / 1024} MiB` };
      pieces.push(piece);
    }
    const text = Buffer.concat(pieces).toString();
    const index = indexIn(text);
    if (typeof index === "string") return { fault: index };
    const { etag = null, "last-modified": modified = null } = headers;
    return { file: { address, etag, modified, checkedAt: Date.now(), content: text }, index };
  } catch (error) {
    if (signal.aborted) return { fault: `it took longer than ${limitMs / 1000} s` };
    return { fault: error instanceof Error ? error.message.replace(/\.$/, "") : String(error) };
  }
}

/** Removes the files of addresses that the setting no longer names, and what killed processes left. */
async function removeOthers(directory: string, addresses: readonly string[]): Promise<void> {
  const names = new Set(addresses.map(nameOf));
  for (const name of await readdir(directory)) {
    if (names.has(name)) continue;
    const path = join(directory, name);
    if (name.startsWith(".")) {
      const found = await stat(path).catch(() => null); // another process has just finished it
      if (found === null || Date.now() - found.mtimeMs < unfinishedMs) continue;
    }
    await rm(path, { force: true });
  }
}
