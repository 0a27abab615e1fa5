import { readFiles } from "../catalog/files.ts";
import { readPack } from "../catalog/read.ts";
import { InvalidInputError, invalid } from "../errors.ts";
import { actionVariables, buildVariables } from "../lib/action-variables.ts";
import type { JsonObject } from "../lib/json.ts";
import { didYouMean } from "../lib/nearest.ts";
import { createScratch, removeLeftScratch } from "../lib/scratch.ts";
import { type Suite, storedResult } from "../pack-test/result.ts";
import { findCommands } from "../process/interpreters.ts";
import { localEnvironments } from "../worker/pack-test/local.ts";
import { corePack } from "./check.ts";

/** How the tests of a directory are run. */
export interface LocalTest {
  /** The names of the runners; null: all of them. */
  runners: readonly string[] | null;
  env: NodeJS.ProcessEnv;
  signal: AbortSignal;
  onOutput(stream: "stdout" | "stderr" | "system", text: string): void;
}

/**
 * Runs the tests of the pack in a directory on this host, as a worker does, but without a server: environments are built anew, and are removed at the
 * end. Returns the result as it would be stored. Throws InvalidInputError for a pack that is not valid, or has no such tests.
 */
export async function testDirectory(
  directory: string,
  { runners, env, signal, onOutput }: LocalTest,
): Promise<JsonObject> {
  const source = await readPack(directory);
  const { ref, version, testing } = source.pack;
  if (!testing?.enabled) {
    throw new InvalidInputError([source.issueAt(ref, ["testing"], "the pack has no tests, or disables them")]);
  }
  const known = Object.keys(testing.runners);
  for (const name of runners ?? []) {
    if (!known.includes(name))
      throw invalid("runner", `"${name}" is none of ${known.join(", ")}${didYouMean(name, known)}`);
  }
  const { paths } = await readFiles(source.path, () => false);
  await removeLeftScratch();
  const scratch = createScratch();
  try {
    const base = actionVariables(env, []);
    const interpreters = await findHere(base["PATH"] ?? "/usr/local/bin:/usr/bin:/bin", onOutput);
    const host = {
      ...{ interpreters, base, buildBase: buildVariables(env), variables: {}, runAs: null },
      ...{ scratch: scratch.directory, signal, onOutput },
    };
    const onSuite = (name: string, ended: Suite | null) =>
      onOutput("system", ended ? `${name}: ended\n` : `${name}: started\n`);
    const run = await localEnvironments(source, host).test(testing, paths, runners, onSuite);
    signal.throwIfAborted();
    return storedResult({ ref, version }, run, testing.min_pass_rate);
  } finally {
    scratch.remove();
  }
}

async function findHere(path: string, onOutput: LocalTest["onOutput"]): Promise<Map<string, string>> {
  const { runtimes } = await readPack(corePack);
  const known = runtimes.filter(({ runtime_type }) => runtime_type === "action");
  const found = await findCommands(known, { path, warn: (_fields, message) => onOutput("system", `${message}\n`) });
  return new Map(found.map(({ ref, command }) => [ref, command ?? ""]));
}
