import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { PGlite } from "@electric-sql/pglite";
import { type SQL, sql } from "drizzle-orm";
import { type PgAsyncDatabase, PgDialect } from "drizzle-orm/pg-core";
import { drizzle as drizzlePglite } from "drizzle-orm/pglite";
import { drizzle as drizzlePostgres, type PostgresJsQueryResultHKT } from "drizzle-orm/postgres-js";
import postgres from "postgres";
import { StartError } from "../errors.ts";
import { lockDirectory } from "./lock.ts";
import { preparedClient } from "./prepared.ts";
import { relations } from "./relations.ts";

/** The database or a transaction; the same type for both drivers. */
export type Db = PgAsyncDatabase<PostgresJsQueryResultHKT, typeof relations>;

/** An open database with its driver's own features. */
export interface Database extends AsyncDisposable {
  kind: "postgres" | "pglite";
  db: Db;
  /** Set on PostgreSQL; pg-boss opens its own small pool there. */
  url: string | null;
  /** Set on PGlite: the instance itself. */
  pglite: PGlite | null;
  /** Calls back with each payload that any process, including this one, sends on the channel `attune`. */
  listen(callback: (payload: string) => void): Promise<void>;
  notify(payload: string): Promise<void>;
}

export interface DatabaseOptions {
  url: string | null;
  dataDir: string;
  maxConnections: number;
  /** PostgreSQL only: the milliseconds after which the server cancels a statement; 60 s by default. */
  statementTimeoutMs?: number;
  /** PGlite only; on by default. */
  fsync?: boolean;
  /** Called with the text of every statement and its parameters, before it runs. */
  onStatement?: (sql: string, params: unknown[]) => void;
}

const channel = "attune";
/**
 * The value for SSDs. With the default, 4, a statement that is first planned for a small table keeps scanning the whole table while it
 * grows, until the table is analysed.
 */
const randomPageCost = 1.1;
/** Twice the time limit of a request, after which no client waits for the statement. */
const statementTimeoutMs = 60_000;
const dialect = new PgDialect();

/**
 * Opens PostgreSQL when `url` is set, else the embedded PGlite in `<dataDir>/pgdata` with the directory's lock. Throws StartError,
 * naming the cure, when the database cannot be reached, is too old, is a standby, or is in use by another process.
 */
export async function openDatabase(options: DatabaseOptions): Promise<Database> {
  return options.url ? await openPostgres(options, options.url) : await openPglite(options);
}

async function openPostgres(options: DatabaseOptions, url: string): Promise<Database> {
  const client = postgres(url, {
    max: options.maxConnections,
    connect_timeout: 5,
    onnotice: () => {},
    connection: {
      search_path: "attune, public",
      application_name: "attune",
      jit: "off",
      random_page_cost: randomPageCost,
      statement_timeout: options.statementTimeoutMs ?? statementTimeoutMs,
    },
  });
  try {
    const [server] = await client`
      select current_setting('server_version_num')::int as version, pg_is_in_recovery() as standby`;
    if (server?.["version"] < 150000) {
      throw new StartError(`PostgreSQL ${server?.["version"]} is too old: attune needs PostgreSQL 15 or newer.`);
    }
    if (server?.["standby"]) {
      throw new StartError(`The database at ${withoutPassword(url)} is a standby: attune needs the primary server.`);
    }
  } catch (cause) {
    await client.end({ timeout: 0 });
    if (cause instanceof StartError) throw cause;
    const reason = reasonOf(cause);
    throw new StartError(
      `The database at ${withoutPassword(url)} cannot be reached (${reason}): check ATTUNE__DATABASE__URL, or unset it to use the embedded one.`,
      { cause },
    );
  }
  const db = drizzlePostgres({ client, relations, logger: logger(options) });
  return {
    kind: "postgres",
    db,
    url,
    pglite: null,
    listen: async (callback) => {
      await client.listen(channel, callback);
    },
    notify: async (payload) => {
      await client.notify(channel, payload);
    },
    [Symbol.asyncDispose]: () => client.end({ timeout: 5 }),
  };
}

async function openPglite(options: DatabaseOptions): Promise<Database> {
  const lock = lockDirectory(options.dataDir);
  const dataDir = join(options.dataDir, "pgdata");
  try {
    mkdirSync(dataDir, { recursive: true, mode: 0o700 });
    // PostgreSQL's default, 128 MB, is zeroed at every start and stays resident; the operating system caches the files anyway.
    const settings = {
      shared_buffers: "32MB",
      random_page_cost: randomPageCost,
      fsync: options.fsync === false ? "off" : "on",
    };
    const pglite = await PGlite.create({
      dataDir,
      startParams: [
        ...PGlite.defaultStartParams,
        ...Object.entries(settings).flatMap(([name, value]) => ["-c", `${name}=${value}`]),
      ],
    });
    return pgliteDatabase(pglite, options, () => lock.release());
  } catch (error) {
    lock.release();
    throw error;
  }
}

/** Returns the database of a PGlite instance that the caller opened (tests load a dump); `released` is called after closing. */
export async function pgliteDatabase(
  pglite: PGlite,
  options: Pick<DatabaseOptions, "onStatement">,
  released: () => void = () => {},
): Promise<Database> {
  await pglite.exec("set search_path = attune, public");
  const client = preparedClient(pglite) as PGlite; // the methods that drizzle calls
  const db = drizzlePglite({ client, relations, logger: logger(options) });
  return {
    kind: "pglite",
    db: db as unknown as Db, // the same class; only the result type of raw `execute` differs, which is never used
    url: null,
    pglite,
    listen: async (callback) => {
      await pglite.listen(channel, callback);
    },
    notify: async () => {}, // one process: its own announcement is enough
    [Symbol.asyncDispose]: async () => {
      await pglite.close();
      released();
    },
  };
}

/**
 * Runs hand-written SQL as a prepared statement and returns its rows as plain objects. The drivers parse bigint and timestamps
 * differently, so such statements cast ids to text, and pass lists as JSON text.
 */
export async function rows<T extends object>(db: Db, query: SQL): Promise<T[]> {
  const prepared = db._.session.prepareQuery(dialect.sqlToQuery(query), "objects", true);
  return (await prepared.execute()) as T[]; // the statement's own column list is the type; callers write it beside the SQL
}

/** SQL: `any (…)` of these ids (decimal text). They are one array, so that one plan with the index serves lists of any length. */
export function anyOf(ids: readonly string[]): SQL {
  return sql`any (${`{${ids.join(",")}}`}::text::bigint[])`;
}

/** Runs SQL text with `$1` parameters as a prepared statement, for libraries with their own statements. Returns its rows. */
export async function rowsOfText(db: Db, text: string, params: unknown[]): Promise<object[]> {
  return (await db._.session.prepareQuery({ sql: text, params }, "objects", true).execute()) as object[];
}

function logger({ onStatement }: Pick<DatabaseOptions, "onStatement">) {
  return onStatement ? { logQuery: (query: string, params: unknown[]) => onStatement(query, params) } : false;
}

function reasonOf(cause: unknown): string {
  if (!(cause instanceof Error)) return String(cause);
  const code = "code" in cause ? String(cause.code) : "";
  return cause.message || code;
}

function withoutPassword(url: string): string {
  try {
    const { host, pathname } = new URL(url);
    return `${host}${pathname}`;
  } catch {
    return "the given address";
  }
}
