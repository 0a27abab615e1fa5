import { requireKeyring } from "./access/rotate.ts";
import { type Database, openDatabase } from "./db/client.ts";
import { eventQueue, startJobs } from "./db/jobs.ts";
import { migrate } from "./db/migrate.ts";
import type { Services } from "./db/services.ts";
import { createWake } from "./db/wake.ts";
import type { Log } from "./log.ts";
import type { Keyring } from "./secrecy/keyring.ts";

export interface ServicesOptions {
  /** `postgres://…`; null: the embedded database in `dataDir`. */
  url: string | null;
  dataDir: string;
  maxConnections: number;
  fsync?: boolean;
  /** Called with the text and the parameters of every statement, before it runs. */
  onStatement?: (sql: string, params: unknown[]) => void;
  log: Log;
  /** Called once this process holds the database: an embedded one has its key in the same directory. */
  openKeyring(): Keyring;
  artifactsDir: string | null;
  /** Leaves the migrations out: for a copy of a database that is known to be migrated. */
  isMigrated?: boolean;
}

/** The services with the database itself; disposing them ends them in the reverse order of their start. */
export interface OpenServices extends Services, AsyncDisposable {
  database: Database;
}

/**
 * Opens what every role shares, over a database that it migrates first. Throws StartError for whatever the user can mend; then
 * nothing is left open.
 */
export async function openServices(options: ServicesOptions): Promise<OpenServices> {
  const { log, artifactsDir, isMigrated = false } = options;
  await using opening = new AsyncDisposableStack();
  const database = opening.use(await openDatabase(options));
  const keyring = options.openKeyring();
  const start = async () => opening.use(await startJobs(database, log));
  const jobs = isMigrated ? await start() : await migrate(database, start);
  await requireKeyring(database.db, keyring);
  await jobs.open(eventQueue);
  const wake = opening.use(await createWake(database, log));
  const opened = opening.move();
  return {
    ...{ kind: database.kind, db: database.db, database, jobs, wake, log, keyring, artifactsDir },
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  };
}
