import { randomBytes } from "node:crypto";
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { sql } from "drizzle-orm";
import { createAttempts } from "./access/attempts.ts";
import { credentialOf } from "./access/cookie.ts";
import { createOrigins } from "./access/origin.ts";
import { requireKeyring } from "./access/rotate.ts";
import { openSession, type Session } from "./access/session.ts";
import { createSessions, findSession, type Sessions } from "./access/sessions.ts";
import { createSignInToken, ensureAdmin, issueApiToken } from "./access/token.ts";
import { ensureDefaultPack, loadPack } from "./catalog/load.ts";
import { type CheckedPack, readPack } from "./catalog/read.ts";
import type { Config } from "./config.ts";
import { type Database, openDatabase, rows } from "./db/client.ts";
import { eventQueue, type Jobs, runtimeQueue, startJobs } from "./db/jobs.ts";
import { migrate } from "./db/migrate.ts";
import type { Services } from "./db/services.ts";
import { write } from "./db/tx.ts";
import { createWake } from "./db/wake.ts";
import { InvalidInputError, StartError } from "./errors.ts";
import { startExecutor } from "./executor/run.ts";
import type { Credentials } from "./graphql/transport/credentials.ts";
import { createGraphQL } from "./graphql/transport/server.ts";
import { attachSockets } from "./graphql/transport/sockets.ts";
import { type Api, startApi } from "./http/api.ts";
import { armFault } from "./lib/fault.ts";
import type { Log } from "./log.ts";
import { createFeed, type Feed } from "./notifier/feed.ts";
import type { ChangeFilter } from "./notifier/page.ts";
import { syncTimer } from "./rule/timer.ts";
import { createKeyring, type Keyring } from "./secrecy/keyring.ts";
import { startTimers } from "./sensor/timer.ts";
import { findRuntimes } from "./worker/registry.ts";
import { startWorker } from "./worker/run.ts";

const corePack = fileURLToPath(new URL("../packs/core", import.meta.url));
const sweepMs = 15_000;

export interface Server {
  /** What to print on the terminal: where it listens and the way in. Never to be logged: it holds a credential. */
  greeting: string;
  /** Null without the role `api`. */
  url: string | null;
  close(): Promise<void>;
}

/** Parts to stop, in the reverse order of their start. */
type Stop = () => Promise<void>;

/**
 * Starts the process with the roles that the configuration names, over one database. Throws StartError, naming the cure, for
 * whatever its user can mend; then nothing is left running.
 */
export async function startServer(config: Config, log: Log): Promise<Server> {
  const stops: Stop[] = [];
  const close = async () => {
    for (const stop of stops.splice(0).reverse()) {
      await stop().catch((error: unknown) => log.error({ err: error }, "stopping"));
    }
  };
  try {
    return { ...(await start(config, log, stops)), close };
  } catch (error) {
    await close();
    throw error;
  }
}

async function start(config: Config, log: Log, stops: Stop[]): Promise<Omit<Server, "close">> {
  armFault(config.testFault);
  const sources = await readPacks(config);
  const database = await openDatabase({
    url: config.databaseUrl,
    dataDir: config.dataDir,
    maxConnections: config.maxConnections,
    fsync: config.fsync,
    ...(config.logStatements ? { onStatement: (text: string) => log.info({ sql: text }, "statement") } : {}),
  });
  stops.push(() => database.close());
  const services = await startServices(config, database, log, stops);
  const admin = await loadAll(services, sources);
  await openQueues(services);

  let api: Api | null = null;
  if (config.roles.has("api")) {
    const feed = await createFeed(services);
    stops.push(() => feed.close());
    const sessions = createSessions(services.db, log);
    stops.push(() => sessions.close(), followAccess(feed, sessions, log));
    const origins = createOrigins(config);
    const attempts = createAttempts();
    const graphql = createGraphQL({
      services,
      feed,
      sessions,
      authenticate: authenticator(config, sessions, admin),
      attempts,
      origins,
      introspection: config.introspection,
    });
    api = await startApi({
      services,
      host: config.host,
      port: config.port,
      origins,
      attempts,
      graphql: (request, response, context) => graphql(request, response, context),
      attachSockets: (server) =>
        attachSockets(server, { yoga: graphql, origins, log, hideSuggestions: !config.introspection }),
    });
    stops.push(api.close);
  }
  if (config.roles.has("executor")) stops.push(startExecutor(services, sweepMs).stop);
  if (config.roles.has("worker")) {
    const worker = await startWorker(services, {
      runtimes: await findRuntimes(services, config.actionBase["PATH"] ?? "/usr/local/bin:/usr/bin:/bin"),
      slots: config.workerSlots,
      stopMs: config.workerStopMs,
      surroundings: {
        base: config.actionBase,
        apiUrl: api?.url ?? "",
        releases: new Map(sources.map(({ digest, path }) => [digest, path])),
      },
    });
    stops.push(worker.stop);
  }
  if (config.roles.has("sensor")) stops.push(startTimers(services).stop);
  return { url: api?.url ?? null, greeting: await greet(config, services, { admin, url: api?.url ?? null }) };
}

