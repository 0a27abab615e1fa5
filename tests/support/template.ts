import { cpSync, mkdtempSync, rmSync, statfsSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setFlagsFromString } from "node:v8";
import postgres from "postgres";
import type { TestProject } from "vitest/node";
import { loadPacks, readPacks } from "../../src/catalog/packs.ts";
import { createLog } from "../../src/log.ts";
import { packRules } from "../../src/rule/check.ts";
import { createKeyring } from "../../src/secrecy/keyring.ts";
import { type OpenServices, openServices } from "../../src/services.ts";
import { buildProgram } from "./program.ts";

declare module "vitest" {
  export interface ProvidedContext {
    /** The PostgreSQL server to clone databases on; null: embedded. */
    serverUrl: string | null;
    /** Embedded: directories of databases. PostgreSQL: names of template databases. */
    templates: Record<Holding, string>;
    scratch: string;
    /** The built program's `attune.js`. */
    program: string;
  }
}

/** The content of a new clone: only tables, or also what a server's first start creates. */
export type Holding = "nothing" | "core";

/** Creates the databases that the tests clone: one that is only migrated, and one after a server's first start. */
export async function setup(project: TestProject): Promise<() => Promise<void>> {
  setFlagsFromString("--liftoff-only"); // as in the tests' processes: see vitest.config.ts
  const building = buildProgram(); // by threads of its own
  const serverUrl = process.env["ATTUNE_TEST_DATABASE_URL"] ?? null;
  const scratch = mkdtempSync(join(scratchRoot(), "attune-test-"));
  const name = `attune_test_${process.pid}`;
  const admin = serverUrl ? postgres(serverUrl, { max: 1, onnotice: () => {} }) : null;
  const nameOf = (holding: Holding) => (admin ? `${name}_${holding}` : join(scratch, holding));
  const open = (holding: Holding) =>
    openServices({
      url: serverUrl && databaseUrl(serverUrl, nameOf(holding)),
      dataDir: nameOf(holding),
      maxConnections: 2,
      fsync: false,
      log: createLog({ level: "warn", format: "json" }),
      openKeyring: () => createKeyring(Buffer.alloc(32, 0x42)),
      artifactsDir: null,
    });
  if (admin) await admin`create database ${admin(nameOf("nothing"))}`;
  await (await open("nothing"))[Symbol.asyncDispose]();
  if (admin) await admin`create database ${admin(nameOf("core"))} template ${admin(nameOf("nothing"))}`;
  else copyDirectory(nameOf("nothing"), nameOf("core"));
  await loadCore(await open("core"));
  project.provide("program", await building);
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

/** Loads the core pack as a server's first start does, and closes the services. */
async function loadCore(services: OpenServices): Promise<void> {
  await loadPacks(services, await readPacks([]), packRules);
  await services[Symbol.asyncDispose]();
}

/** Returns a directory in memory if 4 GiB are free: an embedded database has over a thousand files, and copying them on disk takes up to a second. */
function scratchRoot(): string {
  const memory = "/dev/shm";
  try {
    const { bavail, bsize } = statfsSync(memory);
    if (bavail * bsize > 4 * 1024 ** 3) return memory;
  } catch {} // not on every system
  return tmpdir();
}

/** Returns the URL of another database on the same server. */
export function databaseUrl(serverUrl: string, name: string): string {
  const url = new URL(serverUrl);
  url.pathname = `/${name}`;
  return url.href;
}

/** Copies a closed embedded database. */
export function copyDirectory(from: string, to: string): void {
  cpSync(from, to, { recursive: true });
}
