import { type ChildProcess, execFileSync, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { chownSync, globSync, mkdtempSync, rmSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import postgres from "postgres";
import { until } from "./until.ts";

const env = { PATH: [...globSync("/usr/lib/postgresql/*/bin").sort().reverse(), process.env["PATH"] ?? ""].join(":") };
const programs = ["initdb", "postgres", "pg_basebackup"];

/** Returns whether this machine has PostgreSQL's server programs and a user that may run them. */
export const hasServerPrograms = () =>
  serverUser() !== null && programs.every((name) => spawnSync(name, ["--version"], { env }).status === 0);

/** PostgreSQL servers of one test, in a directory that is removed with them. */
export interface Servers extends AsyncDisposable {
  /** Creates a server without starting it. */
  create(): Promise<PostgresServer>;
  /** Creates a standby of a running server. */
  createStandby(primary: PostgresServer): Promise<PostgresServer>;
}

/** A server on a port of 127.0.0.1. */
export interface PostgresServer {
  port: number;
  url: string;
  /** Starts it and waits until it accepts connections; does nothing when it runs. */
  start(): Promise<void>;
  /** Ends it as a crash does (`immediate`). */
  crash(): Promise<void>;
  /** Ends it in order, and its connections with it (`fast`). */
  stop(): Promise<void>;
}

/** Returns this process's user; as root, which PostgreSQL refuses, the user `postgres`; null when there is none. */
function serverUser(): { uid: number; gid: number } | null {
  const [uid = 0, gid = 0] = [process.getuid?.(), process.getgid?.()];
  if (uid !== 0) return { uid, gid };
  const ids = ["-u", "-g"].map((which) => spawnSync("id", [which, "postgres"], { encoding: "utf8" }).stdout);
  const [asUser = Number.NaN, asGroup = Number.NaN] = ids.map((id) => Number.parseInt(id, 10));
  return asUser > 0 && asGroup > 0 ? { uid: asUser, gid: asGroup } : null;
}

async function freePort(): Promise<number> {
  const probe = createServer().listen(0, "127.0.0.1");
  await once(probe, "listening");
  const { port } = probe.address() as AddressInfo; // it listens on TCP
  probe.close();
  await once(probe, "close");
  return port;
}

/** Creates a directory for servers. Throws when `hasServerPrograms` is false for lack of a user. */
export function createServers(): Servers {
  const user = serverUser();
  if (!user) throw new Error("there is no user that may run PostgreSQL");
  const directory = mkdtempSync(join(tmpdir(), "attune-servers-"));
  chownSync(directory, user.uid, user.gid);
  const options = { ...user, env, cwd: directory, stdio: ["ignore", "ignore", "pipe"] as const };
  const servers: PostgresServer[] = [];

  async function add(commandFor: (data: string) => string[]): Promise<PostgresServer> {
    const port = await freePort();
    const data = join(directory, String(port));
    const [program = "", ...args] = commandFor(data);
    execFileSync(program, args, { ...options, stdio: ["ignore", "ignore", "pipe"] });
    const server = control(data, port, options);
    servers.push(server);
    return server;
  }
  return {
    create: () => add((data) => ["initdb", "--no-sync", "--auth=trust", "--username=postgres", "-D", data]),
    createStandby: (primary) =>
      add((data) => ["pg_basebackup", "--no-sync", "--checkpoint=fast", "-R", "-d", primary.url, "-D", data]),
    [Symbol.asyncDispose]: async () => {
      for (const server of servers) await server.crash();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

function control(data: string, port: number, options: object): PostgresServer {
  const url = `postgres://postgres@127.0.0.1:${port}/postgres`;
  const settings = {
    fsync: "off",
    shared_buffers: "16MB",
    unix_socket_directories: data,
    listen_addresses: "127.0.0.1",
  };
  let child: ChildProcess | null = null;
  const isRunning = () => child !== null && child.exitCode === null && child.signalCode === null;
  const end = async (signal: "SIGQUIT" | "SIGINT") => {
    if (!child || !isRunning()) return;
    const exited = once(child, "exit");
    child.kill(signal); // it ends its children, which SIGKILL would leave
    await exited;
  };
  return {
    port,
    url,
    start: async () => {
      if (isRunning()) return;
      const args = Object.entries(settings).flatMap(([name, value]) => ["-c", `${name}=${value}`]);
      child = spawn("postgres", ["-D", data, "-p", String(port), ...args], { ...options, stdio: "ignore" });
      await until(() => acceptsConnections(url), "the server to accept connections", 20_000);
    },
    crash: () => end("SIGQUIT"),
    stop: () => end("SIGINT"),
  };
}

async function acceptsConnections(url: string): Promise<boolean> {
  const client = postgres(url, { max: 1, connect_timeout: 1, onnotice: () => {} });
  try {
    await client`select 1`;
    return true;
  } catch {
    return false; // it is still starting
  } finally {
    await client.end({ timeout: 0 });
  }
}
