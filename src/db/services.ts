import type { RetentionDays } from "../lib/retention.ts";
import type { Log } from "../log.ts";
import type { Metrics } from "../metrics.ts";
import type { Keyring } from "../secrecy/keyring.ts";
import type { Tracing } from "../tracing.ts";
import type { Database, Db } from "./client.ts";
import type { Jobs } from "./jobs.ts";
import type { Room } from "./room.ts";
import type { Wake } from "./wake.ts";

/** The services that all parts of a process share. */
export interface Services {
  kind: Database["kind"];
  db: Db;
  jobs: Jobs;
  wake: Wake;
  log: Log;
  room: Room;
  metrics: Metrics;
  /** Null: spans are not exported. */
  tracing: Tracing | null;
  keyring: Keyring;
  /** The directory for contents that are too large for a row; null: the processes share no directory. */
  artifactsDir: string | null;
  retention: RetentionDays;
  /** After how many seconds an execution fails that no worker can take. */
  scheduleSeconds: number;
  /** Events of later generations are stored but not evaluated, to stop loops. */
  maxGeneration: number;
}
