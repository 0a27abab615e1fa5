import { DrizzleQueryError } from "drizzle-orm";
import type { Log } from "../log.ts";
import type { Database, Db } from "./client.ts";
import { refusalOf, type Violation } from "./constraint.ts";
import type { Jobs } from "./jobs.ts";
import type { Wake } from "./wake.ts";

/** What every verb works with: the database, its job queue, the wake-ups and the log. */
export interface Engine {
  kind: Database["kind"];
  db: Db;
  jobs: Jobs;
  wake: Wake;
  log: Log;
  /** Where contents too large for a row are kept as files; null: the processes share no directory. */
  artifactsDir: string | null;
  /** The request on whose behalf this works; null: none. */
  request?: RequestScope | null;
}

/** What a request adds to the first transaction that is written on its behalf. */
export interface RequestScope {
  /** Before the work: what a replay of the request made already, or null to go on. */
  begin(tx: Tx): Promise<{ id: bigint } | null>;
  /** After the work, before the commit. */
  end(tx: Tx, result: unknown): Promise<void>;
}

/** A transaction, with the topics to announce once it has committed. */
export interface Tx {
  db: Db;
  jobs: Jobs;
  announce(topic: string): void;
}

/**
 * Runs `work` in one transaction and announces its topics after the commit. A violated constraint is thrown as the
 * refusal that it means (ConflictError, InvalidInputError).
 */
export async function write<T>(engine: Engine, work: (tx: Tx) => Promise<T>): Promise<T> {
  const topics = new Set(["feed"]);
  try {
    const result = await engine.db.transaction(async (db) => {
      const tx: Tx = { db, jobs: engine.jobs, announce: (topic) => topics.add(topic) };
      const { request } = engine;
      if (!request) return await work(tx);
      // A verb that makes something answers its id, also when a replay finds it made.
      const done = ((await request.begin(tx)) as T | null) ?? (await work(tx));
      await request.end(tx, done);
      return done;
    });
    engine.wake.announce(topics);
    return result;
  } catch (error) {
    throw asRefusal(error);
  }
}

/** Turns a violated constraint into the refusal that it means; everything else is returned as it is. */
export function asRefusal(error: unknown): unknown {
  if (!(error instanceof DrizzleQueryError) || !error.cause) return error;
  return refusalOf(error.cause as Violation, { cause: error }) ?? error; // the driver's own error
}
