import { requireKeyring } from "./access/rotate.ts";
import { sealStoredSettings } from "./catalog/settings.ts";
import { type Database, openDatabase } from "./db/client.ts";
import { startJobs } from "./db/jobs.ts";
import { migrate } from "./db/migrate.ts";
import { unlimitedRoom, watchRoom } from "./db/room.ts";
import type { Services } from "./db/services.ts";
import { createWake } from "./db/wake.ts";
import { type RetentionDays, retentionDefaults } from "./lib/retention.ts";
import type { Log } from "./log.ts";
import { createMetrics } from "./metrics.ts";
import type { Keyring } from "./secrecy/keyring.ts";
import type { TracingOptions } from "./tracing.ts";

const usualReserve = 256 * 1024 * 1024;

export interface ServicesOptions {
  /** `postgres://…`; null: the embedded database in `dataDir`. */
  url: string | null;
  dataDir: string;
  maxConnections: number;
  fsync?: boolean;
  /** Bytes of the embedded database's disk that are kept free of new work; by default 256 MiB. */
  reserve?: number;
  /** Called with the text and the parameters of every statement, before it runs. */
  onStatement?: (sql: string, params: unknown[]) => void;
  log: Log;
  /** Called after the database is open: an embedded one has its key in the directory that is then locked. */
  openKeyring(): Keyring;
  artifactsDir: string | null;
  /** By default the settings' defaults. */
  retention?: RetentionDays;
  scheduleSeconds?: number;
  maxGeneration?: number;
  /** Where spans are exported to; by default nowhere. */
  tracing?: TracingOptions | null;
  /** Skips the migrations, for a copy of a migrated database. */
  isMigrated?: boolean;
}

/** The services with their database; disposing them stops them in the reverse order of their start. */
export interface OpenServices extends Services, AsyncDisposable {
  database: Database;
}

/**
 * Opens the database, migrates it, and starts the services that all roles share. Throws StartError for faults that the user can correct;
 * then nothing is left open.
 */
export async function openServices(options: ServicesOptions): Promise<OpenServices> {
  const { log, artifactsDir, retention = retentionDefaults, isMigrated = false } = options;
  const { scheduleSeconds = 300, maxGeneration = 32 } = options;
  await using opening = new AsyncDisposableStack();
  const { url, dataDir, reserve = usualReserve } = options;
  const room = opening.use(url === null ? await watchRoom(dataDir, reserve, log) : unlimitedRoom());
  const database = opening.use(await openDatabase(options));
  const keyring = options.openKeyring();
  const start = async () => opening.use(await startJobs(database, log));
  const prepare = async () => {
    // A transaction of its own: no other may change the rows between reading and writing.
    await database.db.transaction((db) => sealStoredSettings(db, keyring));
    return await start();
  };
  const jobs = isMigrated ? await start() : await migrate(database, prepare);
  await requireKeyring(database.db, keyring);
  const wake = opening.use(await createWake(database, log));
  const { tracing: exported = null } = options;
  const { startTracing } = exported === null ? { startTracing: null } : await import("./tracing.ts");
  const tracing = exported && startTracing ? opening.use(await startTracing(exported, log)) : null;
  const opened = opening.move();
  return {
    ...{
      kind: database.kind,
      db: database.db,
      database,
      room,
      jobs,
      wake,
      log,
      keyring,
      artifactsDir,
      retention,
      scheduleSeconds,
      maxGeneration,
      tracing,
      metrics: createMetrics(),
    },
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  };
}
