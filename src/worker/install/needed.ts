import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import type { PackName } from "../../catalog/pack-index.ts";
import type { CheckedPack } from "../../catalog/read.ts";
import { ConflictError, InvalidInputError, type Issue } from "../../errors.ts";
import { EnvironmentError } from "../../process/environments/environments.ts";
import type { HostEnvironment, Run } from "../runtimes/runtime.ts";
import { SourceError } from "./archive.ts";
import { examine, InstallError, isForced, type Prepared, type Site, tryOut } from "./prepare.ts";
import { withCommands } from "./registry.ts";
import { stepsWithin } from "./steps.ts";

/** How many packs one installation brings at most. */
const mostPacks = 50;

/** Throws InvalidInputError when other packs are missing, or would lack this one, before its environments are built. */
export async function requireNeeds(run: Run, { readIndexes }: Site, checked: CheckedPack): Promise<void> {
  const { unmet, others, broken } = await run.installs.needs(checked, []);
  refuse([...(await withCommands(unmet, readIndexes)), ...others, ...unforced(run, broken)]);
}

/**
 * Prepares what the pack needs, and what that needs, from the indexes: each in the highest version of the range, before those that need it. Versions
 * are chosen in that order and not again, so that packs may be refused that would fit in others. Throws the errors of an installation, each with the name
 * of its pack.
 */
export async function prepareNeeded(
  run: Run,
  host: HostEnvironment,
  { site, checked, say }: { site: Site; checked: CheckedPack; say(message: string): void },
): Promise<Prepared[]> {
  const { installs } = run;
  const together: CheckedPack[] = [checked];
  const prepared: Prepared[] = [];
  const prepare = async (name: PackName): Promise<void> => {
    if (together.length > mostPacks) throw new SourceError(`More than ${mostPacks} packs would be installed.`);
    const scratch = join(site.scratch, `needed-${together.length}`);
    await mkdir(scratch);
    const own = { ...site, scratch, steps: stepsWithin(name.ref, say) };
    const found = await examine(run, host, own, { type: "index", ...name });
    const previous = (await installs.find(name.ref))?.version ?? null;
    together.push(found.checked);
    await prepareAll(found.checked);
    const tests = await tryOut(run, host, own, found.checked);
    prepared.push({ ...found, tests, previous });
  };
  const prepareAll = async (source: CheckedPack): Promise<void> => {
    const { unmet, others, broken } = await installs.needs(source, together);
    refuse([...others, ...unforced(run, broken)]);
    for (const { needed } of unmet) {
      // Another one may have brought it meanwhile.
      if (together.some(({ pack }) => pack.ref === needed.ref)) continue;
      await naming(needed.ref, () => prepare(needed));
    }
    refuse((await installs.needs(source, together)).unmet.map(({ issue }) => issue));
  };
  await prepareAll(checked);
  return prepared;
}

function refuse(issues: readonly Issue[]): void {
  if (issues.length > 0) throw new InvalidInputError([...issues]);
}

const unforced = ({ claim }: Run, broken: readonly Issue[]): Issue[] =>
  isForced(claim) ? [] : broken.map(({ path, message }) => ({ path, message: `${message}, or install with --force` }));

/** Lets refusals name the pack that they are about. */
async function naming<T>(ref: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof InvalidInputError) {
      throw new InvalidInputError(error.issues.map(({ path, message }) => ({ path: `${ref}: ${path}`, message })));
    }
    const message = error instanceof Error ? `${ref}: ${error.message}` : "";
    if (error instanceof SourceError) throw new SourceError(message);
    if (error instanceof EnvironmentError) throw new EnvironmentError(message);
    if (error instanceof ConflictError) throw new ConflictError(message);
    if (error instanceof InstallError) throw new InstallError(error.code, message, error.detail);
    throw error;
  }
}
