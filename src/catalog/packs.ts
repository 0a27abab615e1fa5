import { fileURLToPath } from "node:url";
import { sql } from "drizzle-orm";
import { ensureAdmin } from "../access/token.ts";
import { rows } from "../db/client.ts";
import { runtimeQueue } from "../db/jobs.ts";
import type { Services } from "../db/services.ts";
import { type Tx, write } from "../db/tx.ts";
import { InvalidInputError, StartError } from "../errors.ts";
import { ensureDefaultPack, loadPack } from "./load.ts";
import { type CheckedPack, readPack } from "./read.ts";

const corePack = fileURLToPath(new URL("../../packs/core", import.meta.url));

/** Reads the core pack and the packs in the directories. Throws StartError with every fault and its position. */
export async function readPacks(directories: readonly string[]): Promise<CheckedPack[]> {
  const packs: CheckedPack[] = [];
  for (const directory of [corePack, ...directories]) {
    try {
      packs.push(await readPack(directory));
    } catch (cause) {
      if (!(cause instanceof InvalidInputError)) throw cause;
      const faults = cause.issues.map(({ path, message }) => `  ${path && `${path}: `}${message}`).join("\n");
      throw new StartError(`The pack in ${directory} cannot be loaded. Correct this and start again:\n${faults}`, {
        cause,
      });
    }
  }
  return packs;
}

/**
 * Loads the packs, one transaction each, and creates the pack `default`, the identity `admin` and the queues of all runtimes if they are
 * missing. `loaded` is called for each rule of a pack. Returns the id of `admin`. Throws StartError for a pack that cannot be loaded.
 */
export async function loadPacks(
  services: Services,
  packs: readonly CheckedPack[],
  loaded: (tx: Tx, rule: { id: string }) => Promise<void>,
): Promise<string> {
  for (const pack of packs) {
    try {
      // A transaction of its own: each pack is loaded by itself.
      await write(services, (tx) => loadPack(tx, pack, loaded));
    } catch (cause) {
      if (!(cause instanceof InvalidInputError)) throw cause;
      throw new StartError(`The pack ${pack.pack.ref} cannot be loaded: ${cause.message}`, { cause });
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

/** Opens the queues of all runtimes, as each must be open before the first transaction that uses it. */
async function openQueues({ db, jobs }: Services): Promise<void> {
  const runtimes = await rows<{ ref: string }>(db, sql`select ref from attune.runtime where runtime_type = 'action'`);
  for (const { ref } of runtimes) await jobs.open(runtimeQueue(ref));
}
