import { createHash } from "node:crypto";
import { createWriteStream } from "node:fs";
import { type Readable, Transform } from "node:stream";
import { pipeline } from "node:stream/promises";
import { findVersion, readVersion } from "../../artifact/version.ts";
import type { Services } from "../../db/services.ts";
import { createReach, fetchContent, type Reach, UnreachableError } from "../http.ts";
import { SourceError } from "./archive.ts";

/** The largest archive, in bytes. */
export const mostBytes = 256 * 1024 * 1024;
/** How long a transfer may take, in milliseconds. */
export const limitMs = 300_000;

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

/** The SHA-256 that an archive has, and the one that is expected; null: any. */
export interface Checksum {
  found: string;
  expected: string | null;
}

/** Writes the archive of an artifact into a file. Throws SourceError when it does not exist. */
export async function saveArtifact(services: Services, id: string, file: string): Promise<Checksum> {
  const version = await findVersion(services.db, BigInt(id));
  if (version === null) throw new SourceError("The uploaded archive no longer exists.");
  if (version.size > mostBytes) throw new SourceError(`The archive is larger than ${mostBytes / 1024 / 1024} MiB.`);
  const hash = createHash("sha256");
  await pipeline(
    readVersion(services, version, { start: 0, end: version.size }),
    async function* (pieces) {
      for await (const piece of pieces) {
        hash.update(piece);
        yield Buffer.from(piece); // each is valid until the next
      }
    },
    createWriteStream(file), // the database may be lost in the middle, and then it is read again
  );
  return { found: hash.digest("hex"), expected: version.sha256 };
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
export function reachOf(allowed: Allowed): Reach {
  const hosts = allowed.map((each) => (each.includes("://") ? new URL(each).hostname : each));
  const reach = createReach(hosts.filter((each) => each !== ""));
  return {
    addressesOf: async (hostname) => {
      try {
        return await reach.addressesOf(hostname);
      } catch (error) {
        if (!(error instanceof UnreachableError)) throw error;
        throw new SourceError(
          `${hostname} has no public address; ATTUNE__PACKS__SOURCES lists the other hosts that packs may come from.`,
        );
      }
    },
  };
}

/** Throws SourceError for an archive with another checksum than the expected one. */
export function requireChecksum({ found, expected }: Checksum): void {
  if (expected !== null && expected !== found) {
    throw new SourceError(`The archive's SHA-256 is ${found}, not ${expected} as expected.`);
  }
}

/** Downloads an archive into a file. Throws SourceError. */
export async function download(
  { url, checksum }: { url: string; checksum: string | null },
  file: string,
  { allowed, signal }: { allowed: Allowed; signal: AbortSignal },
): Promise<Checksum> {
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
  return { found: hash.digest("hex"), expected: checksum };
}
