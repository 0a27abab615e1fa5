import { fileURLToPath } from "node:url";
import { migrate as migratePglite } from "drizzle-orm/pglite/migrator";
import { drizzle } from "drizzle-orm/postgres-js";
import { migrate as migratePostgres } from "drizzle-orm/postgres-js/migrator";
import postgres from "postgres";
import type { Database } from "./client.ts";
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
  // The lock belongs to a session, so everything runs on this connection, which has no statement timeout.
  const holder = postgres(database.url, {
    max: 1,
    onnotice: () => {},
    connection: { search_path: "attune, public", application_name: "attune migrations" },
  });
  try {
    await holder`select pg_advisory_lock(${lockKey})`;
    const db = drizzle({ client: holder, relations });
    await migratePostgres(db, settings);
    return await prepare();
  } finally {
    await holder.end({ timeout: 5 });
  }
}
