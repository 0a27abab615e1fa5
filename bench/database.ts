import { randomUUID } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import postgres from "postgres";

/** An empty database for one benchmark, dropped when it is disposed of. */
export interface BenchDatabase extends AsyncDisposable {
  name: string;
  /** Null: embedded, under `dataDir`. */
  url: string | null;
  dataDir: string;
  fsync: boolean;
}

/** The PostgreSQL server on which benchmarks create databases. */
export const serverUrl = process.env["ATTUNE_BENCH_DATABASE_URL"] || "postgres://postgres@127.0.0.1:5432/postgres";

/** Returns why the server cannot be used; null when it can. */
export async function whyUnreachable(): Promise<string | null> {
  const admin = postgres(serverUrl, { max: 1, connect_timeout: 3, onnotice: () => {} });
  try {
    await admin`select 1`;
    return null;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  } finally {
    await admin.end({ timeout: 0 });
  }
}

/** Creates a database on the PostgreSQL server. */
export async function createPostgres(): Promise<BenchDatabase> {
  const name = `attune_bench_${randomUUID().slice(0, 8)}`;
  const admin = postgres(serverUrl, { max: 1, onnotice: () => {} });
  await admin`create database ${admin(name)}`;
  const url = new URL(serverUrl);
  url.pathname = `/${name}`;
  return {
    name: "PostgreSQL",
    url: url.href,
    dataDir: "",
    fsync: true,
    [Symbol.asyncDispose]: async () => {
      await admin`drop database ${admin(name)} with (force)`;
      await admin.end();
    },
  };
}

/** Creates a directory for an embedded database. */
export function createPglite(fsync: boolean): BenchDatabase {
  const dataDir = mkdtempSync(join(tmpdir(), "attune-bench-"));
  return {
    name: `PGlite, fsync ${fsync ? "on" : "off"}`,
    url: null,
    dataDir,
    fsync,
    [Symbol.asyncDispose]: async () => rmSync(dataDir, { recursive: true, force: true }),
  };
}
