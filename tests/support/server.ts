import { type ChildProcess, spawn } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import postgres from "postgres";
import { inject } from "vitest";
import { readConfig } from "../../src/config.ts";
import { createLog } from "../../src/log.ts";
import { startServer } from "../../src/server.ts";
import { cloneDatabase, type Location } from "./database.ts";
import { until } from "./until.ts";

/** A server that listens. */
export interface RunningServer extends AsyncDisposable {
  url: string;
  /** An API token of the identity `admin`. */
  token: string;
  location: Location;
  /** Returns what it has printed and logged so far. */
  output(): string;
}

/** A server in its own process: the built program, as its user starts it. */
export interface ServerProcess extends RunningServer {
  child: ChildProcess;
  /** Kills the process with SIGKILL and waits for its exit. */
  kill(): Promise<void>;
  /** Resolves with the exit code. */
  exited: Promise<number | null>;
}

const encryptionKey = "42".repeat(32);

/** Returns the environment of a server on that database. */
export function serverEnvironment(location: Location, extra: Record<string, string> = {}): Record<string, string> {
  return {
    PATH: process.env["PATH"] ?? "",
    HOME: process.env["HOME"] ?? "",
    NODE_ENV: "test",
    // After kill -9 the operating system still has every commit; the suite never cuts the power.
    ATTUNE__DATABASE__FSYNC: "false",
    ATTUNE__DATA_DIR: location.dataDir,
    ATTUNE__SERVER__PORT: "0",
    ATTUNE__LOG__LEVEL: "warn",
    ATTUNE__SECURITY__ENCRYPTION_KEY: encryptionKey,
    ATTUNE__WORKER__STOP_SECONDS: "1",
    ...(location.url ? { ATTUNE__DATABASE__URL: location.url } : {}),
    ...extra,
  };
}

/**
 * Node's arguments for `attune serve`. Test servers are too short-lived for the optimising compiler: compiling the embedded
 * database costs more than it saves.
 */
export const serve = (program = inject("program")) => ["--liftoff-only", program, "serve"];

/** Starts `attune serve` and collects its output; does not wait. */
export function spawnServer(
  env: Record<string, string>,
  program?: string,
): { child: ChildProcess; output: () => string } {
  const child = spawn(process.execPath, serve(program), {
    env,
    stdio: ["ignore", "pipe", "pipe"],
  });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding("utf8");
    stream?.on("data", (text: string) => {
      output += text;
    });
  }
  return { child, output: () => output };
}

/** Starts a server on a new clone (or on `at`); resolves when it has printed its address, or without the role `api` its roles. */
export async function startProcess(
  at?: Location,
  extra: Record<string, string> = {},
  program?: string,
): Promise<ServerProcess> {
  const location = at ?? (await cloneDatabase("core"));
  const { child, output } = spawnServer(serverEnvironment(location, extra), program);
  const exited = once(child, "exit").then(([code]) => code as number | null);
  const [, url = ""] = await until(
    () => {
      if (child.exitCode !== null) throw new Error(`the server ended: ${output()}`);
      return /listens on (\S+)\n.*\n|runs as .*\n/.exec(output());
    },
    "the server's address",
    30_000,
  );
  return {
    url,
    token: await adminToken(location),
    location,
    child,
    output,
    exited,
    kill: async () => {
      child.kill("SIGKILL");
      await exited;
    },
    [Symbol.asyncDispose]: async () => {
      if (child.exitCode === null && child.signalCode === null) child.kill("SIGTERM");
      await exited;
    },
  };
}

/** Starts a server in the test's process, over real sockets. A separate process would cost a second. */
export async function startInProcess(
  at?: Location,
  extra: Record<string, string> = {},
  isTerminal = false,
): Promise<RunningServer> {
  const location = at ?? (await cloneDatabase("core"));
  const config = readConfig(serverEnvironment(location, extra), isTerminal);
  let output = "";
  const log = createLog(config.log, {
    write: (line) => {
      output += line;
    },
  });
  const server = await startServer(config, log);
  return {
    url: server.url ?? "",
    token: await adminToken(location),
    location,
    output: () => server.greeting + output,
    [Symbol.asyncDispose]: server[Symbol.asyncDispose],
  };
}

/** Returns the path of a new sign-in link for the administrator. */
export async function createLink({ url, token }: Pick<RunningServer, "url" | "token">): Promise<string> {
  const headers = { authorization: `Bearer ${token}` };
  const response = await fetch(`${url}/sign-in/link`, { method: "POST", headers });
  return ((await response.json()) as { path: string }).path;
}

/** Returns an API token of the identity `admin`. */
export const adminToken = async (location: Location) =>
  location.url ? await insertToken(location.url) : tokenOf(location);

function tokenOf(location: Location): string {
  return JSON.parse(readFileSync(join(location.dataDir, "credentials.json"), "utf8")).token;
}

/** Inserts an API token: on PostgreSQL there is no credentials file. The printed link stays unused. */
async function insertToken(url: string): Promise<string> {
  const token = `att_api_${randomBytes(32).toString("base64url")}`;
  const hash = createHash("sha256").update(token).digest("hex");
  const sql = postgres(url, { max: 1 });
  await sql`insert into attune.token (kind, token_hash, identity) select 'api', ${hash}, id from attune.identity where login = 'admin'`;
  await sql.end();
  return token;
}

/** Sends one document over HTTP and returns its data; throws when the response has errors. */
export async function request<T>(
  server: { url: string; token: string },
  query: string,
  variables: Record<string, unknown> = {},
): Promise<T> {
  const response = await fetch(`${server.url}/graphql`, {
    method: "POST",
    headers: { "content-type": "application/json", authorization: `Bearer ${server.token}` },
    body: JSON.stringify({ query, variables }),
  });
  const { data, errors } = (await response.json()) as { data: T; errors?: unknown[] };
  if (errors) throw new Error(JSON.stringify(errors));
  return data;
}
