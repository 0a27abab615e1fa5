import { sql } from "drizzle-orm";
import { may, targetOf } from "../access/grants.ts";
import type { Session } from "../access/session.ts";
import { type Db, rows } from "../db/client.ts";
import { ConflictError, InvalidInputError, type Issue } from "../errors.ts";
import { didYouMean } from "../lib/nearest.ts";
import {
  findBroken,
  findCycle,
  findDependents,
  findUnmet,
  type KnownPack,
  refsNeeded,
  type Unmet,
} from "./dependencies.ts";
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
    const message = unmetMessage(each, packs);
    return { ...each, issue: source.issueAt(source.pack.ref, ["dependencies", each.index], message) };
  });

const unmetMessage = ({ needed, found }: Unmet, packs: ReadonlyMap<string, KnownPack>): string =>
  found === null
    ? `there is no pack "${needed.ref}"${didYouMean(needed.ref, [...packs.keys()])}`
    : `expected "${needed.ref}" in a version ${needed.range}, and it has the version ${found}`;

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
 * Lets one transaction at a time change which packs there are and what they need, so that no two let each other's needs go. It must precede the locks of
 * packs, or two transactions could wait for each other.
 */
export async function lockNeeds(db: Db): Promise<void> {
  await db.execute(sql`select pg_advisory_xact_lock(hashtextextended('attune dependencies of packs', 0))`);
}

/**
 * Throws InvalidInputError for what keeps the pack from being loaded. That others lose what they need is passed over if it is forced, and returned. The
 * caller has called `lockNeeds`.
 */
export async function requireNeeded(
  db: Db,
  source: CheckedPack,
  { together, isForced }: { together: readonly CheckedPack[]; isForced: boolean },
): Promise<Issue[]> {
  const { unmet, others, broken } = await findNeedFaults(db, source, together);
  const issues = [...unmet.map(({ issue }) => issue), ...others, ...(isForced ? [] : broken)];
  if (issues.length > 0) throw new InvalidInputError(issues);
  return broken;
}

/** A change of a pack that was made by hand. */
interface HandMade {
  pack: KnownPack;
  /** Its version of before; null: it is new. */
  before: string | null;
  /** Whether its `dependencies` are new. */
  hasNewNeeds: boolean;
}

/**
 * Throws InvalidInputError where a pack made by hand would need what is not there, or others would lose what they need of it. Packs that the session may
 * not read count as missing, and are not named. The caller has called `lockNeeds`.
 */
export async function requireNeededByHand(
  db: Db,
  session: Session,
  { pack, before, hasNewNeeds }: HandMade,
): Promise<void> {
  const all = new Map((await findPacks(db)).map((each) => [each.ref, each])).set(pack.ref, pack);
  const known = new Map([...all].filter(([ref]) => mayRead(session, ref))).set(pack.ref, pack);
  const issues: Issue[] = [];
  if (hasNewNeeds) {
    for (const each of findUnmet(pack, known)) {
      issues.push({ path: `dependencies.${each.index}`, message: unmetMessage(each, known) });
    }
    const cycle = findCycle(pack.ref, all);
    if (cycle) {
      const how = cycle.every((ref) => known.has(ref)) ? `: ${cycle.join(" needs ")}` : "";
      const index = refsNeeded(pack.dependencies).indexOf(cycle[1] ?? "");
      issues.push({ path: `dependencies.${index}`, message: `the packs would depend on each other${how}` });
    }
  }
  const broken = findBroken(pack, before, all.values());
  if (broken.length > 0) {
    const who = dependentsText(session, broken);
    issues.push({
      path: "version",
      message: `${who} it in another version: update ${broken.length === 1 ? "it" : "them"} first, or keep ${before}`,
    });
  }
  if (issues.length > 0) throw new InvalidInputError(issues);
}

/** Throws ConflictError where other packs need the pack. Those that the session may not read are only counted. The caller has called `lockNeeds`. */
export async function refuseNeeded(db: Db, session: Session, ref: string): Promise<void> {
  const dependents = findDependents(ref, await findPacks(db));
  if (dependents.length === 0) return;
  const who = dependentsText(session, dependents);
  throw new ConflictError(
    dependents.length === 1
      ? `${who} the pack "${ref}": delete it first, or update it to a version that does without.`
      : `${who} the pack "${ref}": delete them first, or update them to versions that do without.`,
  );
}

const findPacks = async (db: Db) =>
  await rows<KnownPack>(
    db,
    sql`select ref, version, to_jsonb(dependencies) as dependencies from attune.pack order by ref`,
  );

const mayRead = (session: Session, ref: string) => may(session, "pack", "read", targetOf(ref));

/** Returns the dependents and a verb, such as `"app" 1.0.0 (lib@^1) and 2 other packs need`. */
function dependentsText(session: Session, dependents: readonly { dependent: KnownPack; needs: string }[]): string {
  const named = dependents.filter(({ dependent }) => mayRead(session, dependent.ref));
  const names = named.map(({ dependent, needs }) => `"${dependent.ref}" ${dependent.version} (${needs})`);
  const others = dependents.length - named.length;
  if (others > 0)
    names.push(`${others} ${names.length > 0 ? "other " : ""}${others === 1 ? "pack" : "packs"} that you may not read`);
  const list = names.length > 1 ? `${names.slice(0, -1).join(", ")} and ${names.at(-1)}` : (names[0] ?? "");
  return `${list} ${dependents.length === 1 ? "needs" : "need"}`;
}
