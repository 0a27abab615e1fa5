import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { z } from "zod";
import { StartError } from "./errors.ts";
import { actionVariables, buildVariables, engineVariables } from "./lib/action-variables.ts";
import { didYouMean } from "./lib/nearest.ts";
import { type RetentionDays, retentionDefaults, retentionSetting, retentionSettings } from "./lib/retention.ts";
import {
  databaseUrl,
  flag,
  hostNames,
  labels,
  list,
  networks,
  origins,
  packRefs,
  packSources,
  reachable,
  readTraces,
  runtimeSlots,
  userNumbers,
  variableNames,
  whole,
} from "./lib/setting.ts";
import { explain } from "./lib/wording.ts";

const roles = ["api", "executor", "worker", "sensor"] as const;
export type Role = (typeof roles)[number];

/** The schema of every setting by its variable. A test compares it with the README's table. */
export const settings = {
  ATTUNE__SERVER__HOST: z.string().min(1).default("127.0.0.1"),
  ATTUNE__SERVER__PORT: whole(0, 65_535).default(8080),
  ATTUNE__SERVER__HOSTS: hostNames.default([]),
  ATTUNE__SERVER__CORS_ORIGINS: origins.default([]),
  ATTUNE__SERVER__TRUSTED_PROXIES: networks.default([]),
  ATTUNE__SERVER__PUBLIC_URL: z
    .string()
    .refine((text) => /^https?:/.test(text) && URL.canParse(text) && new URL(text).origin === text, {
      message: "must be an origin such as https://attune.example.org, without a path",
    })
    .optional(),
  ATTUNE__GRAPHQL__INTROSPECTION: flag.default(true),
  ATTUNE__DATABASE__URL: databaseUrl.optional(),
  ATTUNE__DATABASE__MAX_CONNECTIONS: whole(2, 500).default(10),
  ATTUNE__DATABASE__FSYNC: flag.default(true),
  ATTUNE__DATABASE__RESERVE_MB: whole(1, 1_000_000).default(256),
  ATTUNE__DATABASE__LOG_STATEMENTS: flag.default(false),
  ATTUNE__DATA_DIR: z.string().min(1).default(".attune"),
  ATTUNE__ROLES: list.pipe(z.array(z.enum(roles)).min(1)).default([...roles]),
  ATTUNE__LOG__LEVEL: z.enum(["fatal", "error", "warn", "info", "debug", "trace"]).default("info"),
  ATTUNE__LOG__FORMAT: z.enum(["pretty", "json"]).optional(),
  ATTUNE__METRICS__PORT: whole(0, 65_535).optional(),
  ATTUNE__METRICS__ALLOW: networks.default(["127.0.0.0/8", "::1"]),
  ATTUNE__PACKS__DIRS: list.default([]),
  ATTUNE__PACKS__ADOPT: packRefs.default([]),
  ATTUNE__PACKS__INSTALL_DIR: z.string().min(1).optional(),
  ATTUNE__PACKS__SOURCES: packSources.default([]),
  ATTUNE__PACKS__INDEXES: list.pipe(z.array(z.url())).default([]),
  ATTUNE__PACKS__INDEX_SECONDS: whole(0, 604_800).default(300),
  ATTUNE__ARTIFACTS__DIR: z.string().min(1).optional(),
  ATTUNE__WORKER__ENVIRONMENTS_DIR: z.string().min(1).optional(),
  ATTUNE__EXECUTOR__SCHEDULE_TIMEOUT_SECONDS: whole(1, 2_592_000).default(300),
  ATTUNE__EXECUTOR__MAX_GENERATION: whole(1, 10_000).default(32),
  ATTUNE__WORKER__SLOTS: whole(1, 1000).default(10),
  ATTUNE__WORKER__RUNTIME_SLOTS: runtimeSlots.optional(),
  ATTUNE__WORKER__LABELS: labels.optional(),
  ATTUNE__WORKER__STOP_SECONDS: whole(0, 3600).default(30),
  ATTUNE__WORKER__WARM: flag.default(false),
  ATTUNE__WORKER__HTTP_ALLOW: reachable.default([]),
  ATTUNE__WORKER__PASS_ENV: variableNames.default([]),
  ATTUNE__WORKER__RUN_AS: userNumbers.optional(),
  ATTUNE__SENSOR__LEASE_SECONDS: whole(2, 300).default(20),
  ATTUNE__SECURITY__ENABLE_AUTH: flag.default(true),
  ATTUNE__SECURITY__ENCRYPTION_KEY: z
    .string()
    .regex(/^[0-9a-fA-F]{64}$/, "must be 64 hexadecimal digits")
    .optional(),
  ATTUNE__SECURITY__ENCRYPTION_KEY_FILE: z.string().min(1).optional(),
  ATTUNE__SECURITY__PREVIOUS_ENCRYPTION_KEYS: list
    .pipe(z.array(z.string().regex(/^[0-9a-fA-F]{64}$/, "must be keys of 64 hexadecimal digits, separated by commas")))
    .default([]),
  ...retentionSettings,
  ATTUNE__TEST__FAULT: z.string().min(1).optional(),
} as const;

