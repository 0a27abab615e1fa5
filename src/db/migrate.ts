import { fileURLToPath } from "node:url";
import { migrate as migratePglite } from "drizzle-orm/pglite/migrator";
import { drizzle } from "drizzle-orm/postgres-js";
import { migrate as migratePostgres } from "drizzle-orm/postgres-js/migrator";
import { connect, type Database, usualLimits } from "./client.ts";
import { relations } from "./relations.ts";

const migrationsFolder = fileURLToPath(new URL("../../drizzle", import.meta.url));
const settings = { migrationsFolder, migrationsSchema: "attune_migrations", migrationsTable: "migration" };
/** The advisory lock that each process holds while it migrates. */
const lockKey = 4_127_001;

/**
 * Migrates the database to this version. `prepare` then runs under the same lock (the job queue creates its tables there); its result is
 * returned.
 */
export async function migrate<T>(database: Database, prepare: () => Promise<T>): Promise<T> {
  if (database.url === null) {
    await migratePglite(database.db as never, settings); // its type is the driver's own class
    return await prepare();
  }
  // The lock belongs to a session, so everything runs on this connection. A migration and the wait for another process's may take long.
  const patient = { ...usualLimits, statement: 0, response: 0, idleInTransaction: 0 };
  const holder = connect(database.url, patient, { max: 1, name: "attune migrations" });
  try {
    await holder`select pg_advisory_lock(${lockKey})`;
    const db = drizzle({ client: holder, relations });
    await migratePostgres(db, settings);
    return await prepare();
  } finally {
    await holder.end({ timeout: 5 });
  }
}
