import { sql } from "drizzle-orm";
import { type Db, rows } from "../db/client.ts";
import { InvalidInputError, type Issue } from "../errors.ts";
import { didYouMean } from "../lib/nearest.ts";
import { findBroken, findCycle, findUnmet, type KnownPack, refsNeeded, type Unmet } from "./dependencies.ts";
import { runnerTypes } from "./manifest.ts";
import type { CheckedPack } from "./read.ts";

/** What keeps a pack from being loaded beside those that are there. */
export interface NeedFaults {
  /** What it needs of other packs and is not there. */
  unmet: (Unmet & { issue: Issue })[];
  /** Runtimes that it needs and that do not exist, and a circle of packs. */
  others: Issue[];
  /** What other packs need of it and would lose. */
  broken: Issue[];
}

/** Returns the pack as others see it. */
export const knownAs = ({ pack: { ref, version, dependencies } }: CheckedPack): KnownPack => ({
  ...{ ref, version, dependencies },
});

/** Returns what the pack needs of packs that are not there, each fault at its place in the pack's file. */
export const unmetIssues = (source: CheckedPack, packs: ReadonlyMap<string, KnownPack>): NeedFaults["unmet"] =>
  findUnmet(knownAs(source), packs).map((each) => {
    const { index, needed, found } = each;
    const message =
      found === null
        ? `there is no pack "${needed.ref}"${didYouMean(needed.ref, [...packs.keys()])}`
        : `expected "${needed.ref}" in a version ${needed.range}, and it has the version ${found}`;
    return { ...each, issue: source.issueAt(source.pack.ref, ["dependencies", index], message) };
  });

/** Returns the fault of a pack that needs itself by way of others, at its place in the pack's file; null: it does not. */
export function circleIssue(source: CheckedPack, packs: ReadonlyMap<string, KnownPack>): Issue | null {
  const { ref, dependencies } = source.pack;
  const cycle = findCycle(ref, packs);
  if (cycle === null) return null;
  const at = ["dependencies", refsNeeded(dependencies).indexOf(cycle[1] ?? "")];
  return source.issueAt(ref, at, `the packs would depend on each other: ${cycle.join(" needs ")}`);
}

/**
 * Returns what keeps a pack from being loaded. Packs that are loaded together with it count as they will be, so that packs that need each other in
 * new versions can follow one another.
 */
export async function findNeedFaults(
  db: Db,
  source: CheckedPack,
  together: readonly CheckedPack[] = [],
): Promise<NeedFaults> {
  const { pack: manifest, runtimes, issueAt } = source;
  const found = await rows<{ kind: string; ref: string; version: string; dependencies: string[] }>(
    db,
    sql`select 'pack' as kind, ref, version, to_jsonb(dependencies) as dependencies from attune.pack
      union all select 'runtime', ref, '', '[]' from attune.runtime`,
  );
  const packs = new Map<string, KnownPack>();
  for (const { kind, ...pack } of found) if (kind === "pack") packs.set(pack.ref, pack);
  // A row that this transaction has inserted has the new version.
  const before = packs.get(manifest.ref)?.version ?? null;
  for (const each of [...together, source]) packs.set(each.pack.ref, knownAs(each));
  const known = [...runnerTypes, ...found.filter(({ kind }) => kind === "runtime").map(({ ref }) => ref)];
  known.push(...runtimes.map(({ ref }) => ref));
  const others = manifest.runtime_deps.flatMap((name, index) =>
    known.includes(name)
      ? []
      : [
          issueAt(
            manifest.ref,
            ["runtime_deps", index],
            `there is no runtime or runner type "${name}"${didYouMean(name, known)}`,
          ),
        ],
  );
  const circle = circleIssue(source, packs);
  const broken = findBroken(knownAs(source), before, packs.values()).map(({ dependent, needs }) =>
    issueAt(
      manifest.ref,
      ["version"],
      `the pack "${dependent.ref}" ${dependent.version} needs ${needs}: update it first, or keep "${manifest.ref}" ${before}`,
    ),
  );
  return { unmet: unmetIssues(source, packs), others: circle ? [...others, circle] : others, broken };
}

/**
 * Throws InvalidInputError for what keeps the pack from being loaded. That others lose what they need is passed over if it is forced, and returned. One
 * transaction at a time gets through, so that no two let each other's needs go.
 */
export async function requireNeeded(
  db: Db,
  source: CheckedPack,
  { together, isForced }: { together: readonly CheckedPack[]; isForced: boolean },
): Promise<Issue[]> {
  await db.execute(sql`select pg_advisory_xact_lock(hashtextextended('attune dependencies of packs', 0))`);
  const { unmet, others, broken } = await findNeedFaults(db, source, together);
  const issues = [...unmet.map(({ issue }) => issue), ...others, ...(isForced ? [] : broken)];
  if (issues.length > 0) throw new InvalidInputError(issues);
  return broken;
}
