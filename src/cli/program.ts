import { Command, CommanderError, Option } from "commander";
import { StartError } from "../errors.ts";
import { readOwnVersion } from "../lib/program.ts";
import { addArtifacts } from "./commands/artifact.ts";
import { addAuth } from "./commands/auth.ts";
import { addBacktest } from "./commands/backtest.ts";
import { addCompletion } from "./commands/completion.ts";
import { addDatabase } from "./commands/db.ts";
import { addEvents } from "./commands/event.ts";
import { addExecutions, addRun } from "./commands/execution.ts";
import { addInquiries } from "./commands/inquiry.ts";
import { addIndex, addInstall } from "./commands/install.ts";
import { addKeys } from "./commands/key.ts";
import { addPacks } from "./commands/pack.ts";
import { addReload } from "./commands/reload.ts";
import { addResource, addSwitches } from "./commands/resource.ts";
import { addRules } from "./commands/rule.ts";
import { addSearch } from "./commands/search.ts";
import { addSensors } from "./commands/sensor.ts";
import { addWebhooks } from "./commands/webhook.ts";
import { addExamples, type Finish } from "./define.ts";
import { Failure, UsageFailure } from "./failure.ts";
import { resources } from "./resources.ts";
import { type Terminal, withoutSteering } from "./terminal.ts";

/** The exit codes of `attune`: it failed, it was written wrongly, Ctrl-C ended it. */
const failed = 1;
const misused = 2;
const interrupted = 130;

/** Returns the whole command line; `finish` hears of the exit code of the command that ran. */
export function createProgram(terminal: Terminal, finish: Finish): Command {
  const program = new Command("attune")
    .description("Event-driven automation. All commands but serve, link and db use the API of a server.")
    .version(readOwnVersion(), "--version", "print the version")
    .helpOption("--help", "print the help of a command")
    .helpCommand(false)
    .exitOverride()
    .configureOutput({
      writeOut: (text) => terminal.stdout.write(text),
      writeErr: (text) => terminal.stderr.write(text),
      getOutHelpWidth: () => terminal.stdout.columns || 100,
      getErrHelpWidth: () => terminal.stderr.columns || 100,
    })
    .showHelpAfterError("(--help says what is possible)")
    .option("--url <url>", "the server's address; else ATTUNE_URL, or that of the profile")
    .option("--token <token>", "the credential; else ATTUNE_TOKEN, or that of the profile")
    .option("--profile <name>", "the stored server and credential to use")
    .addOption(
      new Option("--output <form>", "how to print: a table for people, or data for programs")
        .choices(["table", "json", "yaml"])
        .default("table"),
    )
    .option("--verbose", "say on stderr what is asked of the server");
  addExamples(program, ["run core.echo message=hello --follow", "execution list --status failed"]);
  const top = { command: program, path: "", terminal, finish };
  addServer(program);
  addAuth(top);
  for (const resource of resources) {
    addResource(top, resource);
    if (["action", "trigger", "sensor", "rule", "policy"].includes(resource.name)) addSwitches(top, resource);
  }
  for (const add of [
    addRun,
    addExecutions,
    addEvents,
    addRules,
    addBacktest,
    addSensors,
    addWebhooks,
    addInquiries,
    addKeys,
    addArtifacts,
    addPacks,
    addReload,
    addSearch,
    addInstall,
    addIndex,
    addCompletion,
    addDatabase,
  ]) {
    add(top);
  }
  return program;
}

/** The two commands that start a server's code: `main.ts` runs them where they come first, without any of this. */
function addServer(program: Command): void {
  const settings = () =>
    new Option("--settings <file>", "a file with settings for variables that the environment lacks, if there is one");
  const notFirst = () => {
    throw new UsageFailure('Write "serve" or "link" first, and then its options.');
  };
  const serve = program
    .command("serve")
    .description("start the server")
    .option("--roles <roles>", "the roles of this process, separated by commas: api, executor, worker, sensor")
    .addOption(settings())
    .action(notFirst);
  addExamples(serve, ["serve", "serve --roles api,executor --settings .env"]);
  const link = program
    .command("link")
    .description("print a sign-in link for admin, with the settings of the server")
    .addOption(settings())
    .action(notFirst);
  addExamples(link, ["link --settings .env"]);
}

/** Whether the operating system has refused something, such as to write a file; its message names what. */
const isOfSystem = (error: unknown): error is NodeJS.ErrnoException =>
  error instanceof Error && "syscall" in error && "code" in error;

/** Runs one command line to its end and returns the exit code. */
export async function run(args: readonly string[], terminal: Terminal): Promise<number> {
  const [first, ...rest] = args;
  let code = 0;
  try {
    await createProgram(terminal, (finished) => {
      code = finished;
    }).parseAsync(first === "help" ? [...rest, "--help"] : args, { from: "user" });
    return code;
  } catch (error) {
    if (terminal.signal.aborted) return interrupted;
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : misused;
    if (!(error instanceof Failure) && !(error instanceof StartError) && !isOfSystem(error)) throw error;
    terminal.stderr.write(`error: ${withoutSteering(error.message)}\n`);
    return error instanceof UsageFailure ? misused : failed;
  }
}
