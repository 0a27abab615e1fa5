import semver from "semver";
import { z } from "zod";
import { type PackName, readPackName } from "./pack-index.ts";

const shape = /^[a-z][a-z0-9_-]{1,99}(@.*)?$/s;

/** An item of `dependencies`: the ref of a pack, with a range of its versions where not every version will do, as in `greetings@^1.2`. */
export const dependency = z
  .string()
  .max(201)
  .regex(shape, 'expected a pack ref such as "my_pack", or one with a range of versions such as "my_pack@^1.2"')
  .superRefine((text, context) => {
    if (!shape.test(text) || readPackName(text) !== null) return;
    const range = text.slice(text.indexOf("@") + 1);
    const message = `"${range}" is no range of versions: expected one such as "^1.2", "~1.2.3" or ">=1 <3"`;
    context.addIssue({ code: "custom", message });
  });

/** A pack as those see it that need it. */
export interface KnownPack {
  ref: string;
  version: string;
  dependencies: readonly string[];
}

/** Returns what an item of `dependencies` means. What is no such item, as an earlier version may have stored, means a pack with that text as its ref. */
export const neededOf = (text: string): PackName => readPackName(text) ?? { ref: text, range: "*" };

/** Returns the refs of the packs that a pack needs. */
export const refsNeeded = (dependencies: readonly string[]): string[] => dependencies.map((text) => neededOf(text).ref);

/** Returns whether a version is in the range. Without a range every version is; one such as 2.0.0-beta.1 must be asked for. */
export const isInRange = (version: string, range: string): boolean => range === "*" || semver.satisfies(version, range);

/** Something that a pack needs and that is not there. */
export interface Unmet {
  /** The index in its `dependencies`. */
  index: number;
  needed: PackName;
  /** The version that is there instead; null: there is none. */
  found: string | null;
}

/** Returns what the pack needs and does not have among these packs. */
export function findUnmet({ dependencies }: KnownPack, packs: ReadonlyMap<string, KnownPack>): Unmet[] {
  return dependencies.flatMap((text, index) => {
    const needed = neededOf(text);
    const found = packs.get(needed.ref)?.version ?? null;
    return found !== null && isInRange(found, needed.range) ? [] : [{ index, needed, found }];
  });
}

/** Returns the items of other packs that a pack met in its version of before, and does not meet in the new one, such as `app 1.0.0 needs lib@^1`. */
export function findBroken(
  { ref, version }: KnownPack,
  before: string | null,
  packs: Iterable<KnownPack>,
): { dependent: KnownPack; needs: string }[] {
  if (before === null) return [];
  return findDependents(ref, packs).filter(({ needs }) => {
    const { range } = neededOf(needs);
    return isInRange(before, range) && !isInRange(version, range);
  });
}

/** Returns the items of other packs' `dependencies` that name the pack. */
export const findDependents = (ref: string, packs: Iterable<KnownPack>): { dependent: KnownPack; needs: string }[] =>
  [...packs].flatMap((dependent) =>
    dependent.ref === ref
      ? []
      : dependent.dependencies.filter((text) => neededOf(text).ref === ref).map((needs) => ({ dependent, needs })),
  );

/** Returns the way from a pack over its dependencies back to it, such as `["a", "b", "a"]`; null: there is none. */
export function findCycle(ref: string, packs: ReadonlyMap<string, KnownPack>): string[] | null {
  const seen = new Set<string>();
  const walk = (at: string, way: readonly string[]): string[] | null => {
    for (const next of refsNeeded(packs.get(at)?.dependencies ?? [])) {
      if (next === ref) return [...way, next];
      if (seen.has(next)) continue;
      seen.add(next);
      const found = walk(next, [...way, next]);
      if (found) return found;
    }
    return null;
  };
  return walk(ref, [ref]);
}
