import { createHash } from "node:crypto";
import { createWriteStream } from "node:fs";
import { type Readable, Transform } from "node:stream";
import { pipeline } from "node:stream/promises";
import { findVersion, readVersion } from "../../artifact/version.ts";
import type { Services } from "../../db/services.ts";
import { runProcess } from "../../process/process.ts";
import { createReach, fetchContent } from "../http.ts";
import { SourceError } from "./archive.ts";

const mostBytes = 256 * 1024 * 1024;
const limitMs = 300_000;

/** Where a pack comes from. */
export type Source =
  | { type: "artifact"; id: string }
  | { type: "archive"; url: string; checksum: string | null }
  | { type: "git"; url: string; ref: string | null }
  | { type: "index"; ref: string; range: string };

/** The hosts that packs may come from: names, or origins such as `http://127.0.0.1:8000`. An empty list: all public hosts, by https. */
export type Allowed = readonly string[];

/**
 * Throws SourceError for an address that packs may not come from. Schemes other than https, and addresses that are not public, must be allowed by
 * their origin.
 */
export function checkUrl(text: string, allowed: Allowed, schemes: readonly string[]): URL {
  if (!URL.canParse(text)) throw new SourceError(`"${text}" is no URL.`);
  const url = new URL(text);
  const origin = `${url.protocol}//${url.host}`;
  if (url.username !== "" || url.password !== "") throw new SourceError("The URL must not have a user or password.");
  if (!schemes.includes(url.protocol)) {
    throw new SourceError(`The URL's scheme ${url.protocol} is not known: expected ${schemes.join(" or ")}.`);
  }
  const isListed = allowed.includes(origin) || (url.protocol === "https:" && allowed.includes(url.hostname));
  if (isListed) return url;
  if (url.protocol !== "https:") {
    throw new SourceError(`${origin} is refused: packs come by https, unless ATTUNE__PACKS__SOURCES lists the origin.`);
  }
  if (allowed.length > 0) throw new SourceError(`${url.hostname} is not listed in ATTUNE__PACKS__SOURCES.`);
  return url;
}

/** Writes the archive of an artifact into a file. Throws SourceError when it does not exist. */
export async function saveArtifact(services: Services, id: string, file: string): Promise<void> {
  const version = await findVersion(services.db, BigInt(id));
  if (version === null) throw new SourceError("The uploaded archive no longer exists.");
  if (version.size > mostBytes) throw new SourceError(`The archive is larger than ${mostBytes / 1024 / 1024} MiB.`);
  await pipeline(
    readVersion(services, version, { start: 0, end: version.size }),
    async function* (pieces) {
      for await (const piece of pieces) yield Buffer.from(piece); // each is valid until the next
    },
    createWriteStream(file, { flags: "wx" }),
  );
}

/**
 * Returns the content at an address, cut off by an error above the limit in bytes. Throws SourceError for another status than 200 and for an address that is
 * not allowed, also after redirects.
 */
export async function open(
  url: string,
  { allowed, signal, mostBytes: limit }: { allowed: Allowed; signal: AbortSignal; mostBytes: number },
): Promise<Readable> {
  const check = (next: URL) => void checkUrl(next.href, allowed, ["https:", "http:"]);
  const { status, content } = await fetchContent(url, reachOf(allowed), { check, signal });
  if (status !== 200) {
    content.destroy();
    throw new SourceError(`${new URL(url).host} responded with status ${status}.`);
  }
  let size = 0;
  const counted = new Transform({
    transform: (chunk: Buffer, _encoding, done) => {
      size += chunk.length;
      done(size > limit ? new SourceError(`It is larger than ${limit / 1024 / 1024} MiB.`) : null, chunk);
    },
  });
  content.on("error", (error) => counted.destroy(error));
  counted.once("close", () => content.destroy());
  return content.pipe(counted);
}

/** Returns what packs may be fetched from: public addresses, and the hosts that are listed. */
export const reachOf = (allowed: Allowed) =>
  createReach(
    allowed.map((each) => (each.includes("://") ? new URL(each).hostname : each)).filter((each) => each !== ""),
  );

/** Downloads an archive into a file. Throws SourceError, also for another checksum than the given one. */
export async function download(
  { url, checksum }: { url: string; checksum: string | null },
  file: string,
  { allowed, signal }: { allowed: Allowed; signal: AbortSignal },
): Promise<void> {
  const late = AbortSignal.timeout(limitMs);
  const hash = createHash("sha256");
  try {
    const content = await open(url, { allowed, signal: AbortSignal.any([signal, late]), mostBytes });
    content.on("data", (chunk: Buffer) => hash.update(chunk));
    await pipeline(content, createWriteStream(file, { flags: "wx" }));
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof SourceError) throw error;
    const reason = late.aborted
      ? `it took longer than ${limitMs / 1000} s`
      : error instanceof Error
        ? error.message
        : String(error);
    throw new SourceError(`The archive could not be downloaded: ${reason}.`);
  }
  const found = hash.digest("hex");
  if (checksum !== null && checksum !== found) {
    throw new SourceError(`The archive's SHA-256 is ${found}, not ${checksum} as expected.`);
  }
}

interface GitHost {
  /** The directory for the repository, which is created. */
  directory: string;
  searchPath: string;
  allowed: Allowed;
  signal: AbortSignal;
  onOutput(text: string): void;
}

/** Writes the files of a commit of a Git repository into a tar file, and returns the commit. Throws SourceError. */
export async function fetchCommit(
  { url, ref }: { url: string; ref: string | null },
  file: string,
  { directory, searchPath, allowed, signal, onOutput }: GitHost,
): Promise<string> {
  const target = checkUrl(url, allowed, ["https:", "http:", "file:"]);
  const protocol = target.protocol.slice(0, -1);
  if (protocol !== "file") await reachOf(allowed).addressesOf(target.hostname);
  const git = async (...args: string[]): Promise<string> => {
    const ended = await runProcess(
      {
        command: "git",
        args: ["-c", "http.followRedirects=false", "-c", "core.hooksPath=/dev/null", ...args],
        cwd: directory,
        env: {
          PATH: searchPath,
          HOME: directory,
          GIT_ALLOW_PROTOCOL: protocol,
          GIT_TERMINAL_PROMPT: "0",
          GIT_CONFIG_NOSYSTEM: "1",
          GIT_CONFIG_GLOBAL: "/dev/null",
          GIT_ASKPASS: "/bin/false",
          LC_ALL: "C",
        },
        ...{ stdin: null, timeoutMs: limitMs, graceMs: 5000, signal },
      },
      { onOutput: (stream, text) => stream === "stderr" && onOutput(text) },
    );
    signal.throwIfAborted();
    if (ended.ended === "exited" && ended.exitCode === 0) return ended.stdout.trim();
    throw new SourceError(
      `git ${args[0]} failed: ${ended.message ?? `it exited with code ${ended.exitCode}; the log has its output.`}`,
    );
  };
  await git("init", "--quiet", "--bare");
  await git(
    "fetch",
    "--quiet",
    "--depth",
    "1",
    "--no-tags",
    "--no-recurse-submodules",
    "--end-of-options",
    url,
    ref ?? "HEAD",
  );
  const commit = await git("rev-parse", "FETCH_HEAD");
  await git("archive", "--format=tar", `--output=${file}`, commit);
  return commit;
}
