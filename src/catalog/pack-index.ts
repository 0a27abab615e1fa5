import semver from "semver";
import { z } from "zod";

const url = z.url().max(2000);
const source = z.discriminatedUnion("type", [
  z.strictObject({
    type: z.literal("archive"),
    url,
    checksum: z.string().regex(/^[0-9a-f]{64}$/, "expected a SHA-256 in 64 lower-case hexadecimal digits"),
  }),
  z.strictObject({ type: z.literal("git"), url, ref: z.string().min(1).max(200) }),
]);

const entry = z.strictObject({
  ref: z.string().regex(/^[a-z][a-z0-9_-]{1,99}$/),
  label: z.string().max(200),
  version: z.string().refine((text) => semver.valid(text) === text, 'expected a semantic version such as "1.2.3"'),
  description: z.string().max(10_000).nullish(),
  tags: z.array(z.string().max(200)).max(100).optional(),
  /** Where its files are; the first one is taken. */
  install_sources: z.array(source).min(1).max(10),
});

/** An index of packs: what can be installed by name, each version as an entry of its own. */
export const packIndex = z.strictObject({ packs: z.array(entry).max(10_000) });
export type PackIndex = z.output<typeof packIndex>;
type IndexEntry = z.output<typeof entry>;

/** A pack by name, such as `greetings` or `greetings@^1.2`: the highest version in the range. */
export interface PackName {
  ref: string;
  range: string;
}

/** Returns the name and the range of versions that the text means; null for anything else. */
export function readPackName(text: string): PackName | null {
  const [, ref = "", range = "*"] = /^([a-z][a-z0-9_-]{1,99})(?:@(.{1,100}))?$/.exec(text) ?? [];
  return ref !== "" && semver.validRange(range) !== null ? { ref, range } : null;
}

/** Returns the entry with the highest version in the range; null if the index has none. Versions such as 2.0.0-beta.1 must be asked for. */
export function findEntry({ packs }: PackIndex, { ref, range }: PackName): IndexEntry | null {
  const found = packs.filter((each) => each.ref === ref && semver.satisfies(each.version, range));
  return found.sort((a, b) => semver.rcompare(a.version, b.version))[0] ?? null;
}

/** Returns the versions of a pack in the index, the highest first. */
export const versionsOf = ({ packs }: PackIndex, ref: string): string[] =>
  packs
    .filter((each) => each.ref === ref)
    .map(({ version }) => version)
    .sort(semver.rcompare);
