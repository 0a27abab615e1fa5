import type { KnownPack } from "../catalog/dependencies.ts";
import { circleIssue, knownAs, unmetIssues } from "../catalog/needs.ts";
import { checkRules, type Known } from "../catalog/pack-rules.ts";
import { type CheckedPack, readPack } from "../catalog/read.ts";
import { InvalidInputError, type Issue } from "../errors.ts";
import { ownPath } from "../lib/program.ts";
import { packRules } from "../rule/check.ts";

/** What a check of a pack's files found. */
export interface PackCheck {
  directory: string;
  ref: string | null;
  version: string | null;
  /** Every fault with its place in the files, such as `rules/greet.yaml:7:3 conditions`. */
  issues: Issue[];
}

/** The directory of the pack that every installation has. */
export const corePack = ownPath("packs/core");

/**
 * Checks the files of packs as a server does that loads them together, without one. Rules and dependencies are checked against the packs themselves, the
 * core pack and the packs in the directories `others`. Throws InvalidInputError for faults of `others`.
 */
export async function checkPacks(directories: readonly string[], others: readonly string[] = []): Promise<PackCheck[]> {
  const read: { directory: string; source: CheckedPack | null; issues: Issue[] }[] = [];
  for (const directory of directories) {
    const found = await readPack(directory).then(
      (source) => ({ source, issues: [] }),
      (error: unknown) => {
        if (!(error instanceof InvalidInputError)) throw error;
        return { source: null, issues: error.issues };
      },
    );
    read.push({ directory, ...found });
  }
  const helping = await Promise.all([corePack, ...others].map((each) => readPack(each)));
  const sources = read.flatMap(({ source }) => source ?? []);
  const world: World = {
    packs: [...sources, ...helping.filter(({ pack }) => sources.every((source) => source.pack.ref !== pack.ref))],
    isWhole: sources.length === directories.length,
  };
  return read.map(({ directory, source, issues }) => {
    const { ref = null, version = null } = source?.pack ?? {};
    return { directory, ref, version, issues: source ? [...issues, ...findIssues(source, world)] : issues };
  });
}

/** The packs that a check knows. */
interface World {
  packs: readonly CheckedPack[];
  /** Whether all could be read: otherwise one that is missing may be one of those with faults. */
  isWhole: boolean;
}

function findIssues(source: CheckedPack, { packs, isWhole }: World): Issue[] {
  const { ref, dependencies } = source.pack;
  const twin = packs.find((other) => other !== source && other.pack.ref === ref);
  if (twin) return [source.issueAt(ref, ["ref"], `is the ref of the pack in ${twin.path} too`)];
  if (source.rules.length === 0 && dependencies.length === 0) return [];
  const known = new Map<string, KnownPack>(packs.map((each) => [each.pack.ref, knownAs(each)]));
  const unmet = unmetIssues(source, known);
  const absent = unmet.filter(({ found }) => found === null);
  const issues = unmet.filter(({ found }) => found !== null).map(({ issue }) => issue);
  const circle = circleIssue(source, known);
  if (circle) issues.push(circle);
  if (absent.length > 0 && !isWhole) return issues;
  for (const { needed, issue } of absent) {
    const message = `the pack "${needed.ref}" is needed for the check: name its directory too, or by --with`;
    issues.push({ ...issue, message });
  }
  try {
    checkRules(source, knownIn(packs), packRules);
    return issues;
  } catch (error) {
    if (!(error instanceof InvalidInputError)) throw error;
    return [...issues, ...error.issues];
  }
}

function knownIn(packs: readonly CheckedPack[]): Known {
  const actions = packs.flatMap((pack) => pack.actions);
  const triggers = packs.flatMap((pack) => pack.triggers);
  return {
    actions: new Map(
      actions.map(({ ref, parameters }) => [ref, { id: ref, paramSchema: parameters, secretSchemas: [parameters] }]),
    ),
    triggers: new Map(triggers.map(({ ref, parameters }) => [ref, { id: ref, paramSchema: parameters }])),
  };
}
