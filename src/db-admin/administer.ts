import { existsSync, readFileSync } from "node:fs";
import { parseEnv } from "node:util";
import type { Administer, Administration } from "../cli/administration.ts";
import { readConfig } from "../config.ts";
import { type Database, reasonOf, withoutPassword } from "../db/client.ts";
import { startJobs } from "../db/jobs.ts";
import { migrate, readMigrations } from "../db/migrate.ts";
import { isPassing } from "../db/passing.ts";
import { StartError } from "../errors.ts";
import { readOwnVersion } from "../lib/program.ts";
import { createLog } from "../log.ts";
import { clean } from "./clean.ts";
import { createEmbedded, dropEmbedded } from "./embedded.ts";
import { createPostgres, dropPostgres } from "./postgres.ts";
import { readStatus } from "./status.ts";
import { codeOf, openRequired, patient, type Target } from "./target.ts";
import { verify } from "./verify.ts";

/** See `Administration`. Throws StartError when a setting is wrong. */
export const administer: Administer = async (env, settingsFile) => {
  const target = targetOf(env, settingsFile);
  const { url, place } = target;
  const using = <T>(work: (database: Database) => Promise<T>, limits = {}) =>
    explained(place, async () => {
      await using database = await openRequired(target, limits);
      return await work(database);
    });
  const administration: Administration = {
    place,
    create: () => explained(place, () => (url === null ? createEmbedded(target) : createPostgres(target, url))),
    migrate: () => using((database) => bringUp(database, target), patient),
    drop: (consent, options) =>
      explained(place, () =>
        url === null ? dropEmbedded(target, consent) : dropPostgres(target, { ...options, url, consent }),
      ),
    clean: (consent) => using(({ db }) => clean(db, place, consent), patient),
    verify: () =>
      using(async ({ db }) => {
        await readMigrations(db); // which refuses a newer database
        return await verify(db);
      }),
    status: () => using((database) => readStatus(database, place, readOwnVersion())),
  };
  return administration;
};

/** The settings are checked whole, as at the start of a server: a misspelt one would lead to another database. */
function targetOf(env: Readonly<Record<string, string | undefined>>, file: string | undefined): Target {
  const stored = file !== undefined && existsSync(file) ? parseEnv(readFileSync(file, "utf8")) : {};
  const config = readConfig({ ...stored, ...env }, false);
  const { databaseUrl: url, dataDir, fsync, reserve } = config;
  const log = createLog({ level: "error", format: "json" }, process.stderr);
  return { url, dataDir, fsync, reserve, log, place: url === null ? dataDir : withoutPassword(url) };
}

/** Migrates as the start of a server does, the tables of the job queue included. */
async function bringUp(database: Database, { log }: Target) {
  const { applied, pending } = await readMigrations(database.db);
  await migrate(database, async () => {
    await (await startJobs(database, log))[Symbol.asyncDispose]();
  });
  return { known: applied.length + pending.length, pending };
}

/** Turns what PostgreSQL refuses, and connections that are lost, into StartError. */
async function explained<T>(place: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof StartError || (!isPassing(error) && codeOf(error) === "")) throw error;
    const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
    const what = isPassing(error) ? "was lost" : "has refused this";
    throw new StartError(`The database at ${place} ${what}: ${reasonOf(cause)}.`, { cause: error });
  }
}