export interface Config {
  host: string;
  port: number;
  /** The host names that requests may use, besides the loopback names. */
  hosts: string[];
  /** The origins of other pages that may use the API with their visitor's session. */
  corsOrigins: string[];
  /** Addresses and networks of proxies whose `X-Forwarded-For` is believed. */
  trustedProxies: string[];
  /** Where clients, and actions of workers on other hosts, reach the API; null: at the address that it listens on. */
  publicUrl: string | null;
  /** Whether the schema can be introspected. */
  introspection: boolean;
  databaseUrl: string | null;
  maxConnections: number;
  fsync: boolean;
  /** Bytes of the embedded database's disk that are kept free of new work. */
  reserve: number;
  logStatements: boolean;
  dataDir: string;
  roles: ReadonlySet<Role>;
  /** Whether the output is a terminal: then a start prints a sign-in link. Elsewhere outputs are kept, and read by others. */
  isTerminal: boolean;
  log: { level: string; format: "pretty" | "json" };
  /** The port on which a process without the role `api` has its metrics and health; null: none. */
  metricsPort: number | null;
  /** Addresses and networks that may read the metrics without a token. */
  metricsAllow: string[];
  packDirs: string[];
  /** The refs of packs whose files replace what was created by hand. */
  adoptingPacks: string[];
  /** The directory of installed packs. */
  installDir: string;
  /** The hosts and origins that packs may be installed from; empty: all public hosts. */
  packSources: string[];
  /** The addresses of indexes of packs, in their order. */
  packIndexes: string[];
  /** For how long an index is searched without asking whether it has changed. */
  indexAgeMs: number;
  /** Null on PostgreSQL, unless a directory that all processes share is configured. */
  artifactsDir: string | null;
  /** The directory of the environments that this host builds for packs. */
  environmentsDir: string;
  /** After how many seconds an execution fails that no worker can take. */
  scheduleSeconds: number;
  /** How many events may follow one from another before a loop is stopped. */
  maxGeneration: number;
  workerSlots: number;
  /** How many actions of a runtime may run at once, by its ref, where that is fewer than the slots. */
  runtimeSlots: ReadonlyMap<string, number>;
  /** What the worker has besides its runtimes, by name. */
  labels: Readonly<Record<string, string>>;
  workerStopMs: number;
  /** How long a process has a sensor to itself without renewing that. */
  sensorLeaseMs: number;
  /** Whether workers keep interpreters for later actions. */
  warm: boolean;
  /** Host names, addresses and networks that `core.http_request` may reach besides public addresses. */
  httpAllow: string[];
  enableAuth: boolean;
  /** Null: an embedded database generates one; with PostgreSQL the start is refused. */
  encryptionKey: Uint8Array | null;
  /** Older keys, which only decrypt. */
  previousKeys: Uint8Array[];
  retention: RetentionDays;
  testFault: string | null;
  /** Where spans are exported to by OTLP over HTTP; null: nowhere. */
  traces: { url: string; service: string } | null;
  /** The variables of the environment that actions get. */
  actionBase: Record<string, string>;
  /** The further variables that builds of environments get. */
  buildBase: Record<string, string>;
  /** The variables of the engine of containers. */
  engineBase: Record<string, string>;
  /** The user and group that processes of actions run as; null: those of the server. */
  runAs: { uid: number; gid: number } | null;
}

