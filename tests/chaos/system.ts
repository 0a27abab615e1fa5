import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, writeFileSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import postgres from "postgres";
import { createServers, type PostgresServer } from "../support/cluster.ts";
import { buildProgram } from "../support/program.ts";
import { createProxy, type NetworkProxy } from "../support/proxy.ts";
import { adminToken, serverEnvironment, spawnServer } from "../support/server.ts";
import { until } from "../support/until.ts";
import { createHistory, type History } from "./history.ts";

const rolesOf = { api: "api,sensor", executor: "executor", worker1: "worker", worker2: "worker" };
export type Role = keyof typeof rolesOf;
export const roles = Object.keys(rolesOf) as Role[];

/** Attune as four processes, each behind a proxy of its own, on a PostgreSQL cluster of its own. */
export interface System extends AsyncDisposable {
  directory: string;
  history: History;
  url: string;
  token: string;
  cluster: PostgresServer;
  /** Connects past the proxies, as a superuser. */
  direct: postgres.Sql;
  proxies: Record<Role, NetworkProxy>;
  /** Sends the role's process a signal; does nothing when none runs. */
  signal(role: Role, name: "SIGKILL" | "SIGSTOP" | "SIGCONT" | "SIGTERM"): void;
  /** Starts the role's process if none runs, as often as it takes, until it is ready. */
  ensure(role: Role): Promise<void>;
  /** Stops all processes of Attune in order. */
  stop(): Promise<void>;
  output(role: Role): string;
}

/** How long a role may take to start on a busy machine whose database has just been started. */
const startMs = 180_000;

export async function startSystem(): Promise<System> {
  const directory = mkdtempSync(join(tmpdir(), "attune-chaos-"));
  for (const name of ["tmp", "locks", "tries"]) mkdirSync(join(directory, name));
  const history = createHistory(join(directory, "history.jsonl"));
  const resources = new AsyncDisposableStack();
  const servers = resources.use(createServers());
  const cluster = await servers.create();
  await cluster.start();
  const admin = postgres(cluster.url, { max: 1, onnotice: () => {} });
  await admin.unsafe("create role attune login");
  await admin.unsafe("create database attune owner attune");
  await admin.end();
  const at = (user: string) => `postgres://${user}@127.0.0.1:${cluster.port}/attune`;
  const direct = postgres(at("postgres"), { max: 2, onnotice: () => {}, connect_timeout: 5 });
  resources.defer(() => direct.end({ timeout: 1 }));
  const proxies = {} as Record<Role, NetworkProxy>;
  for (const role of roles) proxies[role] = resources.use(await createProxy(at("attune")));
  const port = await freePort();
  const program = await buildProgram();
  const running = new Map<Role, { child: ChildProcess; isReady: () => boolean }>();
  const outputs = new Map<Role, string[]>();
  const ended = new WeakSet<ChildProcess>();

  function start(role: Role) {
    const location = { url: proxies[role].url, dataDir: join(directory, role) };
    const { child, output } = spawnServer(
      serverEnvironment(location, {
        ATTUNE__ROLES: rolesOf[role],
        ATTUNE__SERVER__PORT: role === "api" ? String(port) : "0",
        ATTUNE__PACKS__DIRS: fileURLToPath(new URL("./pack", import.meta.url)),
        ATTUNE__WORKER__STOP_SECONDS: "5",
        ATTUNE__WORKER__SLOTS: "12",
        ATTUNE__DATABASE__MAX_CONNECTIONS: "5",
        HOME: directory,
        TMPDIR: join(directory, "tmp"),
      }),
      program,
    );
    const isReady = () => /listens on \S+\n|runs as .*\n/.test(output());
    running.set(role, { child, isReady });
    child.once("exit", (code, signal) => {
      if (isReady() && !ended.has(child)) {
        history.add({ kind: "died", at: Date.now(), role, code: String(code ?? signal) });
      }
      outputs.set(role, [...(outputs.get(role) ?? []), output()]);
      writeFileSync(join(directory, `${role}.log`), (outputs.get(role) ?? []).join("\n--\n"));
      if (running.get(role)?.child === child) running.delete(role);
    });
    return { child, isReady };
  }
  const system: System = {
    directory,
    history,
    url: `http://127.0.0.1:${port}`,
    token: "",
    cluster,
    direct,
    proxies,
    signal: (role, name) => {
      const child = running.get(role)?.child;
      if (!child) return;
      if (name === "SIGKILL" || name === "SIGTERM") ended.add(child);
      child.kill(name);
    },
    ensure: async (role) => {
      await until(() => (running.get(role) ?? start(role)).isReady(), `${role} to be ready`, startMs);
    },
    stop: async () => {
      const children = [...running.values()].map(({ child }) => child);
      await Promise.all(
        children.map(async (child) => {
          const exited = once(child, "exit");
          ended.add(child);
          child.kill("SIGCONT");
          child.kill("SIGTERM");
          const timer = setTimeout(() => child.kill("SIGKILL"), 60_000);
          await exited;
          clearTimeout(timer);
        }),
      );
    },
    output: (role) => (outputs.get(role) ?? []).join("\n"),
    [Symbol.asyncDispose]: async () => {
      await system.stop();
      await resources.disposeAsync();
    },
  };
  await system.ensure("api"); // it migrates
  await Promise.all(roles.map((role) => system.ensure(role)));
  system.token = await adminToken({ url: at("postgres"), dataDir: directory });
  return system;
}

async function freePort(): Promise<number> {
  const probe = createServer().listen(0, "127.0.0.1");
  await once(probe, "listening");
  const { port } = probe.address() as AddressInfo; // it listens on TCP
  probe.close();
  await once(probe, "close");
  return port;
}
