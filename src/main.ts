import { existsSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import type { Config } from "./config.ts";
import { StartError } from "./errors.ts";

/** Runs the program with the process's arguments. The exit code is 0, 1 (failure), 2 (wrong usage) or 130 (Ctrl-C). */
export async function main(): Promise<void> {
  try {
    await runProgram();
  } catch (error) {
    const { createSourceStack } = await import("./log.ts");
    if (error instanceof Error && error.stack) error.stack = createSourceStack()(error.stack);
    throw error;
  }
}

async function runProgram(): Promise<void> {
  const args = process.argv.slice(2);
  const [command] = args;
  if ((command !== "serve" && command !== "link") || args.includes("--help")) return await useServer(args);
  try {
    await beServer(command, args.slice(1));
  } catch (error) {
    const isMisused = error instanceof TypeError && "code" in error && String(error.code).startsWith("ERR_PARSE_ARGS");
    if (!isMisused && !(error instanceof StartError)) throw error;
    process.stderr.write(`${error.message}\n`);
    process.exit(isMisused ? 2 : 1);
  }
}

/** Runs a command that uses the API of a server, or one that needs no server. */
async function useServer(args: readonly string[]): Promise<void> {
  const { run } = await import("./cli/program.ts");
  const { createAuthor } = await import("./author/author.ts");
  const { env, stdin, stdout, stderr } = process;
  const ended = new AbortController();
  let isRead = true;
  process.once("SIGINT", () => {
    process.once("SIGINT", () => process.exit(130)); // a second one exits at once
    ended.abort();
  });
  for (const stream of [stdout, stderr]) {
    stream.on("error", () => {
      isRead = false; // what read the output has closed it, as `head` does
      ended.abort();
    });
  }
  const code = await run(args, {
    author: createAuthor(process.env),
    administer: async (...settings) => (await import("./db-admin/administer.ts")).administer(...settings),
    ...{ env, stdin, stdout, stderr, signal: ended.signal },
  });
  await new Promise<void>((resolve) => stdout.write("", () => resolve()));
  process.exit(isRead ? code : 0);
}

/** Runs `serve` or `link`, which read the settings of a server. */
async function beServer(command: "serve" | "link", args: string[]): Promise<void> {
  const { values } = parseArgs({ args, options: { roles: { type: "string" }, settings: { type: "string" } } });
  const file = values.settings;
  if (file !== undefined && existsSync(file)) process.loadEnvFile(file);
  if (values.roles) process.env["ATTUNE__ROLES"] = values.roles;
  const { readConfig } = await import("./config.ts");
  const config = readConfig(process.env, process.stdout.isTTY === true);
  if (command === "serve") return await serve(config);
  const { createLink } = await import("./link.ts");
  process.stdout.write(await createLink(config));
}

/** What stopping may take beyond the time that running actions get. */
const stopReserveMs = 10_000;

async function serve(config: Config): Promise<void> {
  const { createLog } = await import("./log.ts");
  const log = createLog(config.log);
  const { dataDir, databaseUrl, isTerminal } = config;
  if (isTerminal && databaseUrl === null && !existsSync(join(dataDir, "pgdata"))) {
    process.stdout.write(`Creating the database in ${dataDir}, which takes a few seconds …\n`);
  }
  const { startServer } = await import("./server.ts");
  const { isPassing } = await import("./db/passing.ts");
  const server = await startServer(config, log, { ownsProcess: true }).catch((error: unknown) => {
    if (error instanceof StartError || !isPassing(error)) throw error;
    const reason = error instanceof Error && error.cause instanceof Error ? error.cause.message : String(error);
    throw new StartError(`The database was lost during the start (${reason}): check that it runs, and start again.`);
  });
  process.stdout.write(server.greeting);
  let exitCode: number | null = null;
  const stop = async (code: number) => {
    if (exitCode !== null) return;
    exitCode = code;
    const limitMs = config.workerStopMs + stopReserveMs;
    setTimeout(() => {
      log.error(
        { limitMs },
        "stopping took too long: exiting; what was under way is taken up by another process or the next start",
      );
      process.exit(1);
    }, limitMs);
    try {
      await server[Symbol.asyncDispose]();
    } catch (error) {
      log.error({ err: error }, "stopping failed");
      exitCode = 1;
    }
    process.exit(exitCode);
  };
  for (const signal of ["SIGINT", "SIGTERM"]) {
    process.once(signal, () => {
      process.once(signal, () => process.exit(1)); // a second signal exits at once
      log.info({ signal }, "stopping");
      void stop(0);
    });
  }
  // A promise that nobody awaited has failed: its own work is lost, and the state of everything else is known.
  process.on("unhandledRejection", (error) => log.error({ err: error }, "a failure that nothing handled"));
  // Anything may have been interrupted between two lines, so the process ends. What it held is in the database.
  process.on("uncaughtException", (error) => {
    log.fatal({ err: error }, "an error that nothing caught: stopping");
    void stop(1);
  });
}
