import { createHash, randomBytes } from "node:crypto";
import { createWriteStream, existsSync } from "node:fs";
import { link, rename, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { send } from "../client.ts";
import type { Context } from "../context.ts";
import { countOption, define, type Group, groupOf, option } from "../define.ts";
import { Failure } from "../failure.ts";
import { write } from "../terminal.ts";

interface Version {
  version: number;
  sha256: string;
  downloadUrl: string | null;
}

interface Artifact {
  ref: string;
  versions: { nodes: Version[] };
}

interface DownloadOptions {
  number?: number;
  to?: string;
  force?: boolean;
}

/** Adds `artifact download`. */
export function addArtifacts(above: Group): void {
  const commands = groupOf(above, "artifact");
  define<DownloadOptions>(commands, {
    name: "download <id>",
    description: "download an artifact, by its id or its ref, into a file of its name in this directory",
    options: [
      countOption("--number <version>", "this version rather than the newest"),
      option("--to <file>", "into this file; - is standard output"),
      option("--force", "replace the file if it exists"),
    ],
    examples: ["download QXJ0aWZhY3Q6MQ== --to july.csv --force", "download reports/july.csv --to -"],
    run: download,
  });
}

async function download(context: Context, [given = ""]: string[], options: DownloadOptions) {
  const artifact = await find(context, given, options.number);
  const [version] = artifact.versions.nodes;
  if (!version?.downloadUrl) throw new Failure(`${artifact.ref} has no such version that you may download.`);
  const to = options.to ?? basename(artifact.ref);
  if (to !== "-" && !options.force && existsSync(to)) throw existing(to);
  const response = await send(context.connection, version.downloadUrl, { signal: context.terminal.signal });
  if (!response.ok || !response.body) throw new Failure(`The download failed with status ${response.status}.`);
  const hash = createHash("sha256");
  const chunks = (async function* () {
    for await (const chunk of Readable.fromWeb(response.body as import("node:stream/web").ReadableStream)) {
      hash.update(chunk);
      yield chunk;
    }
  })();
  if (to === "-") {
    for await (const chunk of chunks) await write(context.terminal.stdout, chunk, context.terminal.signal);
    return check(artifact, version, hash.digest("hex"));
  }
  // Beside its place, so that a download that fails leaves what was there.
  const part = join(dirname(to), `.${basename(to)}.${randomBytes(6).toString("hex")}`);
  try {
    await pipeline(chunks, createWriteStream(part, { flags: "wx" }), { signal: context.terminal.signal });
    check(artifact, version, hash.digest("hex"));
    await place(part, to, options.force === true);
  } finally {
    await rm(part, { force: true });
  }
  context.note(`${artifact.ref}, version ${version.version}, is in ${to}.`);
}

async function place(part: string, to: string, force: boolean): Promise<void> {
  if (force) return await rename(part, to);
  await link(part, to).catch((error: NodeJS.ErrnoException) => {
    throw error.code === "EEXIST" ? existing(to) : error;
  });
}

const existing = (file: string) => new Failure(`${file} exists: choose another with --to, or replace it with --force.`);

function check({ ref }: Artifact, { sha256 }: Version, received: string): void {
  if (received !== sha256) throw new Failure(`The content of ${ref} is not complete: its checksum is wrong.`);
}

async function find(context: Context, given: string, version: number | undefined): Promise<Artifact> {
  const { artifacts } = await context.ask<{ artifacts: { nodes: Artifact[] } | null }>(
    `query($where: ArtifactWhere!, $version: ArtifactVersionWhere) { artifacts(first: 2, where: $where) { nodes {
      ref versions(first: 1, where: $version) { nodes { version sha256 downloadUrl } } } } }`,
    {
      where: isId(given) ? { id: { eq: given } } : { ref: { eq: given } },
      version: version === undefined ? null : { version: { eq: version } },
    },
  );
  const [artifact, another] = artifacts?.nodes ?? [];
  if (!artifact) throw new Failure(`There is no artifact "${given}", or you may not read it.`, { code: "NOT_FOUND" });
  if (another) throw new Failure(`Several artifacts have the ref "${given}": name it by its id.`);
  return artifact;
}

const isId = (text: string) => Buffer.from(text, "base64").toString("latin1").startsWith("Artifact:");