/** Variables that are removed from the environment after they have been read. */
const secrets = [
  "ATTUNE__SECURITY__ENCRYPTION_KEY",
  "ATTUNE__SECURITY__PREVIOUS_ENCRYPTION_KEYS",
  "ATTUNE__DATABASE__URL",
  "DATABASE_URL",
];
const loopback = new Set(["127.0.0.1", "localhost", "::1"]);

/**
 * Reads the settings from the environment and removes the secrets from it. Throws StartError, naming the variable, its fault and the
 * cure.
 */
export function readConfig(env: NodeJS.ProcessEnv, terminal: boolean): Config {
  const known = Object.keys(settings);
  const unknown = Object.keys(env).find((name) => name.startsWith("ATTUNE__") && !known.includes(name));
  if (unknown)
    throw new StartError(`There is no setting ${unknown}${didYouMean(unknown, known)}; the README lists them all.`);
  // An empty variable counts as unset, because compose files and shells write unset ones like that.
  const given = Object.fromEntries(known.flatMap((name) => (env[name] ? [[name, env[name]]] : [])));
  const { DATABASE_URL, ...values } = checked(z.object({ ...settings, DATABASE_URL: databaseUrl.optional() }), {
    ...given,
    ...(env["DATABASE_URL"] ? { DATABASE_URL: env["DATABASE_URL"] } : {}),
  });
  const host = values.ATTUNE__SERVER__HOST;
  if (!values.ATTUNE__SECURITY__ENABLE_AUTH && !loopback.has(host)) {
    throw new StartError(
      `ATTUNE__SECURITY__ENABLE_AUTH=false is refused on ${host}: set ATTUNE__SERVER__HOST to 127.0.0.1, or leave authentication on.`,
    );
  }
  if (values.ATTUNE__TEST__FAULT && env["NODE_ENV"] !== "test") {
    throw new StartError("ATTUNE__TEST__FAULT kills the process on purpose and is for tests: unset it.");
  }
  const encryptionKey = readKey(values.ATTUNE__SECURITY__ENCRYPTION_KEY, values.ATTUNE__SECURITY__ENCRYPTION_KEY_FILE);
  for (const secret of secrets) delete env[secret];
  const url = values.ATTUNE__DATABASE__URL ?? DATABASE_URL ?? null;
  return {
    ...{ host, port: values.ATTUNE__SERVER__PORT },
    hosts: values.ATTUNE__SERVER__HOSTS,
    corsOrigins: values.ATTUNE__SERVER__CORS_ORIGINS,
    trustedProxies: values.ATTUNE__SERVER__TRUSTED_PROXIES,
    publicUrl: values.ATTUNE__SERVER__PUBLIC_URL ?? null,
    introspection: values.ATTUNE__GRAPHQL__INTROSPECTION,
    databaseUrl: url,
    maxConnections: values.ATTUNE__DATABASE__MAX_CONNECTIONS,
    fsync: values.ATTUNE__DATABASE__FSYNC,
    reserve: values.ATTUNE__DATABASE__RESERVE_MB * 1024 * 1024,
    logStatements: values.ATTUNE__DATABASE__LOG_STATEMENTS,
    dataDir: values.ATTUNE__DATA_DIR,
    roles: new Set(values.ATTUNE__ROLES),
    isTerminal: terminal,
    log: { level: values.ATTUNE__LOG__LEVEL, format: values.ATTUNE__LOG__FORMAT ?? (terminal ? "pretty" : "json") },
    metricsPort: values.ATTUNE__METRICS__PORT ?? null,
    metricsAllow: values.ATTUNE__METRICS__ALLOW,
    ...packSettings(values),
    artifactsDir: values.ATTUNE__ARTIFACTS__DIR ?? (url === null ? join(values.ATTUNE__DATA_DIR, "artifacts") : null),
    environmentsDir: resolve(values.ATTUNE__WORKER__ENVIRONMENTS_DIR ?? join(values.ATTUNE__DATA_DIR, "environments")),
    scheduleSeconds: values.ATTUNE__EXECUTOR__SCHEDULE_TIMEOUT_SECONDS,
    maxGeneration: values.ATTUNE__EXECUTOR__MAX_GENERATION,
    runtimeSlots: values.ATTUNE__WORKER__RUNTIME_SLOTS ?? new Map(),
    labels: values.ATTUNE__WORKER__LABELS ?? {},
    workerSlots: values.ATTUNE__WORKER__SLOTS,
    workerStopMs: values.ATTUNE__WORKER__STOP_SECONDS * 1000,
    sensorLeaseMs: values.ATTUNE__SENSOR__LEASE_SECONDS * 1000,
    warm: values.ATTUNE__WORKER__WARM,
    httpAllow: values.ATTUNE__WORKER__HTTP_ALLOW,
    enableAuth: values.ATTUNE__SECURITY__ENABLE_AUTH,
    encryptionKey,
    previousKeys: values.ATTUNE__SECURITY__PREVIOUS_ENCRYPTION_KEYS.map((key) => Buffer.from(key, "hex")),
    retention: Object.fromEntries(
      Object.keys(retentionDefaults).map((name) => [name, values[retentionSetting(name)]]),
    ) as RetentionDays, // of all names
    testFault: values.ATTUNE__TEST__FAULT ?? null,
    traces: readTraces(env),
    actionBase: actionVariables(env, values.ATTUNE__WORKER__PASS_ENV),
    buildBase: buildVariables(env),
    engineBase: engineVariables(env),
    runAs: readUser(values.ATTUNE__WORKER__RUN_AS),
  };
}

