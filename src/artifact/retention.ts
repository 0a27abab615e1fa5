import { readdir, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { sql } from "drizzle-orm";
import { rows } from "../db/client.ts";
import type { Services } from "../db/services.ts";
import { write } from "../db/tx.ts";
import { removeFiles, spoolDirectory } from "./files.ts";
import { filesLock } from "./version.ts";

const batch = 500;

/** SQL: the retention period of the artifact `a`, if it has one. */
const period = sql.raw(`make_interval(days => case a.retention when 'days' then a.retention_limit else 0 end,
  hours => case a.retention when 'hours' then a.retention_limit else 0 end,
  mins => case a.retention when 'minutes' then a.retention_limit else 0 end)`);

/**
 * Deletes a batch of versions past their artifacts' retention: all but the newest ones, or those older than the retention period;
 * then artifacts without versions that have not changed within their retention period. Returns whether there may be more.
 */
export async function pruneArtifacts(services: Services): Promise<boolean> {
  // A transaction of its own: each batch is removed by itself, its files after the commit.
  const versions = await write(services, (tx) =>
    rows<{ key: string | null }>(
      tx.db,
      sql`delete from attune.artifact_version v using (
            select v.id from attune.artifact a
              cross join lateral (select max(m.version) as newest from attune.artifact_version m where m.artifact = a.id) m
              join attune.artifact_version v on v.artifact = a.id
            where case when a.retention = 'versions' then v.version <= m.newest - a.retention_limit
              else v.created < now() - ${period} end
            limit ${sql.raw(String(batch))} for update of v skip locked) old
        where v.id = old.id returning v.storage_key as key`,
    ),
  );
  await removeFiles(
    services,
    versions.map(({ key }) => key),
  );
  // A transaction of its own: as above.
  const artifacts = await write(services, (tx) =>
    rows(
      tx.db,
      sql`delete from attune.artifact where id in (select a.id from attune.artifact a
          where a.retention <> 'versions' and a.updated < now() - ${period}
            and not exists (select from attune.artifact_version v where v.artifact = a.id)
          limit ${sql.raw(String(batch))} for update of a skip locked)
        returning id::text`,
    ),
  );
  return versions.length === batch || artifacts.length === batch;
}

/**
 * Deletes files without a row that are older than `minAgeMs`: a process died before its transaction committed, or before it deleted
 * them. Returns their number. Nothing is deleted while a version is being stored, and storing a version fails when its file was
 * deleted, so that every row has its file.
 */
export async function sweepFiles(services: Services, minAgeMs: number): Promise<number> {
  const { artifactsDir } = services;
  if (artifactsDir === null) return 0;
  const before = Date.now() - minAgeMs;
  let removed = 0;
  for (const name of await namesIn(spoolDirectory(artifactsDir))) {
    const path = join(spoolDirectory(artifactsDir), name);
    if (!(await isOlder(path, before))) continue;
    await rm(path, { force: true }); // a process that still writes to it fails to rename it
    removed += 1;
  }
  for (const prefix of await namesIn(artifactsDir)) {
    if (!/^[0-9a-f]{2}$/.test(prefix)) continue;
    const old: string[] = [];
    for (const name of await namesIn(join(artifactsDir, prefix))) {
      if (await isOlder(join(artifactsDir, prefix, name), before)) old.push(`${prefix}/${name}`);
    }
    for (let start = 0; start < old.length; start += batch) {
      removed += await removeUnnamed(services, artifactsDir, old.slice(start, start + batch));
    }
  }
  return removed;
}

async function removeUnnamed(services: Services, directory: string, keys: readonly string[]): Promise<number> {
  // A transaction of its own: it holds the lock of the files alone, for no longer than a batch.
  return await services.db.transaction(async (db) => {
    const [lock] = await rows<{ held: boolean }>(db, sql`select pg_try_advisory_xact_lock(${filesLock}) as held`);
    if (!lock?.held) return 0;
    const named = await rows<{ key: string }>(
      db,
      sql`select v.storage_key as key from jsonb_array_elements_text(${JSON.stringify(keys)}::text::jsonb) as k(key)
        join attune.artifact_version v on v.storage_key = k.key`,
    );
    const kept = new Set(named.map(({ key }) => key));
    const unnamed = keys.filter((key) => !kept.has(key));
    for (const key of unnamed) await rm(join(directory, key), { force: true });
    return unnamed.length;
  });
}

async function namesIn(directory: string): Promise<string[]> {
  try {
    return await readdir(directory);
  } catch (error) {
    if (error instanceof Error && "code" in error && (error.code === "ENOENT" || error.code === "ENOTDIR")) return [];
    throw error;
  }
}

async function isOlder(path: string, time: number): Promise<boolean> {
  const found = await stat(path).catch(() => null); // deleted meanwhile
  return found !== null && found.mtimeMs < time;
}
