import { existsSync } from "node:fs";
import { chown, mkdir, rm, stat, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { executionVariable, ownName, workerVariable } from "../../lib/action-processes.ts";
import { type ProcessResult, runProcess } from "../process.ts";
import type { RunAs } from "../start.ts";
import type { Recipe, Site, Step } from "./recipe.ts";

/** How long a build may take, in milliseconds. */
export const buildLimitMs = 15 * 60_000;
const graceMs = 5000;
/** How many characters of its log are kept: the last ones. */
const longestLog = 128 * 1024;

/** The file that shows that an environment is complete. */
const marker = ".attune-ready";

/** Returns whether the directory has a complete environment. */
export const isComplete = (path: string) => existsSync(join(path, marker));

/** What a build needs of its host. */
export interface BuildHost {
  base: Readonly<Record<string, string>>;
  buildBase: Readonly<Record<string, string>>;
  runAs: RunAs | null;
}

/** A build's log. */
export interface BuildLog {
  text(): string;
  add(text: string): void;
}

/** Returns the text without the credentials in URLs. */
export const withoutCredentials = (text: string): string => text.replaceAll(/(:\/\/)[^\s/@]+@/g, "$1***@");

/** Returns an empty log. It keeps the end of what is added, without the credentials in URLs. */
export function createBuildLog(): BuildLog {
  let kept = "";
  return {
    text: () => kept,
    add: (text) => {
      kept = withoutCredentials(`${kept}${text}`).slice(-longestLog);
    },
  };
}

/** Builds an environment in its new directory. `owner` is the global id of what it is built for. Resolves with the reason why it failed, or null; never rejects. */
export async function buildEnvironment(
  { owner, recipe, site }: { owner: string; recipe: Recipe; site: Site },
  host: BuildHost,
  { log, signal }: { log: BuildLog; signal: AbortSignal },
): Promise<string | null> {
  const until = performance.now() + buildLimitMs;
  const perform = (step: Step, onOutput: (text: string) => void) =>
    runProcess(
      {
        ...step,
        env: variablesOf(owner, site, host),
        runAs: host.runAs,
        stdin: null,
        timeoutMs: Math.max(1, until - performance.now()),
        graceMs,
        signal,
      },
      { onOutput: (_stream, text) => onOutput(text) },
    );
  try {
    await createDirectory(site.path, host.runAs);
    const steps = await recipe.prepare(site, async (step) => (await perform(step, () => {})).exitCode === 0);
    if (host.runAs !== null) await give(site.path, host.runAs);
    for (const step of steps) {
      log.add(`$ ${[step.command, ...step.args].join(" ")}\n`);
      const failure = failureOf(step, await perform(step, log.add));
      if (failure !== null) return failure;
    }
    await writeFile(join(site.path, marker), "");
    return null;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

/** The variables that name the build let the next one find and end what a killed worker left of it. */
function variablesOf(owner: string, site: Site, { base, buildBase, runAs }: BuildHost): Record<string, string> {
  return {
    ...base,
    ...buildBase,
    PATH: base["PATH"] ?? "/usr/local/bin:/usr/bin:/bin",
    // The home of the server's own user is closed to another one.
    ...(runAs === null ? {} : { HOME: site.path }),
    [executionVariable]: owner,
    [workerVariable]: ownName(),
  };
}

function failureOf({ command, args }: Step, { ended, exitCode, signalName, message }: ProcessResult): string | null {
  const called = [command, ...args].join(" ");
  switch (ended) {
    case "exited":
      if (exitCode === 0) return null;
      return exitCode === null ? `${called} was ended by ${signalName}.` : `${called} exited with code ${exitCode}.`;
    case "timed_out":
      return `The build took longer than ${buildLimitMs / 60_000} minutes.`;
    case "stopped":
      return "The build was stopped.";
    case "spawn_failed":
      return message ?? `${called} did not start.`;
    default:
      throw new Error(ended satisfies never);
  }
}

/** Creates the directory. Throws when the user that actions run as cannot enter it. */
async function createDirectory(path: string, runAs: RunAs | null): Promise<void> {
  await mkdir(path, { recursive: true, mode: 0o755 });
  if (runAs === null) return;
  await give(path, runAs);
  for (let above = dirname(path); above !== dirname(above); above = dirname(above)) {
    const { mode, uid, gid } = await stat(above);
    const bit = uid === runAs.uid ? 0o100 : gid === runAs.gid ? 0o010 : 0o001;
    if ((mode & bit) === 0) {
      await rm(path, { recursive: true, force: true });
      throw new Error(
        `The user ${runAs.uid}, as which actions run, cannot enter ${above}: set ATTUNE__WORKER__ENVIRONMENTS_DIR to a directory that all users can enter.`,
      );
    }
  }
}

const give = (path: string, { uid, gid }: RunAs) => chown(path, uid, gid);
