import semver from "semver";
import type { PackIndex } from "./pack-index.ts";

/** A pack of an index that a search has found. */
export interface IndexedPack {
  ref: string;
  label: string;
  description: string | null;
  tags: string[];
  /** The highest version, and all of them, the highest first. Versions such as 2.0.0-beta.1 come after the others. */
  version: string;
  versions: string[];
  /** The position of its index. */
  index: number;
}

const mostWords = 20;
/** Where a word may be, the most telling place first: its rank adds to those of the other words. */
const places = [
  ({ ref }: IndexedPack, word: string) => ref === word,
  ({ ref }: IndexedPack, word: string) => ref.includes(word),
  ({ tags }: IndexedPack, word: string) => tags.some((tag) => tag.toLowerCase() === word),
  ({ label }: IndexedPack, word: string) => label.toLowerCase().includes(word),
  ({ tags }: IndexedPack, word: string) => tags.some((tag) => tag.toLowerCase().includes(word)),
  ({ description }: IndexedPack, word: string) => description?.toLowerCase().includes(word) ?? false,
];

/**
 * Returns the packs that have every word of the text in their names, labels, keywords or descriptions, in whatever case; without a word all of them. A
 * pack is that of the first index that has it, as an installation takes it. The best come first, then those of earlier indexes.
 */
export function searchPacks(indexes: readonly PackIndex[], text: string): IndexedPack[] {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean).slice(0, mostWords);
  const rankOf = (pack: IndexedPack) => words.reduce((sum, word) => sum + placeOf(pack, word), 0);
  return packsOf(indexes)
    .map((pack) => ({ pack, rank: rankOf(pack) }))
    .filter(({ rank }) => Number.isFinite(rank))
    .sort((a, b) => a.rank - b.rank || a.pack.index - b.pack.index || (a.pack.ref < b.pack.ref ? -1 : 1))
    .map(({ pack }) => pack);
}

function placeOf(pack: IndexedPack, word: string): number {
  const place = places.findIndex((holds) => holds(pack, word));
  return place === -1 ? Number.POSITIVE_INFINITY : place;
}

function packsOf(indexes: readonly PackIndex[]): IndexedPack[] {
  const found = new Map<string, IndexedPack>();
  for (const [index, { packs }] of indexes.entries()) {
    const here = new Map<string, PackIndex["packs"]>();
    for (const each of packs) {
      const others = here.get(each.ref);
      if (others) others.push(each);
      else here.set(each.ref, [each]);
    }
    for (const [ref, entries] of here) {
      if (found.has(ref)) continue;
      const [newest, ...older] = entries.sort((a, b) => byVersion(a.version, b.version));
      if (!newest) continue;
      const { label, version, description = null, tags = [] } = newest;
      const versions = [version, ...older.map((each) => each.version)];
      found.set(ref, { ref, label, description, tags, version, versions, index });
    }
  }
  return [...found.values()];
}

const isEarly = (version: string) => semver.prerelease(version) !== null;
const byVersion = (a: string, b: string) => Number(isEarly(a)) - Number(isEarly(b)) || semver.rcompare(a, b);
