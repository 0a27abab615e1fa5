import { existsSync } from "node:fs";
import { join } from "node:path";
import { type ConnectionLimits, type Database, openDatabase } from "../db/client.ts";
import { watchRoom } from "../db/room.ts";
import { StartError } from "../errors.ts";
import type { Log } from "../log.ts";

/** The database that the settings name. */
export interface Target {
  /** Null: the embedded one in `dataDir`. */
  url: string | null;
  dataDir: string;
  fsync: boolean;
  reserve: number;
  log: Log;
  /** Where it is, without a password. */
  place: string;
}

/** The files of the embedded database. */
export const filesOf = ({ dataDir }: Target) => join(dataDir, "pgdata");

/** Limits for work whose duration depends on how much there is. */
export const patient: Partial<ConnectionLimits> = { statement: 0, response: 0, idleInTransaction: 0 };

/** PostgreSQL's code for a database that does not exist. */
const noDatabase = "3D000";

/** Returns PostgreSQL's code of an error, or of its cause; empty if it has none. */
export function codeOf(error: unknown): string {
  if (!(error instanceof Error)) return "";
  if ("code" in error && /^[0-9A-Z]{5}$/.test(String(error.code))) return String(error.code);
  return codeOf(error.cause);
}

/** Opens the database with one connection; null when it does not exist. An embedded one is then locked for this process. */
export async function openExisting(target: Target, limits: Partial<ConnectionLimits> = {}): Promise<Database | null> {
  if (target.url === null) return existsSync(filesOf(target)) ? await openEmbedded(target) : null;
  try {
    return await openDatabase({ ...target, maxConnections: 1, limits });
  } catch (error) {
    if (codeOf(error) === noDatabase) return null;
    throw error;
  }
}

/** Opens the embedded database, and creates it if it is missing. */
export async function openEmbedded(target: Target): Promise<Database> {
  await using _room = await watchRoom(target.dataDir, target.reserve, target.log);
  return await openDatabase({ ...target, maxConnections: 1 });
}

/** Opens the database. Throws StartError when it does not exist. */
export async function openRequired(target: Target, limits: Partial<ConnectionLimits> = {}): Promise<Database> {
  const database = await openExisting(target, limits);
  if (database) return database;
  throw new StartError(`There is no database at ${target.place}: "attune db setup" creates it.`);
}
