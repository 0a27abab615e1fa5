import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { PGlite } from "@electric-sql/pglite";
import { type SQL, sql } from "drizzle-orm";
import { type PgAsyncDatabase, PgDialect } from "drizzle-orm/pg-core";
import { drizzle as drizzlePglite } from "drizzle-orm/pglite";
import { drizzle as drizzlePostgres, type PostgresJsQueryResultHKT } from "drizzle-orm/postgres-js";
import postgres from "postgres";
import { StartError } from "../errors.ts";
import { lockDirectory } from "../lib/lock.ts";
import { startLoop } from "../lib/loop.ts";
import { repair } from "../lib/program.ts";
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
  /**
   * Calls back with each payload that any process, including this one, sends on the channel `attune`, and with null when payloads may
   * have been missed because the connection was lost.
   */
  listen(callback: (payload: string | null) => void): Promise<void>;
  notify(payload: string): Promise<void>;
}

export interface DatabaseOptions {
  url: string | null;
  dataDir: string;
  maxConnections: number;
  /** PostgreSQL only: limits that differ from the usual ones. */
  limits?: Partial<ConnectionLimits>;
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

/** How long anything waits for PostgreSQL, in milliseconds. */
export interface ConnectionLimits {
  connect: number;
  /** The server cancels a statement after this time. */
  statement: number;
  /**
   * A connection that has sent nothing for this time, though a statement waits, is closed: the network or the server's machine is gone.
   * Longer than `statement`, because a server that works sends its refusal by then; and with a heartbeat's interval shorter than the
   * lease of a worker, whose heartbeat may wait for it.
   */
  response: number;
  /** A statement that found no free connection for this time is rejected. */
  queue: number;
  /** The server ends a session that leaves a transaction open for this time, and lets go of its locks. */
  idleInTransaction: number;
  /** The pause between two checks of the connection that listens. */
  listening: number;
}

/** What differs between the clients of a process. */
interface ClientOptions {
  max: number;
  /** The sessions' `application_name`. */
  name: string;
  /** Called with the channel and the payload of each NOTIFY; the connection is then kept. */
  onnotify?: (channel: string, payload: string) => void;
}

export const usualLimits: ConnectionLimits = {
  connect: 5000,
  statement: 10_000,
  response: 12_000,
  queue: 30_000,
  idleInTransaction: 15_000,
  listening: 10_000,
};
const dialect = new PgDialect();

/**
 * Opens PostgreSQL when `url` is set, else the embedded PGlite in `<dataDir>/pgdata` with the directory's lock. Throws StartError,
 * naming the cure, when the database cannot be reached, is too old, is a standby, or is in use by another process.
 */
export async function openDatabase(options: DatabaseOptions): Promise<Database> {
  return options.url ? await openPostgres(options, options.url) : await openPglite(options);
}

/**
 * Returns a client of PostgreSQL with these limits. Throws StartError when the driver lacks `patches/postgres+*.patch`: without it a
 * lost connection ends the process, and a silent one is waited for without end.
 */
export function connect(url: string, limits: ConnectionLimits, options: ClientOptions): postgres.Sql {
  const client = postgres(url, {
    max: options.max,
    ...(options.onnotify ? { onnotify: options.onnotify, max_lifetime: null } : {}),
    connect_timeout: limits.connect / 1000,
    response_timeout: limits.response / 1000,
    queue_timeout: limits.queue / 1000,
    keep_alive: 10,
    backoff: (failures: number) => (0.5 + Math.random() / 2) * Math.min(3 ** failures / 100, 2),
    onnotice: () => {},
    connection: {
      search_path: "attune, public",
      application_name: options.name,
      jit: "off",
      random_page_cost: randomPageCost,
      statement_timeout: limits.statement,
      idle_in_transaction_session_timeout: limits.idleInTransaction,
      // The server's side of a network that is gone: it ends the session, whose locks nobody else could release.
      tcp_keepalives_idle: 10,
      tcp_keepalives_interval: 5,
      tcp_keepalives_count: 4,
      tcp_user_timeout: 30_000,
    },
  });
  if ("response_timeout" in client.options) return client;
  throw new StartError(`The PostgreSQL driver lacks its patch: ${repair}.`);
}

async function openPostgres(options: DatabaseOptions, url: string): Promise<Database> {
  const limits = { ...usualLimits, ...options.limits };
  const client = connect(url, limits, { max: options.maxConnections, name: "attune" });
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
  const listening = new AsyncDisposableStack();
  return {
    kind: "postgres",
    db,
    url,
    pglite: null,
    listen: async (callback) => {
      listening.use(await listen(url, limits, callback));
    },
    notify: async (payload) => {
      await client.notify(channel, payload);
    },
    [Symbol.asyncDispose]: async () => {
      await listening.disposeAsync();
      await client.end({ timeout: 5 });
    },
  };
}

/**
 * Listens on a connection of its own. LISTEN is repeated, because a connection that only waits does not notice that the network is gone;
 * on a new connection it also tells the callback (null) that payloads may have been missed.
 */
async function listen(
  url: string,
  limits: ConnectionLimits,
  callback: (payload: string | null) => void,
): Promise<AsyncDisposable> {
  const client = connect(
    url,
    { ...limits, statement: limits.listening, response: limits.listening },
    { max: 1, name: "attune listener", onnotify: (_channel, payload) => callback(payload) },
  );
  let session: number | null = null;
  const check = async () => {
    const { state } = await client`listen ${client(channel)}`;
    const isNew = state.pid !== session;
    const isFirst = session === null;
    session = state.pid;
    if (isNew && !isFirst) callback(null);
    return limits.listening;
  };
  await check();
  const checks = startLoop({ pass: check, failed: () => {} }); // a lasting failure is reported by whatever else uses the database
  return {
    [Symbol.asyncDispose]: async () => {
      await client.end({ timeout: 0 });
      await checks[Symbol.asyncDispose]();
    },
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
  return sql`any (${idsOf(ids)})`;
}

/** SQL: the ids as an array. */
export function idsOf(ids: readonly string[]): SQL {
  return sql`${`{${ids.join(",")}}`}::text::bigint[]`;
}

/** Runs SQL text with `$1` parameters, for libraries with their own statements; prepared unless `prepared` is false. Returns its rows. */
export async function rowsOfText(db: Db, text: string, params: unknown[], { prepared = true } = {}): Promise<object[]> {
  return (await db._.session.prepareQuery({ sql: text, params }, "objects", prepared).execute()) as object[];
}

function logger({ onStatement }: Pick<DatabaseOptions, "onStatement">) {
  return onStatement ? { logQuery: (query: string, params: unknown[]) => onStatement(query, params) } : false;
}

/** Returns an error of the driver in a few words. */
export function reasonOf(cause: unknown): string {
  if (!(cause instanceof Error)) return String(cause);
  const code = "code" in cause ? String(cause.code) : "";
  return cause.message || code;
}

/** Returns the host, port and name of a database, which may be shown and logged. */
export function withoutPassword(url: string): string {
  try {
    const { host, pathname } = new URL(url);
    return `${host}${pathname}`;
  } catch {
    return "the given address";
  }
}
