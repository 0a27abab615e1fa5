import { spawn } from "node:child_process";
import { PassThrough, Readable } from "node:stream";
import { text } from "node:stream/consumers";
import type { Command } from "commander";
import { inject } from "vitest";
import { createAuthor } from "../../src/author/author.ts";
import { createProgram, run } from "../../src/cli/program.ts";
import { administer } from "../../src/db-admin/administer.ts";

/** What a command has printed, and its exit code. */
export interface Outcome {
  code: number | null;
  stdout: string;
  stderr: string;
}

/** The world of a command. */
export interface Surroundings {
  /** The server, by the environment. */
  server?: { url: string; token?: string };
  env?: Record<string, string>;
  /** The content of standard input; none by default. */
  stdin?: string;
  /** The width of the terminal that stdout is; no terminal by default. */
  columns?: number;
}

/** A command that runs in the test's process. */
export interface RunningCommand {
  ended: Promise<Outcome>;
  stdout(): string;
  stderr(): string;
  /** What Ctrl-C does. */
  interrupt(): void;
}

/** Runs in no directory of profiles, unless `env` names one. */
const environment = ({ server, env }: Surroundings): Record<string, string> => ({
  XDG_CONFIG_HOME: "/nonexistent",
  ATTUNE__DATA_DIR: "/nonexistent",
  ...(server ? { ATTUNE_URL: server.url } : {}),
  ...(server?.token === undefined ? {} : { ATTUNE_TOKEN: server.token }),
  ...env,
});

/** Starts a command line in the test's process, through the function that the program uses. */
export function startCommand(args: readonly string[], surroundings: Surroundings = {}): RunningCommand {
  const { stdin = "", columns } = surroundings;
  const ended = new AbortController();
  const printed = { stdout: "", stderr: "" };
  const stream = (name: keyof typeof printed) =>
    new PassThrough().setEncoding("utf8").on("data", (chunk: string) => {
      printed[name] += chunk;
    });
  const stdout = Object.assign(stream("stdout"), columns === undefined ? {} : { columns, isTTY: true });
  const stderr = stream("stderr");
  const terminal = {
    author: createAuthor({ PATH: process.env["PATH"] }),
    administer,
    env: environment(surroundings),
    stdin: Readable.from([stdin]),
    stdout,
    stderr,
    signal: ended.signal,
  };
  return {
    ended: run(args, terminal).then(async (code) => {
      await Promise.all([stdout, stderr].map((one) => new Promise((resolve) => one.on("end", resolve).end())));
      return { code, ...printed };
    }),
    stdout: () => printed.stdout,
    stderr: () => printed.stderr,
    interrupt: () => ended.abort(),
  };
}

/** Runs a command line in the test's process to its end. */
export const runCommand = (args: readonly string[], surroundings: Surroundings = {}): Promise<Outcome> =>
  startCommand(args, surroundings).ended;

/** Starts a command line as a process, with pipes. */
export function spawnCommand(args: readonly string[], surroundings: Surroundings = {}) {
  const child = spawn(process.execPath, ["--liftoff-only", inject("program"), ...args], {
    env: { PATH: process.env["PATH"] ?? "", ...environment(surroundings) },
    stdio: ["pipe", "pipe", "pipe"],
  });
  const ended = Promise.all([
    text(child.stdout),
    text(child.stderr),
    new Promise<number | null>((resolve) => child.once("close", resolve)),
  ]).then(([stdout, stderr, code]): Outcome => ({ code, stdout, stderr }));
  child.stdin.on("error", () => {}); // a command may end without reading it
  return { child, ended, end: (input = "") => child.stdin.end(input) };
}

/** The whole command line, for what it says of itself. */
export const describedProgram = (): Command =>
  createProgram(
    {
      author: createAuthor({}),
      administer,
      env: {},
      stdin: Readable.from([]),
      stdout: new PassThrough(),
      stderr: new PassThrough(),
      signal: new AbortController().signal,
    },
    () => {},
  );

/** All commands below one that its help shows, itself included, each with its path. */
export function commandsOf(command: Command, path: readonly string[] = []): { command: Command; path: string[] }[] {
  return [
    { command, path: [...path] },
    ...command
      .createHelp()
      .visibleCommands(command)
      .flatMap((below) => commandsOf(below, [...path, below.name()])),
  ];
}
