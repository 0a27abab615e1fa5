import type { CheckedPack } from "../../catalog/read.ts";
import type { Testing } from "../../catalog/testing.ts";
import { executionVariable } from "../../lib/action-processes.ts";
import type { RunResult } from "../../pack-test/result.ts";
import { buildEnvironment, createBuildLog, withoutCredentials } from "../../process/environments/build.ts";
import { EnvironmentError } from "../../process/environments/environments.ts";
import { recipes, type Setting } from "../../process/environments/recipe.ts";
import type { RunAs } from "../../process/start.ts";
import { entrance } from "./enter.ts";
import { prefixed } from "./prefix.ts";
import { type OnSuite, runTests } from "./run.ts";

/** The host of a pack that is not loaded, for as long as it is examined. */
export interface LocalHost {
  /** The command of each runtime on this host. */
  interpreters: ReadonlyMap<string, string>;
  base: Readonly<Record<string, string>>;
  /** The variables of builds. */
  buildBase: Readonly<Record<string, string>>;
  /** The variables of tests, besides `base`. */
  variables: Readonly<Record<string, string>>;
  runAs: RunAs | null;
  /** The directory for environments and copies. */
  scratch: string;
  signal: AbortSignal;
  onOutput(stream: "stdout" | "stderr" | "system", text: string): void;
}

type Source = Pick<CheckedPack, "path" | "digest" | "environments" | "pack">;

/** A pack's environments on this host, in the scratch directory. */
export interface LocalEnvironments {
  /** Builds all of them. Throws EnvironmentError. */
  build(): Promise<void>;
  /** Runs the tests with these runners; null: with all of them. */
  test(
    testing: Testing,
    paths: ReadonlySet<string>,
    runners: readonly string[] | null,
    onSuite: OnSuite,
  ): Promise<RunResult>;
}

/** Returns the environments of a pack that is not loaded. Each is built when it is first needed. */
export function localEnvironments(source: Source, host: LocalHost): LocalEnvironments {
  const { interpreters, base, runAs, scratch, signal } = host;
  const built = new Map<string, Promise<Setting>>();
  const find = (runtime: string) => {
    const building = built.get(runtime) ?? build(source, runtime, host);
    built.set(runtime, building);
    return building;
  };
  return {
    build: async () => void (await Promise.all(Object.keys(source.environments).map(find))),
    test: async (testing, paths, runners, onSuite) => {
      const variables = { ...base, ...host.variables, ATTUNE_PACK_REF: source.pack.ref };
      const suites = {
        ...{ release: source.path, paths, testing, scratch, signal, runAs },
        variables: { ...variables, PYTHONUNBUFFERED: "1", PYTHONDONTWRITEBYTECODE: "1" },
        enter: entrance({ interpreters, base, environments: source.environments, find }),
        onOutput: prefixed(host.onOutput),
      };
      return await runTests(suites, runners, onSuite);
    },
  };
}

/** Builds an environment. What its programs write goes to the host's output line by line. */
async function build({ path, digest }: Source, runtime: string, host: LocalHost): Promise<Setting> {
  const { interpreters, base, buildBase, runAs, scratch, signal } = host;
  const recipe = recipes.get(runtime);
  const interpreter = interpreters.get(runtime);
  if (!recipe || interpreter === undefined) throw new EnvironmentError(`This host has no ${runtime}.`);
  const site = { interpreter, release: path, path: `${scratch}/${runtime}` };
  const log = createBuildLog();
  const write = prefixed((_stream, lines) => host.onOutput("stdout", withoutCredentials(lines)));
  const add = (text: string) => {
    log.add(text);
    write(runtime, "stdout", text);
  };
  // By it the next attempt finds, and ends, what a lost worker has left running.
  const owner = host.variables[executionVariable] ?? "";
  const builder = { base, buildBase, runAs };
  const error = await buildEnvironment({ owner, recipe, site }, builder, { log: { ...log, add }, signal });
  if (error === null) return await recipe.enter(site, digest);
  throw new EnvironmentError(
    `The environment for ${runtime} could not be built: ${error} The end of its log:\n${log.text().slice(-2000)}`,
  );
}
