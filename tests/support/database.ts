import { randomUUID } from "node:crypto";
import { rmSync } from "node:fs";
import { join } from "node:path";
import postgres from "postgres";
import { inject } from "vitest";
import { createLog } from "../../src/log.ts";
import { createKeyring } from "../../src/secrecy/keyring.ts";
import { type OpenServices, openServices } from "../../src/services.ts";
import { copyDirectory, databaseUrl, type Holding } from "./template.ts";

/** The location of a test's copy of the migrated database. */
export interface Location {
  url: string | null;
  dataDir: string;
}

/** Returns whether this run is on PostgreSQL (else embedded). */
export const onPostgres = () => inject("serverUrl") !== null;

const cloned = new Set<string>();

/** Removes the directories of the databases that the current test file has cloned. */
export function removeClones(): void {
  for (const directory of cloned) rmSync(directory, { recursive: true, force: true });
  cloned.clear();
}

/** Creates a migrated database for the caller, removed after the file (PostgreSQL: after the run). */
export async function cloneDatabase(holding: Holding = "nothing"): Promise<Location> {
  const serverUrl = inject("serverUrl");
  const template = inject("templates")[holding];
  const name = randomUUID().slice(0, 8);
  const dataDir = join(inject("scratch"), name);
  cloned.add(dataDir);
  if (!serverUrl) {
    copyDirectory(template, dataDir);
    return { url: null, dataDir };
  }
  const database = `${template}_${name}`;
  const admin = postgres(serverUrl, { max: 1, onnotice: () => {} });
  await admin`create database ${admin(database)} template ${admin(template)}`;
  await admin.end();
  return { url: databaseUrl(serverUrl, database), dataDir };
}

export interface TestServices extends OpenServices {
  location: Location;
  /** The statements run so far. */
  statements: string[];
  /** The same statements, each with its parameters. */
  queries: { text: string; params: unknown[] }[];
}

/** Returns the statements except those with which the feed reads the log. */
export const withoutFeed = (statements: readonly string[]): string[] =>
  statements.filter((text) => !/attune\.notification_settled|order by n\.id limit 1000/.test(text));

/** Opens services over a new clone (or over `at`): no roles running, nothing loaded. */
export async function createServices(at?: Location): Promise<TestServices> {
  const location = at ?? (await cloneDatabase());
  const statements: string[] = [];
  const queries: TestServices["queries"] = [];
  const services = await openServices({
    ...location,
    maxConnections: 20,
    fsync: false,
    onStatement: (text, params) => {
      statements.push(text);
      queries.push({ text, params });
    },
    log: createLog({ level: "error", format: "json" }),
    openKeyring: () => createKeyring(Buffer.alloc(32, 0x42)), // the key of the servers that tests start
    artifactsDir: join(location.dataDir, "artifacts"),
    isMigrated: true,
  });
  return { ...services, location, statements, queries };
}
