import { existsSync } from "node:fs";
import { readdir, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { sql } from "drizzle-orm";
import { type Db, rows } from "../../db/client.ts";
import type { Services } from "../../db/services.ts";
import { write } from "../../db/tx.ts";
import { inProgress, statusIn } from "../../execution/states.ts";
import type { FoundRuntime } from "../interpreters.ts";
import { isComplete } from "./build.ts";
import type { Wanted } from "./environments.ts";
import { recipes } from "./recipe.ts";

/** How long an environment is kept after its last use, in seconds: what was just claimed may be about to enter it. */
const keptSeconds = 3600;
const doomed = ".removed-";
const ownName = /^(\.removed-)?[a-z][a-z0-9_-]+\.[0-9a-f]{16}$/;

/** Returns the environments that active releases need of this host's runtimes; without those that failed, which wait for an execution that needs them. */
export async function findWanted(
  db: Db,
  {
    runtimes,
    releases,
    store,
  }: { runtimes: readonly FoundRuntime[]; releases: ReadonlyMap<string, string>; store: string | null },
): Promise<Wanted[]> {
  const found = await rows<Omit<Wanted, "release"> & { digest: string; path: string }>(
    db,
    sql`select p.ref as "packRef", n.key as "runtimeRef", n.value as checksum, r.digest, r.path
      from attune.pack p join attune.pack_release r on r.id = p.active_release cross join jsonb_each_text(r.environments) n
      where r.environments <> '{}' and not exists (select from attune.pack_environment e join attune.runtime rt on rt.id = e.runtime
        where e.pack = p.id and rt.ref = n.key and e.manifest_checksum = n.value and e.store = ${store} and e.status = 'failed')
      order by 1, 2`,
  );
  const here = new Set(runtimes.map(({ ref }) => ref));
  return found
    .filter(({ runtimeRef }) => here.has(runtimeRef) && recipes.has(runtimeRef))
    .map(({ digest, path, ...wanted }) => ({ ...wanted, release: { digest, path: releases.get(digest) ?? path } }))
    .filter(({ release }) => existsSync(release.path));
}

/** Removes the environments of the store that no release needs and nothing runs in, and the directories of builds that were lost. */
export async function removeUnused(
  services: Services,
  { directory, store }: { directory: string; store: string },
): Promise<void> {
  // Directories before rows: each of them was named in a row before it was created.
  const names = (await readdir(directory)).filter((name) => ownName.test(name));
  await write(services, (tx) =>
    tx.db.execute(
      sql`delete from attune.pack_environment e where e.store = ${store} and e.status = 'outdated'
        and e.updated < now() - make_interval(secs => ${keptSeconds}::int)
        and not exists (select from attune.execution x join attune.pack_release r on r.id = x.pack_release
            join attune.runtime rt on rt.id = e.runtime
          where ${statusIn(inProgress, "x.status")} and r.pack = e.pack and r.environments ->> rt.ref = e.manifest_checksum)`,
    ),
  );
  const stored = await rows<{ path: string }>(
    services.db,
    sql`select path from attune.pack_environment where store = ${store}`,
  );
  const kept = new Set(stored.map(({ path }) => path));
  const unknown = names.filter((name) => !kept.has(join(directory, name)));
  const busy = await packsAtWork(services.db, unknown.map(packOf));
  for (const name of unknown) {
    // Nothing ever ran in what is not complete.
    if (!busy.has(packOf(name)) || !isComplete(join(directory, name))) await remove(directory, name);
  }
}

const packOf = (name: string) => name.slice(0, name.indexOf("."));

/** What runs keeps the environment that it entered, also when the pack was deleted or the environment built anew. */
async function packsAtWork(db: Db, packs: readonly string[]): Promise<ReadonlySet<string>> {
  if (packs.length === 0) return new Set();
  const found = await rows<{ pack: string }>(
    db,
    sql`select distinct split_part(e.action_ref, '.', 1) as pack from attune.execution e where ${statusIn(inProgress, "e.status")}
      union select s.pack_ref from attune.sensor s join attune.sensor_process p on p.sensor = s.id where p.lease_expires_at is not null`,
  );
  return new Set(found.map(({ pack }) => pack));
}

/** Renames it first, so that a removal that is interrupted leaves no half of an environment under its name. */
async function remove(directory: string, name: string): Promise<void> {
  const isDoomed = name.startsWith(doomed);
  const target = join(directory, isDoomed ? name : `${doomed}${name}`);
  if (!isDoomed) await rename(join(directory, name), target);
  await rm(target, { recursive: true, force: true });
}
