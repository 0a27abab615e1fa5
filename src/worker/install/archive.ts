import { createReadStream, createWriteStream } from "node:fs";
import { mkdir, open, readdir, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { Readable, Transform, Writable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createGunzip } from "node:zlib";
import { Parser, type ReadEntry } from "tar";
import yauzl, { type Entry, type ZipFile } from "yauzl";

/** The reason why a source is no pack that can be installed, for the user who named it. */
export class SourceError extends Error {}

const MiB = 1024 * 1024;
const mostBytes = 256 * MiB;
const mostFiles = 10_000;
const longestPath = 500;
/** A tar file also has headers and padding. */
const mostTarBytes = mostBytes + mostFiles * 4096;

/**
 * Unpacks a tar, tar.gz or zip file into an empty directory: regular files and directories with plain relative paths, at most 10,000 files and
 * 256 MiB. Throws SourceError for anything else; the directory then has a part of the files.
 */
export async function unpack(file: string, directory: string, signal: AbortSignal): Promise<void> {
  const begin = await firstBytes(file);
  const target = createTarget(directory);
  try {
    if (begin.readUInt32BE(0) === 0x504b0304 || begin.readUInt32BE(0) === 0x504b0506) await unzip(file, target, signal);
    else await untar(file, { isGzip: begin.readUInt16BE(0) === 0x1f8b, target, signal });
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof SourceError) throw error;
    throw new SourceError(
      `The archive cannot be read as .tar.gz, .tar or .zip: ${error instanceof Error ? error.message : String(error)}.`,
    );
  }
  if (target.files() === 0)
    throw new SourceError("The archive has no files, or is none: expected .tar.gz, .tar or .zip.");
}

/** Returns the directory with `pack.yaml`: the given one, or the only one in it, as archives of repositories have it. */
export async function packRoot(directory: string): Promise<string> {
  const entries = await readdir(directory, { withFileTypes: true });
  if (entries.some(({ name }) => name === "pack.yaml")) return directory;
  const [only, ...others] = entries;
  if (only?.isDirectory() && others.length === 0) return join(directory, only.name);
  throw new SourceError("There is no pack.yaml, neither at the top nor in an only directory there.");
}

async function firstBytes(file: string): Promise<Buffer> {
  const handle = await open(file);
  try {
    const begin = Buffer.alloc(4);
    await handle.read(begin, 0, 4, 0);
    return begin;
  } finally {
    await handle.close();
  }
}

/** What an entry of an archive is. */
interface Described {
  path: string;
  kind: "file" | "directory" | string;
  isExecutable: boolean;
}

/** The directory that files are written to, which counts them. */
interface Target {
  /** Writes a file, or creates a directory; `content` is read for files only. Throws SourceError. */
  add(entry: Described, content: () => Promise<Readable>): Promise<void>;
  files(): number;
}

function createTarget(directory: string): Target {
  let files = 0;
  let bytes = 0;
  const counted = () =>
    new Transform({
      transform: (chunk: Buffer, _encoding, done) => {
        bytes += chunk.length;
        done(bytes > mostBytes ? new SourceError(`The archive has more than ${mostBytes / MiB} MiB.`) : null, chunk);
      },
    });
  return {
    files: () => files,
    add: async ({ path: given, kind, isExecutable }, content) => {
      const path = checkedPath(given);
      files += 1;
      if (files > mostFiles) throw new SourceError(`The archive has more than ${mostFiles} entries.`);
      if (kind === "directory") return void (await mkdir(join(directory, path), { recursive: true }));
      if (kind !== "file")
        throw new SourceError(`The archive has a ${kind}, "${path}": expected regular files and directories.`);
      await mkdir(dirname(join(directory, path)), { recursive: true });
      const written = createWriteStream(join(directory, path), { flags: "wx", mode: isExecutable ? 0o755 : 0o644 });
      await pipeline(await content(), counted(), written).catch((error: NodeJS.ErrnoException) => {
        if (error.code === "EEXIST") throw new SourceError(`The archive has "${path}" twice.`);
        throw error;
      });
    },
  };
}

function checkedPath(given: string): string {
  const path = given.replace(/^(\.\/)+/, "").replace(/\/+$/, "");
  if (path === "" || path === ".") return ".";
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is refused
  const isOdd = /[\u0000-\u001f\u007f\\]/.test(path) || path.length > longestPath || /^[A-Za-z]:/.test(path);
  if (isOdd || path.startsWith("/") || path.split("/").includes("..")) {
    throw new SourceError(
      `The archive has the path ${JSON.stringify(given.slice(0, 200))}: expected plain paths below it.`,
    );
  }
  return path;
}

