import { EnvironmentError } from "../../process/environments/environments.ts";
import { recipes, type Setting, variablesIn } from "../../process/environments/recipe.ts";
import type { SuiteHost } from "./suite.ts";

/** The host and the environments of a release. */
interface Site {
  /** The command of each runtime on this host. */
  interpreters: ReadonlyMap<string, string>;
  base: Readonly<Record<string, string>>;
  /** The checksums of the release's environments, by runtime. */
  environments: Readonly<Record<string, string>>;
  /** Returns how programs are started in one of them. Throws EnvironmentError. */
  find(runtime: string, checksum: string): Promise<Setting>;
}

/**
 * Returns how programs are started in a runtime: in its own environment, or, where it has none, with the programs of all environments, because a
 * shell's tests may start any program of the pack.
 */
export function entrance({ interpreters, base, environments, find }: Site): SuiteHost["enter"] {
  return async (runtime) => {
    const interpreter = runtime === null ? "" : interpreters.get(runtime);
    if (interpreter === undefined) throw new EnvironmentError(`This host has no ${runtime}.`);
    const isOwn = runtime !== null && recipes.has(runtime);
    const needed = Object.entries(environments).filter(([ref]) => !isOwn || ref === runtime);
    const settings = await Promise.all(needed.map((each) => find(...each)));
    return {
      command: isOwn ? (settings[0]?.command ?? interpreter) : interpreter,
      variables: variablesIn(settings, base),
      links: Object.assign({}, ...settings.map(({ links }) => links)),
    };
  };
}
