import { writeCredentialFile } from "./access/credential-file.ts";
import { readKeyFile } from "./access/key-file.ts";
import { createOrigins } from "./access/origin.ts";
import { createSignInToken } from "./access/token.ts";
import { findCore, keepPacks, loadPacks, readLocalPacks } from "./catalog/packs.ts";
import type { Config } from "./config.ts";
import type { Services } from "./db/services.ts";
import { write } from "./db/tx.ts";
import { StartError } from "./errors.ts";
import { startMonitor } from "./http/monitor.ts";
import { armFault } from "./lib/fault.ts";
import { linkCommand, readOwnVersion } from "./lib/program.ts";
import { startWatchdog } from "./lib/watchdog.ts";
import { linkText } from "./link.ts";
import type { Log } from "./log.ts";
import { collectProcess } from "./metrics.ts";
import { startApi } from "./roles/api.ts";
import { startExecutor } from "./roles/executor.ts";
import { startSensor } from "./roles/sensor.ts";
import { startWorker } from "./roles/worker.ts";
import { packRules } from "./rule/check.ts";
import { createKeyring, type Keyring } from "./secrecy/keyring.ts";
import { openServices } from "./services.ts";

export interface Server extends AsyncDisposable {
  /** The text for the terminal: the URL and how to sign in. On a terminal it contains a credential. */
  greeting: string;
  /** Null without the role `api`. */
  url: string | null;
}

/** The embedded database works in the process's own thread. Its longest statements, of a migration, take much less. */
const stuck = {
  limitSeconds: 120,
  message:
    "attune: the process has done nothing else for 120 s, so the embedded database is stuck, as on a full disk: it ends. Check the disk, and start again.\n",
};

/**
 * Starts the configured roles in this process with one database. Throws StartError, naming the cure, for faults that the user can
 * correct; then nothing is left running. One that owns the process also collects Node.js's metrics, until the process ends.
 */
export async function startServer(config: Config, log: Log, { ownsProcess = false } = {}): Promise<Server> {
  armFault(config.testFault);
  await using starting = new AsyncDisposableStack();
  if (config.databaseUrl === null) starting.use(startWatchdog(stuck));
  const read = await readLocalPacks(config.packDirs);
  const services = starting.use(
    await openServices({
      url: config.databaseUrl,
      dataDir: config.dataDir,
      maxConnections: config.maxConnections,
      fsync: config.fsync,
      reserve: config.reserve,
      ...(config.logStatements ? { onStatement: (text: string) => log.info({ sql: text }, "statement") } : {}),
      log,
      openKeyring: () => openKeyring(config),
      artifactsDir: config.artifactsDir,
      retention: config.retention,
      scheduleSeconds: config.scheduleSeconds,
      maxGeneration: config.maxGeneration,
      tracing: config.traces && { ...config.traces, version: readOwnVersion() },
    }),
  );
  describeBuild(services);
  if (ownsProcess) collectProcess(services.metrics);
  const store = { directory: config.installDir, runAs: config.runAs, log };
  const packs = await keepPacks(read, store);
  const core = await findCore(services);
  const admin = await loadPacks(
    services,
    core.changed ? [core.changed, ...packs] : packs,
    packRules,
    config.adoptingPacks,
  );
  const { roles } = config;
  let isStarted = false;
  const api = roles.has("api")
    ? starting.use(
        await startApi(services, config, {
          ...{ admin, isStarted: () => isStarted },
          local: { store, directories: new Map(packs.map(({ pack, directory }) => [pack.ref, directory])) },
        }),
      )
    : null;
  const url = api?.url ?? null;
  if (roles.has("executor")) starting.use(startExecutor(services));
  const releases = new Map([core, ...packs].map(({ digest, path }) => [digest, path]));
  const host = { apiUrl: config.publicUrl ?? url ?? "", releases };
  if (roles.has("worker")) starting.use(await startWorker(services, config, host));
  if (roles.has("sensor")) starting.use(startSensor(services, config, host));
  const monitor = url === null ? await startOwnMonitor(services, config, () => isStarted) : null;
  if (monitor !== null) starting.use(monitor);
  const greeting = await greet(config, services, { admin, url, monitor: monitor?.url ?? null });
  isStarted = true;
  const started = starting.move();
  return { greeting, url, [Symbol.asyncDispose]: () => started.disposeAsync() };
}

/** Returns the keyring with the configured key or, for an embedded database, the one generated in the data directory. */
function openKeyring({ encryptionKey, previousKeys, databaseUrl, dataDir }: Config): Keyring {
  if (encryptionKey) return createKeyring(encryptionKey, previousKeys);
  if (databaseUrl) {
    throw new StartError(
      "Secrets need a key: set ATTUNE__SECURITY__ENCRYPTION_KEY (64 hexadecimal digits, for example from `openssl rand -hex 32`) or ATTUNE__SECURITY__ENCRYPTION_KEY_FILE.",
    );
  }
  return createKeyring(readKeyFile(dataDir), previousKeys);
}

function describeBuild({ metrics, kind }: Services): void {
  metrics.build.set({ version: readOwnVersion(), node_version: process.versions.node, database: kind }, 1);
}

/** Starts the server of a process without the API for its metrics and health, if it has a port. */
async function startOwnMonitor(services: Services, config: Config, isStarted: () => boolean) {
  const { host, metricsPort: port, metricsAllow: allow } = config;
  return port === null
    ? null
    : await startMonitor(services, { host, port, origins: createOrigins(config), allow, isStarted });
}

async function greet(
  { roles, databaseUrl, dataDir, enableAuth, isTerminal }: Config,
  services: Services,
  { admin, url, monitor }: { admin: string; url: string | null; monitor: string | null },
): Promise<string> {
  if (url === null) {
    const metrics = monitor === null ? "" : `Its metrics are at ${monitor}/metrics\n`;
    return `${metrics}attune runs as ${[...roles].join(", ")}.\n`;
  }
  if (databaseUrl === null) await writeCredentialFile(services, dataDir, { url, identity: admin });
  if (!enableAuth) {
    return `attune listens on ${url}\nAuthentication is off: everyone who reaches this address can do everything.\n`;
  }
  if (!isTerminal) return `attune listens on ${url}\n"${linkCommand}" prints a sign-in link.\n`;
  const token = await write(services, (tx) => createSignInToken(tx, admin));
  return `attune listens on ${url}\n${linkText(`${url}/sign-in#${token}`)}`;
}