/** Whatever changes what somebody may do is felt by every open session, in every process. Answers the way to stop. */
function followAccess(feed: Feed, sessions: Sessions, log: Log): () => Promise<void> {
  const stopping = new AbortController();
  const filter: ChangeFilter = { channel: "access", entityId: null, matches: () => true };
  const following = (async () => {
    while (!stopping.signal.aborted) {
      try {
        for await (const _change of feed.follow(filter, null, stopping.signal)) sessions.refresh();
      } catch (error) {
        log.warn({ err: error }, "following the changes of access began anew");
        sessions.refresh();
      }
    }
  })();
  return async () => {
    stopping.abort();
    await following;
  };
}

async function readPacks(config: Config): Promise<CheckedPack[]> {
  const sources: CheckedPack[] = [];
  for (const directory of [corePack, ...config.packDirs]) {
    try {
      sources.push(await readPack(directory));
    } catch (cause) {
      if (!(cause instanceof InvalidInputError)) throw cause;
      const faults = cause.issues.map(({ path, message }) => `  ${path && `${path}: `}${message}`).join("\n");
      throw new StartError(`The pack in ${directory} cannot be loaded; mend these and start again:\n${faults}`, {
        cause,
      });
    }
  }
  return sources;
}

async function startServices(config: Config, database: Database, log: Log, stops: Stop[]): Promise<Services> {
  const keyring = openKeyring(config);
  const started = Promise.withResolvers<Jobs>();
  await migrate(database, async () => {
    const jobs = await startJobs(database, log);
    stops.push(() => jobs.stop());
    started.resolve(jobs);
  });
  await requireKeyring(database.db, keyring);
  const jobs = await started.promise;
  const wake = await createWake(database, log);
  stops.push(() => wake.close());
  return { kind: database.kind, db: database.db, jobs, wake, log, keyring, artifactsDir: config.artifactsDir };
}

/** The key of all secrets: as configured, or, embedded, generated into the data directory (mode 0600). */
function openKeyring(config: Config): Keyring {
  if (config.encryptionKey) return createKeyring(config.encryptionKey, config.previousKeys);
  if (config.databaseUrl) {
    throw new StartError(
      "Secrets need a key: set ATTUNE__SECURITY__ENCRYPTION_KEY (64 hexadecimal digits, for example of `openssl rand -hex 32`) or ATTUNE__SECURITY__ENCRYPTION_KEY_FILE.",
    );
  }
  const file = join(config.dataDir, "encryption.key");
  if (!existsSync(file)) writeFileSync(file, `${randomBytes(32).toString("hex")}\n`, { mode: 0o600 });
  chmodSync(file, 0o600);
  const digits = readFileSync(file, "utf8").trim();
  if (!/^[0-9a-fA-F]{64}$/.test(digits)) {
    throw new StartError(
      `${file} does not hold 64 hexadecimal digits: put back the file that the secrets were stored with, or delete it and store them again.`,
    );
  }
  return createKeyring(Buffer.from(digits, "hex"), config.previousKeys);
}

async function loadAll(services: Services, sources: readonly CheckedPack[]): Promise<string> {
  for (const source of sources) {
    try {
      await loadPack(services, source, syncTimer);
    } catch (cause) {
      if (!(cause instanceof InvalidInputError)) throw cause;
      throw new StartError(`The pack ${source.pack.ref} cannot be loaded: ${cause.message}`, { cause });
    }
  }
  return await write(services, async (tx) => {
    await ensureDefaultPack(tx);
    return await ensureAdmin(tx);
  });
}

/** Every queue is made known before the first transaction that uses it. */
async function openQueues({ db, jobs }: Services): Promise<void> {
  await jobs.open(eventQueue);
  const runtimes = await rows<{ ref: string }>(db, sql`select ref from attune.runtime where runtime_type = 'action'`);
  for (const { ref } of runtimes) await jobs.open(runtimeQueue(ref));
}

function authenticator(config: Config, sessions: Sessions, admin: string) {
  const everyone = openSession(admin);
  return async (credentials: Credentials): Promise<Session | null> => {
    if (!config.enableAuth) return credentials.local ? everyone : null;
    const credential = credentialOf(credentials);
    return credential === null ? null : await sessions.find(credential);
  };
}

async function greet(config: Config, services: Services, at: { admin: string; url: string | null }): Promise<string> {
  const { admin, url } = at;
  if (url === null) return `attune runs as ${[...config.roles].join(", ")}.\n`;
  if (config.databaseUrl === null) await writeCredentials(config, services, { admin, url });
  if (!config.enableAuth)
    return `attune listens on ${url}\nAuthentication is off: whoever reaches this address may do everything.\n`;
  const token = await write(services, (tx) => createSignInToken(tx, admin));
  return `attune listens on ${url}\nSign in (once, within 15 minutes): ${url}/sign-in#${token}\n`;
}

/** The local CLI's way in: an API token made once and used while it is valid. */
async function writeCredentials(config: Config, services: Services, at: { admin: string; url: string }): Promise<void> {
  const file = join(config.dataDir, "credentials.json");
  mkdirSync(config.dataDir, { recursive: true });
  const kept = readCredentials(file);
  const valid = kept !== null && (await findSession(services.db, kept)) !== null;
  const token = valid ? kept : await write(services, (tx) => issueApiToken(tx, at.admin, "local cli"));
  writeFileSync(file, `${JSON.stringify({ url: at.url, token })}\n`, { mode: 0o600 });
  chmodSync(file, 0o600);
}

function readCredentials(file: string): string | null {
  try {
    const { token } = JSON.parse(readFileSync(file, "utf8")) as { token?: unknown };
    return typeof token === "string" ? token : null;
  } catch {
    return null; // missing or damaged: a new one is made
  }
}