type Values = z.output<z.ZodObject<typeof settings>>;

const packSettings = (values: Values) => ({
  packDirs: values.ATTUNE__PACKS__DIRS,
  adoptingPacks: values.ATTUNE__PACKS__ADOPT,
  installDir: resolve(values.ATTUNE__PACKS__INSTALL_DIR ?? join(values.ATTUNE__DATA_DIR, "packs")),
  packSources: values.ATTUNE__PACKS__SOURCES,
  packIndexes: values.ATTUNE__PACKS__INDEXES,
  indexAgeMs: values.ATTUNE__PACKS__INDEX_SECONDS * 1000,
});

function readUser(user: readonly number[] | undefined): Config["runAs"] {
  if (user === undefined) return null;
  if (process.getuid?.() !== 0) {
    throw new StartError(
      "ATTUNE__WORKER__RUN_AS needs a server that root has started: only root can start processes of other users.",
    );
  }
  const [uid = 0, gid = 0] = user;
  return { uid, gid };
}

function checked<T>(schema: z.ZodType<T>, given: Record<string, unknown>): T {
  const parsed = schema.safeParse(given, { error: explain });
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  const name = String(issue?.path[0]);
  const value = secrets.includes(name) ? "" : `; it is "${given[name]}"`;
  throw new StartError(`${name} is wrong: ${issue?.message}${value}.`);
}

function readKey(key: string | undefined, file: string | undefined): Uint8Array | null {
  if (key) return Buffer.from(key, "hex");
  if (!file) return null;
  let text: string;
  try {
    text = readFileSync(file, "utf8").trim();
  } catch (cause) {
    throw new StartError(
      `ATTUNE__SECURITY__ENCRYPTION_KEY_FILE: ${file} cannot be read; it must hold 64 hexadecimal digits.`,
      { cause },
    );
  }
  if (!/^[0-9a-fA-F]{64}$/.test(text)) {
    throw new StartError(`ATTUNE__SECURITY__ENCRYPTION_KEY_FILE: ${file} must hold 64 hexadecimal digits.`);
  }
  return Buffer.from(text, "hex");
}
