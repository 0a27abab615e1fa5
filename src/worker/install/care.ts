import { existsSync } from "node:fs";
import { readdir, rename, rm, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { sql } from "drizzle-orm";
import { type Db, rows } from "../../db/client.ts";
import type { Services } from "../../db/services.ts";
import { type Tx, write } from "../../db/tx.ts";
import { type Loop, startLoop } from "../../lib/loop.ts";

const careMs = 15 * 60_000;
/** How long a release's files are kept after it was installed or left, in milliseconds: what was just claimed may be about to read them. */
const keptMs = 3600_000;
const doomed = ".removed-";

/**
 * Lets one transaction at a time remove files of releases, and none while a release becomes active: an installation finds its files afterwards, or
 * notices that they are gone.
 */
export async function lockReleases(tx: Tx): Promise<void> {
  await tx.db.execute(sql`select pg_advisory_xact_lock(hashtextextended('attune installed releases', 0))`);
}

/** Starts the removal of the files of releases that nothing uses any longer. */
export function startReleaseCare(services: Services, directory: string): Loop {
  return startLoop({
    failed: (error) => services.log.error({ err: error }, "removing releases of packs"),
    pass: async () => {
      await removeReleases(services, directory, keptMs);
      return careMs;
    },
  });
}

/** Removes the files of releases that are not active, that no execution in progress runs, and that have not changed for so long. */
export async function removeReleases(services: Services, directory: string, unchangedMs: number): Promise<void> {
  if (!existsSync(directory)) return;
  for (const path of await findOld(directory, unchangedMs)) {
    const isRemoved = await write(services, async (tx) => {
      await lockReleases(tx);
      if (await isUsed(tx.db, path)) return false;
      await rename(path, `${path}${doomed}`);
      return true;
    });
    if (isRemoved) services.log.info({ path }, "a release of a pack is removed");
  }
  for (const pack of await packsIn(directory)) {
    for (const name of await readdir(join(directory, pack))) {
      if (name.endsWith(doomed)) await rm(join(directory, pack, name), { recursive: true, force: true });
    }
  }
}

const packsIn = async (directory: string) =>
  (await readdir(directory, { withFileTypes: true }))
    .filter((entry) => entry.isDirectory() && /^[a-z][a-z0-9_-]+$/.test(entry.name))
    .filter(({ name }) => !name.startsWith("attune-scratch-"))
    .map(({ name }) => name);

async function findOld(directory: string, unchangedMs: number): Promise<string[]> {
  const found: string[] = [];
  for (const pack of await packsIn(directory)) {
    for (const name of await readdir(join(directory, pack))) {
      const path = join(directory, pack, name);
      const isOld = (await stat(path)).mtimeMs < Date.now() - unchangedMs;
      if (/^[0-9a-f]{64}$/.test(name) && isOld) found.push(path);
    }
  }
  return found;
}

/** Of a release whose pack was deleted only the pack's ref is known to what still runs. */
async function isUsed(db: Db, path: string): Promise<boolean> {
  const pack = basename(dirname(path));
  const [found] = await rows<{ isUsed: boolean }>(
    db,
    sql`select exists (select from attune.pack_release r where r.path = ${path}
          and (exists (select from attune.pack p where p.active_release = r.id)
            or exists (select from attune.execution e where e.pack_release = r.id and not attune.is_terminal(e.status))))
        or not exists (select from attune.pack_release r where r.path = ${path})
          and exists (select from attune.execution e where e.action_ref like ${`${pack.replaceAll("_", "\\_")}.%`}
            and not attune.is_terminal(e.status)) as "isUsed"`,
  );
  return found?.isUsed ?? true;
}
