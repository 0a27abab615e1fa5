import { realpath } from "node:fs/promises";
import { sql } from "drizzle-orm";
import { ensureAdmin } from "../access/token.ts";
import { rows } from "../db/client.ts";
import type { Services } from "../db/services.ts";
import { pack as packTable } from "../db/tables/pack.ts";
import { type Tx, write } from "../db/tx.ts";
import { ConflictError, InvalidInputError, StartError } from "../errors.ts";
import { ownPath } from "../lib/program.ts";
import { refsNeeded } from "./dependencies.ts";
import { readFiles } from "./files.ts";
import { type KeptPack, keepRelease, type ReleaseStore } from "./keep.ts";
import { fromDirectory, loadPack } from "./load.ts";
import type { PackRules } from "./pack-rules.ts";
import { openQueues, preparePack } from "./queues.ts";
import { type CheckedPack, readPack } from "./read.ts";

const corePack = ownPath("packs/core");

/** Reads the core pack and the packs in the directories. Throws StartError with every fault and its position. */
export async function readPacks(directories: readonly string[]): Promise<CheckedPack[]> {
  return [await readPack(corePack), ...(await readLocalPacks(directories))];
}

/** Reads the packs in the directories. Throws StartError with every fault and its position. */
export async function readLocalPacks(directories: readonly string[]): Promise<CheckedPack[]> {
  const packs: CheckedPack[] = [];
  for (const directory of directories) {
    try {
      packs.push(await readPack(directory));
    } catch (cause) {
      throw unloadable(directory, cause);
    }
  }
  return inOrder(packs);
}

/** The files of the core pack. */
export interface Core {
  digest: string;
  path: string;
  /** Null: they are those of the active release, and were loaded from there. Reading them would be a seventh of the processor time of a start. */
  changed: CheckedPack | null;
}

/** Returns the core pack, and reads it where it differs from what is loaded. */
export async function findCore({ db }: Services): Promise<Core> {
  const [active] = await rows<{ digest: string; path: string }>(
    db,
    sql`select r.digest, r.path from attune.pack p join attune.pack_release r on r.id = p.active_release where p.ref = 'core'`,
  );
  const path = await realpath(corePack);
  const { digest } = await readFiles(path, () => false);
  const isSame = active?.path === path && active.digest === digest;
  return { digest, path, changed: isSame ? null : await readPack(path) };
}

function unloadable(directory: string, cause: unknown): unknown {
  if (!(cause instanceof InvalidInputError)) return cause;
  const faults = cause.issues.map(({ path, message }) => `  ${path && `${path}: `}${message}`).join("\n");
  return new StartError(`The pack in ${directory} cannot be loaded. Correct this and start again:\n${faults}`, {
    cause,
  });
}

/** Returns the packs so that each follows those it depends on. Throws StartError for a cycle, and for two packs with one ref. */
function inOrder(packs: readonly CheckedPack[]): CheckedPack[] {
  const byRef = new Map<string, CheckedPack>();
  for (const source of packs) {
    const { ref } = source.pack;
    const other = ref === "core" ? corePack : byRef.get(ref)?.path;
    if (other) throw new StartError(`Two directories have the pack ${ref}: ${other} and ${source.path}.`);
    byRef.set(ref, source);
  }
  const ordered = new Set<CheckedPack>();
  const visit = (source: CheckedPack, above: readonly string[]) => {
    if (ordered.has(source)) return;
    const { ref } = source.pack;
    const dependencies = refsNeeded(source.pack.dependencies);
    if (above.includes(ref)) {
      const cycle = [...above.slice(above.indexOf(ref)), ref].join(", which depends on ");
      throw new StartError(`The packs cannot be loaded, as they depend on each other: ${cycle}.`);
    }
    for (const each of dependencies) {
      const needed = byRef.get(each);
      if (needed) visit(needed, [...above, ref]);
    }
    ordered.add(source);
  };
  for (const source of packs) visit(source, []);
  return [...ordered];
}

/** Copies the files of local packs to where releases stay. Throws StartError for one whose files change meanwhile. */
export async function keepPacks(packs: readonly CheckedPack[], store: ReleaseStore): Promise<KeptPack[]> {
  const kept: KeptPack[] = [];
  for (const pack of packs) {
    try {
      kept.push(await keepRelease(pack, store));
    } catch (cause) {
      throw cause instanceof ConflictError ? new StartError(cause.message, { cause }) : cause;
    }
  }
  return kept;
}

/**
 * Loads the packs, one transaction each but judged together, and creates the pack `default`, the identity `admin` and the queues of all runtimes if they are
 * missing. The files of the packs `adopting` replace what was created by hand. Returns the id of `admin`. Throws StartError for a pack that cannot be loaded.
 */
export async function loadPacks(
  services: Services,
  packs: readonly (CheckedPack & Partial<KeptPack>)[],
  packRules: PackRules,
  adopting: readonly string[] = [],
): Promise<string> {
  for (const pack of packs) {
    try {
      await preparePack(services, pack);
      const origin = fromDirectory(pack.directory);
      const adopts = adopting.includes(pack.pack.ref);
      // A transaction of its own: each pack is loaded by itself.
      await write(services, (tx) => loadPack(tx, pack, packRules, { origin, together: packs, adopts }));
    } catch (cause) {
      throw unloadable(pack.directory ?? pack.path, cause);
    }
  }
  // A transaction of its own: it follows the packs, whose permission sets it assigns.
  const admin = await write(services, async (tx) => {
    await ensureDefaultPack(tx);
    return await ensureAdmin(tx);
  });
  await openQueues(services);
  return admin;
}

/** Creates the pack `default`, for entities created by hand, if it is missing. */
async function ensureDefaultPack(tx: Tx): Promise<void> {
  await tx.db
    .insert(packTable)
    .values({ ref: "default", label: "Default", version: "1.0.0", description: "Entities created by hand." })
    .onConflictDoNothing();
}
