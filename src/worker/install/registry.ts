import { text } from "node:stream/consumers";
import type { NeedFaults } from "../../catalog/needs.ts";
import { findEntry, type PackIndex, type PackName, packIndex, versionsOf } from "../../catalog/pack-index.ts";
import type { Issue } from "../../errors.ts";
import { SourceError } from "./archive.ts";
import { type Allowed, checkUrl, open, type Source } from "./fetch.ts";

const mostBytes = 16 * 1024 * 1024;

/**
 * Returns where the pack with that name is, and its version, according to the first of the indexes that has a version in the range. Throws SourceError when none has, and when
 * an index cannot be read: a later one must not take its place.
 */
export async function findInIndexes(
  name: PackName,
  indexes: readonly string[],
  options: { allowed: Allowed; signal: AbortSignal },
): Promise<{ version: string; source: Source }> {
  if (indexes.length === 0) throw new SourceError("There is no index of packs: ATTUNE__PACKS__INDEXES names them.");
  const others: string[] = [];
  for (const address of indexes) {
    const index = await readIndex(address, options);
    const entry = findEntry(index, name);
    const [source] = entry?.install_sources ?? [];
    if (entry && source) return { version: entry.version, source };
    others.push(...versionsOf(index, name.ref));
  }
  const known = others.length === 0 ? "" : `; they have ${others.slice(0, 10).join(", ")}`;
  throw new SourceError(`The indexes have no pack "${name.ref}" in a version ${name.range}${known}.`);
}

/** Returns the faults of what a pack needs, each with the command that installs it if an index has it. */
export async function withCommands(
  unmet: NeedFaults["unmet"],
  indexes: readonly string[],
  options: { allowed: Allowed; signal: AbortSignal },
): Promise<Issue[]> {
  const issues: Issue[] = [];
  for (const { needed, issue } of unmet) {
    const hint = await commandFor(needed, indexes, options);
    issues.push({ ...issue, message: `${issue.message}${hint}` });
  }
  return issues;
}

async function commandFor(
  needed: PackName,
  indexes: readonly string[],
  options: { allowed: Allowed; signal: AbortSignal },
): Promise<string> {
  const name = needed.range === "*" ? needed.ref : `'${needed.ref}@${needed.range}'`;
  if (indexes.length === 0) return `: install ${name} first`;
  try {
    const { version } = await findInIndexes(needed, indexes, options);
    return `: first run "attune pack install ${needed.ref}@${version}"`;
  } catch (error) {
    if (!(error instanceof SourceError)) throw error;
    return `: install ${name} first. ${error.message.replace(/\.$/, "")}`;
  }
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
