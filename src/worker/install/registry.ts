import { text } from "node:stream/consumers";
import { findEntry, type PackIndex, type PackName, packIndex, versionsOf } from "../../catalog/pack-index.ts";
import { SourceError } from "./archive.ts";
import { type Allowed, checkUrl, open, type Source } from "./fetch.ts";

const mostBytes = 16 * 1024 * 1024;

/**
 * Returns where the pack with that name is, according to the first of the indexes that has a version in the range. Throws SourceError when none has, and when
 * an index cannot be read: a later one must not take its place.
 */
export async function findInIndexes(
  name: PackName,
  indexes: readonly string[],
  options: { allowed: Allowed; signal: AbortSignal },
): Promise<Source> {
  if (indexes.length === 0) throw new SourceError("There is no index of packs: ATTUNE__PACKS__INDEXES names them.");
  const others: string[] = [];
  for (const address of indexes) {
    const index = await readIndex(address, options);
    const [source] = findEntry(index, name)?.install_sources ?? [];
    if (source?.type === "archive") return { type: "archive", url: source.url, checksum: source.checksum };
    if (source?.type === "git") return { type: "git", url: source.url, ref: source.ref };
    others.push(...versionsOf(index, name.ref));
  }
  const known = others.length === 0 ? "" : `; they have ${others.slice(0, 10).join(", ")}`;
  throw new SourceError(`The indexes have no pack "${name.ref}" in a version ${name.range}${known}.`);
}

async function readIndex(
  address: string,
  { allowed, signal }: { allowed: Allowed; signal: AbortSignal },
): Promise<PackIndex> {
  const fail = (reason: string) => new SourceError(`The index ${address} cannot be read: ${reason}.`);
  checkUrl(address, allowed, ["https:", "http:"]);
  let content: string;
  try {
    content = await text(await open(address, { allowed, signal, mostBytes }));
  } catch (error) {
    signal.throwIfAborted();
    throw fail(error instanceof Error ? error.message.replace(/\.$/, "") : String(error));
  }
  let parsed: unknown;
  try {
    parsed = JSON.parse(content);
  } catch {
    throw fail("it is no JSON");
  }
  const checked = packIndex.safeParse(parsed);
  if (checked.success) return checked.data;
  const [issue] = checked.error.issues;
  throw fail(`${issue?.path.join(".") ?? ""}: ${issue?.message ?? ""}`);
}
