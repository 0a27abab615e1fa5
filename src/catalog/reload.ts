import { holds } from "../access/grants.ts";
import type { Session } from "../access/session.ts";
import type { Services } from "../db/services.ts";
import type { Tx } from "../db/tx.ts";
import { ConflictError, ForbiddenError, InvalidInputError, invalid } from "../errors.ts";
import { didYouMean } from "../lib/nearest.ts";
import { type KeptPack, keepRelease, type ReleaseStore } from "./keep.ts";
import { fromDirectory, loadPack } from "./load.ts";
import type { PackRules } from "./pack-rules.ts";
import { preparePack } from "./queues.ts";
import { readPack } from "./read.ts";

/** The packs that a process loads from directories. */
export interface LocalPacks {
  /** The directory of each by its ref, as it was at the start. */
  directories: ReadonlyMap<string, string>;
  store: ReleaseStore;
}

/** Editors and tools may write several files, one after the other. */
const mostTries = 3;

/**
 * Reads and checks the files of a pack that this process loads from a directory, and keeps them for `reloadPack`. It requires a grant of
 * `pack:install` without constraints, as an installation does. Throws ForbiddenError, InvalidInputError with each fault at its position in the
 * files, and ConflictError when they do not stop changing.
 */
export async function readChanged(
  services: Services,
  session: Session,
  { ref, local }: { ref: string; local: LocalPacks | null },
): Promise<KeptPack> {
  if (!holds(session.grants, { resource: "pack", actions: ["install"] })) {
    throw new ForbiddenError("You may not load packs: it requires a grant of pack:install without constraints.");
  }
  const directory = directoryOf(ref, local);
  for (let tries = 1; ; tries += 1) {
    const source = await readPack(directory);
    if (source.pack.ref !== ref) {
      const message = `the pack in ${directory} was loaded as "${ref}": start the server again to load it under another ref`;
      throw new InvalidInputError([source.issueAt(source.pack.ref, ["ref"], message)]);
    }
    try {
      const kept = local ? await keepRelease(source, local.store) : { ...source, directory };
      await preparePack(services, kept);
      return kept;
    } catch (error) {
      if (tries === mostTries || !(error instanceof ConflictError)) throw error;
    }
  }
}

function directoryOf(ref: string, local: LocalPacks | null): string {
  const directory = local?.directories.get(ref);
  if (directory !== undefined) return directory;
  const known = [...(local?.directories.keys() ?? [])];
  const has = known.length === 0 ? "none" : known.join(", ");
  throw invalid(
    "ref",
    `this server loads no pack "${ref}" from ATTUNE__PACKS__DIRS, but ${has}${didYouMean(ref, known)}; installPack updates other packs`,
  );
}

/** A pack that was loaded again. */
export interface Reloaded {
  id: bigint;
  /** Whether its files differ from those of the release that was active. */
  changed: boolean;
  directory: string;
}

/**
 * Makes the files that `readChanged` has kept the pack's active release, in the caller's transaction. What runs keeps the release that it began
 * with. Throws InvalidInputError with each fault at its position in the files, and ConflictError; then the loaded release stays.
 */
export async function reloadPack(tx: Tx, kept: KeptPack, packRules: PackRules): Promise<Reloaded> {
  const { directory } = kept;
  const { id, changed } = await loadPack(tx, kept, packRules, { origin: fromDirectory(directory) });
  return { id, changed, directory };
}
