import { sql } from "drizzle-orm";
import { readMigrationFiles } from "drizzle-orm/migrator";
import { migrate as migratePglite } from "drizzle-orm/pglite/migrator";
import { drizzle } from "drizzle-orm/postgres-js";
import { migrate as migratePostgres } from "drizzle-orm/postgres-js/migrator";
import { StartError } from "../errors.ts";
import { ownPath } from "../lib/program.ts";
import { connect, type Database, type Db, rows, usualLimits } from "./client.ts";
import { relations } from "./relations.ts";

const migrationsFolder = ownPath("drizzle");
const settings = { migrationsFolder, migrationsSchema: "attune_migrations", migrationsTable: "migration" };
/** The advisory lock that each process holds while it migrates. */
export const migrationLock = 4_127_001;

/** Returns whether the database has ever been migrated. */
async function isMigrated(db: Db): Promise<boolean> {
  const [found] = await rows<{ exists: boolean }>(
    db,
    sql`select to_regclass('attune_migrations.migration') is not null as exists`,
  );
  return found?.exists ?? false;
}

/** Returns the names of the migrations that the database has, and of those that it lacks. Throws StartError when a newer version has migrated it. */
export async function readMigrations(db: Db): Promise<{ applied: string[]; pending: string[] }> {
  await refuseNewer(db);
  const found = (await isMigrated(db))
    ? await rows<{ name: string }>(db, sql`select name from attune_migrations.migration order by name`)
    : [];
  const applied = found.map(({ name }) => name);
  const known = readMigrationFiles({ migrationsFolder }).map(({ name }) => name);
  return { applied, pending: known.filter((name) => !applied.includes(name)) };
}

/** Throws StartError when the database has a migration that this version does not know. */
async function refuseNewer(db: Db): Promise<void> {
  if (!(await isMigrated(db))) return;
  const latest = readMigrationFiles({ migrationsFolder }).at(-1)?.folderMillis ?? 0;
  const [newer] = await rows<{ name: string }>(
    db,
    sql`select name from attune_migrations.migration where created_at > ${latest}::bigint order by created_at desc limit 1`,
  );
  if (!newer) return;
  throw new StartError(
    `The database belongs to a newer version of Attune (it has the migration "${newer.name}"): start that version, or restore a backup from before the update.`,
  );
}

/**
 * Migrates the database to this version. Throws StartError when a newer version has migrated it. `prepare` then runs under the same lock (the job queue creates its tables there); its result is
 * returned.
 */
export async function migrate<T>(database: Database, prepare: () => Promise<T>): Promise<T> {
  if (database.url === null) {
    await refuseNewer(database.db);
    await migratePglite(database.db as never, settings); // its type is the driver's own class
    return await prepare();
  }
  // The lock belongs to a session, so everything runs on this connection. A migration and the wait for another process's may take long.
  const patient = { ...usualLimits, statement: 0, response: 0, idleInTransaction: 0 };
  const holder = connect(database.url, patient, { max: 1, name: "attune migrations" });
  try {
    await holder`select pg_advisory_lock(${migrationLock})`;
    const db = drizzle({ client: holder, relations });
    await refuseNewer(database.db);
    await migratePostgres(db, settings);
    return await prepare();
  } finally {
    await holder.end({ timeout: 5 });
  }
}
