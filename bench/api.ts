import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import type { BenchDatabase } from "./database.ts";

const program = fileURLToPath(new URL("../src/attune.js", import.meta.url));

/** A server in a separate process. */
export interface ServerProcess extends AsyncDisposable {
  url: string;
  /** Returns its resident memory, in MiB. */
  rss(): number;
  /** Returns the processor time that it has used, in milliseconds. */
  cpuMs(): number;
}

/** The server's `api` role in a separate process. */
export interface ApiProcess extends ServerProcess {
  /** Returns how many statements it has logged; 0 without `logStatements`. */
  statements(): number;
}

/** Starts the `api` role on a PostgreSQL database; `nodeOptions` are for Node.js itself. */
export async function startApiProcess(
  database: BenchDatabase,
  { logStatements, nodeOptions = [] }: { logStatements: boolean; nodeOptions?: string[] },
): Promise<ApiProcess> {
  let statements = 0;
  const server = await startServer([...nodeOptions, program, "serve", "--roles", "api"], {
    environment: {
      ATTUNE__DATABASE__URL: database.url ?? "",
      ATTUNE__DATABASE__LOG_STATEMENTS: String(logStatements),
      ATTUNE__LOG__FORMAT: "json",
      ATTUNE__SECURITY__ENCRYPTION_KEY: randomBytes(32).toString("hex"),
      ATTUNE__SERVER__PORT: "0",
    },
    address: /^attune listens on (\S+)/,
    read: (line) => {
      if (line.includes('"msg":"statement"')) statements += 1;
    },
  });
  return { ...server, statements: () => statements };
}

/**
 * Starts a program with Node.js; resolves once a line of its output matches `address`, whose first group is the URL. Rejects when the program
 * exits before. The program ends with this process at the latest.
 */
export async function startServer(
  command: string[],
  options: { environment: Record<string, string>; address: RegExp; read?: (line: string) => void },
): Promise<ServerProcess> {
  const child = spawn(process.execPath, command, {
    stdio: ["ignore", "pipe", "inherit"],
    env: { PATH: process.env["PATH"], ...options.environment },
  });
  const kill = () => child.kill("SIGKILL"); // a failed run leaves no process running
  process.once("exit", kill);
  child.once("exit", () => process.off("exit", kill));
  const listening = Promise.withResolvers<string>();
  child.once("exit", (code) => listening.reject(new Error(`the server ended with code ${code}`)));
  createInterface({ input: child.stdout }).on("line", (line) => {
    options.read?.(line);
    const url = options.address.exec(line)?.[1];
    if (url) listening.resolve(url);
  });
  return {
    url: await listening.promise,
    rss: () => Number(/^VmRSS:\s*(\d+) kB/m.exec(readFileSync(`/proc/${child.pid}/status`, "utf8"))?.[1]) / 1024,
    cpuMs: () => {
      // After the process's name, which may contain spaces: user and system time in hundredths of a second.
      const fields = readFileSync(`/proc/${child.pid}/stat`, "utf8").split(") ").at(-1)?.split(" ") ?? [];
      return (Number(fields[11]) + Number(fields[12])) * 10;
    },
    [Symbol.asyncDispose]: () => stop(child),
  };
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, "exit");
  child.kill("SIGTERM");
  await ended;
}
