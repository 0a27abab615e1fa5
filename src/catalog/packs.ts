import { ensureAdmin } from "../access/token.ts";
import type { Services } from "../db/services.ts";
import { write } from "../db/tx.ts";
import { InvalidInputError, StartError } from "../errors.ts";
import { ownPath } from "../lib/program.ts";
import { ensureDefaultPack, loadPack } from "./load.ts";
import type { PackRules } from "./pack-rules.ts";
import { openQueues, preparePack } from "./queues.ts";
import { type CheckedPack, readPack } from "./read.ts";

const corePack = ownPath("packs/core");

/** Reads the core pack and the packs in the directories. Throws StartError with every fault and its position. */
export async function readPacks(directories: readonly string[]): Promise<CheckedPack[]> {
  const packs: CheckedPack[] = [];
  for (const directory of [corePack, ...directories]) {
    try {
      packs.push(await readPack(directory));
    } catch (cause) {
      throw unloadable(directory, cause);
    }
  }
  return inOrder(packs);
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
    const other = byRef.get(ref);
    if (other) throw new StartError(`Two directories have the pack ${ref}: ${other.path} and ${source.path}.`);
    byRef.set(ref, source);
  }
  const ordered = new Set<CheckedPack>();
  const visit = (source: CheckedPack, above: readonly string[]) => {
    if (ordered.has(source)) return;
    const { ref, dependencies } = source.pack;
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

/**
 * Loads the packs, one transaction each, and creates the pack `default`, the identity `admin` and the queues of all runtimes if they are
 * missing. Returns the id of `admin`. Throws StartError for a pack that cannot be loaded.
 */
export async function loadPacks(
  services: Services,
  packs: readonly CheckedPack[],
  packRules: PackRules,
): Promise<string> {
  for (const pack of packs) {
    try {
      await preparePack(services, pack);
      // A transaction of its own: each pack is loaded by itself.
      await write(services, (tx) => loadPack(tx, pack, packRules));
    } catch (cause) {
      throw unloadable(pack.path, cause);
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
