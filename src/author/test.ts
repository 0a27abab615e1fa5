import { readFiles } from "../catalog/files.ts";
import { readPack } from "../catalog/read.ts";
import { InvalidInputError, invalid } from "../errors.ts";
import { actionVariables, buildVariables } from "../lib/action-variables.ts";
import type { JsonObject } from "../lib/json.ts";
import { didYouMean } from "../lib/nearest.ts";
import { createScratch, removeLeftScratch } from "../lib/scratch.ts";
import { type Suite, storedResult } from "../pack-test/result.ts";
import { buildEnvironment, createBuildLog } from "../process/environments/build.ts";
import { EnvironmentError } from "../process/environments/environments.ts";
import { recipes, type Setting } from "../process/environments/recipe.ts";
import { findCommands } from "../process/interpreters.ts";
import { entrance } from "../worker/pack-test/enter.ts";
import { prefixed } from "../worker/pack-test/prefix.ts";
import { runTests } from "../worker/pack-test/run.ts";
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
    const find = builder({
      source,
      interpreters,
      base,
      buildBase: buildVariables(env),
      scratch: scratch.directory,
      signal,
    });
    const host = {
      ...{ release: source.path, paths, testing, scratch: scratch.directory, signal, runAs: null },
      variables: { ...base, ATTUNE_PACK_REF: ref, PYTHONUNBUFFERED: "1", PYTHONDONTWRITEBYTECODE: "1" },
      enter: entrance({ interpreters, base, environments: source.environments, find }),
      onOutput: prefixed(onOutput),
    };
    const onSuite = (name: string, ended: Suite | null) =>
      onOutput("system", ended ? `${name}: ended\n` : `${name}: started\n`);
    const run = await runTests(host, runners, onSuite);
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

interface Builder {
  source: { path: string; digest: string };
  interpreters: ReadonlyMap<string, string>;
  base: Readonly<Record<string, string>>;
  buildBase: Readonly<Record<string, string>>;
  scratch: string;
  signal: AbortSignal;
}

/** Returns what builds each environment once, in the scratch directory. */
function builder({ source, interpreters, base, buildBase, scratch, signal }: Builder) {
  const built = new Map<string, Promise<Setting>>();
  const build = async (runtime: string): Promise<Setting> => {
    const recipe = recipes.get(runtime);
    const interpreter = interpreters.get(runtime);
    if (!recipe || interpreter === undefined) throw new EnvironmentError(`This host has no ${runtime}.`);
    const site = { interpreter, release: source.path, path: `${scratch}/${runtime}` };
    const log = createBuildLog();
    const error = await buildEnvironment({ id: "0", recipe, site }, { base, buildBase, runAs: null }, { log, signal });
    if (error !== null) {
      throw new EnvironmentError(
        `The environment for ${runtime} could not be built: ${error} The end of its log:\n${log.text().slice(-2000)}`,
      );
    }
    return await recipe.enter(site, source.digest);
  };
  return (runtime: string) => {
    const building = built.get(runtime) ?? build(runtime);
    built.set(runtime, building);
    return building;
  };
}
