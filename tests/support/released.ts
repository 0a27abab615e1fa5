import { randomUUID } from "node:crypto";
import { cpSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { migrate as migratePglite } from "drizzle-orm/pglite/migrator";
import { migrate as migratePostgres } from "drizzle-orm/postgres-js/migrator";
import postgres from "postgres";
import { inject } from "vitest";
import { type Database, openDatabase } from "../../src/db/client.ts";
import type { Location } from "./database.ts";
import { databaseUrl } from "./template.ts";

const folder = join(import.meta.dirname, "../../drizzle");

/** Opens a new, empty database with the migrations up to `last`, as an earlier version created it. */
export async function releasedDatabase(last: string): Promise<{ database: Database; location: Location }> {
  const serverUrl = inject("serverUrl");
  const name = `${inject("templates").nothing}_${randomUUID().slice(0, 8)}`;
  if (serverUrl) {
    const admin = postgres(serverUrl, { max: 1, onnotice: () => {} });
    await admin`create database ${admin(name)}`;
    await admin.end();
  }
  const location = serverUrl
    ? { url: databaseUrl(serverUrl, name), dataDir: "" }
    : { url: null, dataDir: join(inject("scratch"), randomUUID().slice(0, 8)) };
  const migrationsFolder = mkdtempSync(join(tmpdir(), "attune-released-"));
  const released = readdirSync(folder).filter((migration) => migration <= last);
  for (const migration of released)
    cpSync(join(folder, migration), join(migrationsFolder, migration), { recursive: true });
  const settings = { migrationsFolder, migrationsSchema: "attune_migrations", migrationsTable: "migration" };
  const database = await openDatabase({ ...location, maxConnections: 1, fsync: false });
  const migrate = serverUrl ? migratePostgres : migratePglite;
  await migrate(database.db as never, settings); // it expects its driver's class
  rmSync(migrationsFolder, { recursive: true });
  return { database, location };
}
