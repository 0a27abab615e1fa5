import { cpSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import postgres from "postgres";
import type { TestProject } from "vitest/node";
import { openDatabase } from "../../src/db/client.ts";
import { eventQueue, type Jobs, startJobs } from "../../src/db/jobs.ts";
import { migrate } from "../../src/db/migrate.ts";

declare module "vitest" {
  export interface ProvidedContext {
    /** The PostgreSQL server to clone databases on; null: embedded. */
    serverUrl: string | null;
    /** Embedded: the directory of a migrated database. PostgreSQL: the name of the template database. */
    template: string;
    scratch: string;
  }
}

/** Migrates one database, which the tests clone. */
export async function setup(project: TestProject): Promise<() => Promise<void>> {
  const serverUrl = process.env["ATTUNE_TEST_DATABASE_URL"] ?? null;
  const scratch = mkdtempSync(join(tmpdir(), "attune-test-"));
  const name = `attune_test_${process.pid}`;
  const admin = serverUrl ? postgres(serverUrl, { max: 1, onnotice: () => {} }) : null;
  const dataDir = join(scratch, "template");
  let url: string | null = null;
  if (admin && serverUrl) {
    await admin`create database ${admin(name)}`;
    url = databaseUrl(serverUrl, name);
  }
  const database = await openDatabase({ url, dataDir, maxConnections: 2, fsync: false });
  let jobs: Jobs | null = null;
  await migrate(database, async () => {
    jobs = await startJobs(database, pino({ level: "warn" }));
    await jobs.open(eventQueue);
  });
  await (jobs as Jobs | null)?.stop();
  await database.close();
  project.provide("serverUrl", serverUrl);
  project.provide("template", url ? name : dataDir);
  project.provide("scratch", scratch);
  return async () => {
    rmSync(scratch, { recursive: true, force: true });
    if (!admin) return;
    const left = await admin`select datname from pg_database where datname like ${`${name}%`}`;
    for (const { datname } of left) await admin`drop database ${admin(datname)} with (force)`;
    await admin.end();
  };
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
