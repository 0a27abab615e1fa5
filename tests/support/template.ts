import { cpSync, mkdtempSync, rmSync, statfsSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { setFlagsFromString } from "node:v8";
import { sql } from "drizzle-orm";
import postgres from "postgres";
import type { TestProject } from "vitest/node";
import { ensureAdmin } from "../../src/access/token.ts";
import { ensureDefaultPack, loadPack } from "../../src/catalog/load.ts";
import { readPack } from "../../src/catalog/read.ts";
import { type Database, openDatabase, rows } from "../../src/db/client.ts";
import { eventQueue, type Jobs, runtimeQueue, startJobs } from "../../src/db/jobs.ts";
import { migrate } from "../../src/db/migrate.ts";
import type { Services } from "../../src/db/services.ts";
import { write } from "../../src/db/tx.ts";
import { createWake } from "../../src/db/wake.ts";
import { createLog } from "../../src/log.ts";
import { syncTimer } from "../../src/rule/timer.ts";
import { createKeyring } from "../../src/secrecy/keyring.ts";

declare module "vitest" {
  export interface ProvidedContext {
    /** The PostgreSQL server to clone databases on; null: embedded. */
    serverUrl: string | null;
    /** Embedded: directories of databases. PostgreSQL: names of template databases. */
    templates: Record<Holding, string>;
    scratch: string;
  }
}

/** What a new clone has: its tables only, or also what a server's first start puts there. */
export type Holding = "nothing" | "core";

const corePack = fileURLToPath(new URL("../../packs/core", import.meta.url));

/** Makes the databases that the tests clone: one that is only migrated, and one with the core pack and what else a start makes. */
export async function setup(project: TestProject): Promise<() => Promise<void>> {
  setFlagsFromString("--liftoff-only"); // as the tests' own processes: see vitest.config.ts
  const serverUrl = process.env["ATTUNE_TEST_DATABASE_URL"] ?? null;
  const scratch = mkdtempSync(join(scratchRoot(), "attune-test-"));
  const name = `attune_test_${process.pid}`;
  const admin = serverUrl ? postgres(serverUrl, { max: 1, onnotice: () => {} }) : null;
  const nameOf = (holding: Holding) => (admin ? `${name}_${holding}` : join(scratch, holding));
  const open = (holding: Holding) =>
    openDatabase({
      url: serverUrl && databaseUrl(serverUrl, nameOf(holding)),
      dataDir: nameOf(holding),
      maxConnections: 2,
      fsync: false,
    });
  if (admin) await admin`create database ${admin(nameOf("nothing"))}`;
  await fill(await open("nothing"), async () => {});
  if (admin) await admin`create database ${admin(nameOf("core"))} template ${admin(nameOf("nothing"))}`;
  else copyDirectory(nameOf("nothing"), nameOf("core"));
  await fill(await open("core"), loadCore);
  project.provide("serverUrl", serverUrl);
  project.provide("templates", { nothing: nameOf("nothing"), core: nameOf("core") });
  project.provide("scratch", scratch);
  return async () => {
    rmSync(scratch, { recursive: true, force: true });
    if (!admin) return;
    const left = await admin`select datname from pg_database where datname like ${`${name}%`}`;
    for (const { datname } of left) await admin`drop database ${admin(datname)} with (force)`;
    await admin.end();
  };
}

/** Migrates the database, fills and closes it. */
async function fill(database: Database, load: (services: Services) => Promise<void>): Promise<void> {
  const log = createLog({ level: "warn", format: "json" });
  const started = Promise.withResolvers<Jobs>();
  await migrate(database, async () => started.resolve(await startJobs(database, log)));
  const jobs = await started.promise;
  await jobs.open(eventQueue);
  const wake = await createWake(database, log);
  await load({
    kind: database.kind,
    db: database.db,
    jobs,
    wake,
    log,
    keyring: createKeyring(Buffer.alloc(32, 0x42)),
    artifactsDir: "",
  });
  await wake.close();
  await jobs.stop();
  await database.close();
}

async function loadCore(services: Services): Promise<void> {
  await loadPack(services, await readPack(corePack), syncTimer);
  await write(services, async (tx) => {
    await ensureDefaultPack(tx);
    await ensureAdmin(tx);
  });
  const runtimes = await rows<{ ref: string }>(services.db, sql`select ref from attune.runtime`);
  for (const { ref } of runtimes) await services.jobs.open(runtimeQueue(ref));
}

/** Memory, where there is plenty: an embedded database has over a thousand files, and disks take up to a second to copy them. */
function scratchRoot(): string {
  const memory = "/dev/shm";
  try {
    const { bavail, bsize } = statfsSync(memory);
    if (bavail * bsize > 4 * 1024 ** 3) return memory;
  } catch {} // not on every system
  return tmpdir();
}

/** The same server, another database. */
export function databaseUrl(serverUrl: string, name: string): string {
  const url = new URL(serverUrl);
  url.pathname = `/${name}`;
  return url.href;
}

/** Copies a closed embedded database. */
export function copyDirectory(from: string, to: string): void {
  cpSync(from, to, { recursive: true });
}