const kindsOfTar: Readonly<Record<string, string>> = {
  File: "file",
  OldFile: "file",
  ContiguousFile: "file",
  Directory: "directory",
  GNUDumpDir: "directory",
  SymbolicLink: "symbolic link",
  Link: "hard link",
  CharacterDevice: "device",
  BlockDevice: "device",
  FIFO: "named pipe",
};

async function untar(
  file: string,
  { isGzip, target, signal }: { isGzip: boolean; target: Target; signal: AbortSignal },
): Promise<void> {
  const parser = new Parser({ strict: true });
  let added: Promise<void> = Promise.resolve();
  let fault: unknown = null;
  let open: Readable | null = null;
  const stopping = new AbortController();
  const failed = (error: unknown) => {
    fault ??= error;
    stopping.abort(); // the parser may never want more
    open?.destroy(error instanceof Error ? error : new Error(String(error))); // an entry that is cut short has no end
  };
  parser.on("entry", (entry: ReadEntry) => {
    const described = {
      path: entry.path,
      kind: kindsOfTar[entry.type] ?? `"${entry.type}"`,
      isExecutable: ((entry.mode ?? 0) & 0o111) !== 0,
    };
    added = added
      .then(async () => {
        if (fault === null)
          await target.add(described, async () => {
            open = readableOf(entry);
            return open;
          });
      })
      .catch(failed)
      .finally(() => entry.resume());
  });
  const ended = new Promise<void>((resolve, reject) => {
    parser.on("end", resolve);
    parser.on("error", reject);
  });
  ended.catch(failed);
  let bytes = 0;
  const sink = new Writable({
    write: (chunk: Buffer, _encoding, done) => {
      bytes += chunk.length;
      if (bytes > mostTarBytes) return done(new SourceError(`The archive has more than ${mostBytes / MiB} MiB.`));
      if (fault !== null) return done(fault as Error);
      if (parser.write(chunk)) return done();
      parser.once("drain", () => done());
    },
    final: (done) => {
      parser.end();
      ended.then(() => done(), done);
    },
  });
  const source = createReadStream(file);
  const stop = { signal: AbortSignal.any([signal, stopping.signal]) };
  await (isGzip ? pipeline(source, createGunzip(), sink, stop) : pipeline(source, sink, stop)).catch(failed);
  await added;
  if (fault !== null) throw fault;
}

/** The entry is a stream of the parser's own kind. */
const readableOf = (entry: ReadEntry) => Readable.from(entry as unknown as AsyncIterable<Buffer>);

async function unzip(file: string, target: Target, signal: AbortSignal): Promise<void> {
  const { size } = await stat(file);
  const zip = await new Promise<ZipFile>((resolve, reject) => {
    const options = { lazyEntries: true, strictFileNames: true, validateEntrySizes: true };
    yauzl.open(file, options, (error, opened) => (error ? reject(error) : resolve(opened)));
  });
  try {
    if (zip.entryCount > mostFiles) throw new SourceError(`The archive has more than ${mostFiles} entries.`);
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    signal.addEventListener("abort", () => reject(signal.reason), { once: true });
    zip.on("error", reject);
    zip.on("end", () => resolve());
    zip.on("entry", (entry: Entry) => {
      const compressed = entry.compressedSize > size;
      if (entry.isEncrypted() || compressed)
        return reject(new SourceError(`The archive's "${entry.fileName}" cannot be read.`));
      const content = () =>
        new Promise<Readable>((found, lost) => {
          zip.openReadStream(entry, (error, stream) => (error ? lost(error) : found(stream)));
        });
      target.add(describedOf(entry), content).then(() => zip.readEntry(), reject);
    });
    zip.readEntry();
    await promise;
  } finally {
    zip.close();
  }
}

/** Zip files that were made on Unix have the mode of each file. */
function describedOf(entry: Entry): Described {
  const mode = entry.externalFileAttributes >>> 16;
  const isDirectory = entry.fileName.endsWith("/");
  const type = mode & 0o170000;
  const kind = isDirectory
    ? "directory"
    : type === 0 || type === 0o100000
      ? "file"
      : type === 0o120000
        ? "symbolic link"
        : "special file";
  return { path: entry.fileName, kind, isExecutable: (mode & 0o111) !== 0 };
}
