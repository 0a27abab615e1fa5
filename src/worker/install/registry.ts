import type { NeedFaults } from "../../catalog/needs.ts";
import { findEntry, type PackName, versionsOf } from "../../catalog/pack-index.ts";
import type { Issue } from "../../errors.ts";
import { SourceError } from "./archive.ts";
import type { Source } from "./fetch.ts";
import { type KnownIndex, shownAddress } from "./index-cache.ts";

/** Returns the configured indexes as they are now. */
export type ReadIndexes = () => Promise<readonly KnownIndex[]>;

/**
 * Returns where the pack with that name is, and its version, according to the first of the indexes that has a version in the range. Throws SourceError when none has, and when
 * an index cannot be read: a later one must not take its place, nor what it had before.
 */
export async function findInIndexes(
  name: PackName,
  readIndexes: ReadIndexes,
): Promise<{ version: string; source: Source }> {
  const indexes = await readIndexes();
  if (indexes.length === 0) throw new SourceError("There is no index of packs: ATTUNE__PACKS__INDEXES names them.");
  const others: string[] = [];
  for (const { address, index, fault } of indexes) {
    if (fault !== null || index === null) {
      throw new SourceError(`The index ${shownAddress(address)} cannot be read: ${fault ?? "it is empty"}.`);
    }
    const entry = findEntry(index, name);
    const [source] = entry?.install_sources ?? [];
    if (entry && source) return { version: entry.version, source };
    others.push(...versionsOf(index, name.ref));
  }
  const known = others.length === 0 ? "" : `; they have ${others.slice(0, 10).join(", ")}`;
  const range = name.range === "*" ? "" : ` in a version ${name.range}`;
  throw new SourceError(`The indexes have no pack "${name.ref}"${range}${known}.`);
}

/** Returns the faults of what a pack needs, each with the command that installs it if an index has it. */
export async function withCommands(unmet: NeedFaults["unmet"], readIndexes: ReadIndexes): Promise<Issue[]> {
  const issues: Issue[] = [];
  for (const { needed, issue } of unmet) {
    const hint = await commandFor(needed, readIndexes);
    issues.push({ ...issue, message: `${issue.message}${hint}` });
  }
  return issues;
}

async function commandFor(needed: PackName, readIndexes: ReadIndexes): Promise<string> {
  const name = needed.range === "*" ? needed.ref : `'${needed.ref}@${needed.range}'`;
  if ((await readIndexes()).length === 0) return `: install ${name} first`;
  try {
    const { version } = await findInIndexes(needed, readIndexes);
    return `: first run "attune pack install ${needed.ref}@${version}", or install with --with-dependencies`;
  } catch (error) {
    if (!(error instanceof SourceError)) throw error;
    return `: install ${name} first. ${error.message.replace(/\.$/, "")}`;
  }
}
