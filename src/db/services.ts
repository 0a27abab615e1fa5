import type { Log } from "../log.ts";
import type { Keyring } from "../secrecy/keyring.ts";
import type { Database, Db } from "./client.ts";
import type { Jobs } from "./jobs.ts";
import type { Wake } from "./wake.ts";

/** What every part of a process shares: the database, its job queue, the wake-ups, the log and the keyring. */
export interface Services {
  kind: Database["kind"];
  db: Db;
  jobs: Jobs;
  wake: Wake;
  log: Log;
  keyring: Keyring;
  /** Where contents too large for a row are kept as files; null: the processes share no directory. */
  artifactsDir: string | null;
}
