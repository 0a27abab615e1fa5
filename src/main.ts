import { existsSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { type Config, readConfig } from "./config.ts";
import { StartError } from "./errors.ts";
import { createLog } from "./log.ts";

const usage = `Usage: attune serve [--roles api,executor,worker,sensor] [--settings .env]
       attune link [--settings .env]

serve starts the server; link prints a sign-in link for admin. Settings come from the environment, and from the file for variables that it
lacks, if there is such a file: see the README.
`;

/** Runs the program with the process's arguments. The exit code is 0, 1 (failure) or 2 (wrong usage). */
export async function main(): Promise<void> {
  try {
    const { values, positionals } = parseArgs({
      allowPositionals: true,
      options: { roles: { type: "string" }, settings: { type: "string" }, help: { type: "boolean" } },
    });
    if (values.help) return void process.stdout.write(usage);
    const [command, ...more] = positionals;
    if (more.length > 0 || (command !== "serve" && command !== "link")) {
      process.stderr.write(usage);
      process.exit(2);
    }
    const file = values.settings;
    if (file !== undefined && existsSync(file)) process.loadEnvFile(file);
    if (values.roles) process.env["ATTUNE__ROLES"] = values.roles;
    const config = readConfig(process.env, process.stdout.isTTY === true);
    if (command === "serve") return await serve(config);
    const { createLink } = await import("./link.ts");
    process.stdout.write(await createLink(config));
  } catch (error) {
    if (error instanceof TypeError && "code" in error && String(error.code).startsWith("ERR_PARSE_ARGS")) {
      process.stderr.write(`${error.message}\n${usage}`);
      process.exit(2);
    }
    if (!(error instanceof StartError)) throw error;
    process.stderr.write(`${error.message}\n`);
    process.exit(1);
  }
}

/** What stopping may take beyond the time that running actions get. */
const stopReserveMs = 10_000;

async function serve(config: Config): Promise<void> {
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
