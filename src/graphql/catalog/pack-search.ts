import { type IndexedPack, searchPacks } from "../../catalog/pack-search.ts";
import { invalid } from "../../errors.ts";
import { type KnownIndex, shownAddress } from "../../worker/install/index-cache.ts";
import { builder } from "../kit/builder.ts";
import type { Context } from "../kit/context.ts";

const most = 100;
const longest = 200;

interface Found extends Omit<IndexedPack, "index"> {
  index: string;
  installedVersion: string | null;
}

interface Search {
  totalCount: number;
  packs: Found[];
  indexes: KnownIndex[];
}

const IndexedPackType = builder.objectRef<Found>("IndexedPack").implement({
  description: "A pack of an index, which `installPack` installs by its ref.",
  fields: (t) => ({
    ref: t.exposeString("ref", { description: "Its ref." }),
    label: t.exposeString("label", { description: "Its display name." }),
    description: t.exposeString("description", { nullable: true, description: "What it is for." }),
    tags: t.exposeStringList("tags", { description: "Its keywords." }),
    version: t.exposeString("version", { description: "Its highest version." }),
    versions: t.exposeStringList("versions", { description: "All versions that the index has, the highest first." }),
    index: t.exposeString("index", { description: "The address of the first index that has it." }),
    installedVersion: t.exposeString("installedVersion", {
      nullable: true,
      description:
        "The version of the pack with this ref in this installation; null if there is none, or you may not read it.",
    }),
  }),
});

const PackIndexType = builder.objectRef<KnownIndex>("PackIndex").implement({
  description: "An index that ATTUNE__PACKS__INDEXES names, and how current what is known of it is.",
  fields: (t) => ({
    address: t.string({
      description: "Its address, without the query.",
      resolve: ({ address }) => shownAddress(address),
    }),
    checkedAt: t.field({
      type: "DateTime",
      nullable: true,
      description: "When its server last said that this is its content; null: it was never read.",
      resolve: ({ checkedAt }) => checkedAt,
    }),
    isStale: t.boolean({
      description: "Whether it could not be asked for a newer content, so that an older one was searched, or none.",
      resolve: ({ fault }) => fault !== null,
    }),
    fault: t.exposeString("fault", { nullable: true, description: "Why it could not be asked." }),
    packCount: t.int({
      nullable: true,
      description: "The number of its packs, each version counted; null: it was never read.",
      resolve: ({ index }) => index?.packs.length ?? null,
    }),
  }),
});

const PackSearch = builder.objectRef<Search>("PackSearch").implement({
  description: "What a search in the indexes has found.",
  fields: (t) => ({
    packs: t.field({
      type: [IndexedPackType],
      description: "The packs, the best first.",
      resolve: ({ packs }) => packs,
    }),
    totalCount: t.exposeInt("totalCount", { description: "How many there are without the limit of `first`." }),
    indexes: t.field({
      type: [PackIndexType],
      description: "The indexes in their order.",
      resolve: ({ indexes }) => indexes,
    }),
  }),
});

async function search({ text, first }: { text: string; first: number }, { db, indexes }: Context): Promise<Search> {
  if (first < 0 || first > most) throw invalid("first", `must be from 0 to ${most}`);
  if (text.length > longest) throw invalid("text", `must have at most ${longest} characters`);
  const known = (await indexes?.read(AbortSignal.timeout(60_000))) ?? [];
  const found = searchPacks(
    known.map(({ index }) => index ?? { packs: [] }),
    text,
  );
  const page = found.slice(0, first);
  const refs = page.map(({ ref }) => ref);
  const installed = await db.query.packs.findMany({
    where: { ref: { in: refs } },
    columns: { ref: true, version: true },
  });
  const versions = new Map(installed.map(({ ref, version }) => [ref, version]));
  return {
    totalCount: found.length,
    indexes: known,
    packs: page.map((pack) => ({
      ...pack,
      index: shownAddress(known[pack.index]?.address ?? ""),
      installedVersion: versions.get(pack.ref) ?? null,
    })),
  };
}

builder.queryField("searchPacks", (t) =>
  t.field({
    type: PackSearch,
    nullable: true,
    authScopes: { may: "pack:read" },
    description:
      "Searches the indexes that ATTUNE__PACKS__INDEXES names for packs to install: every word must be in a name, a label, a keyword or a description. A pack is that of the first index that has it. Costs as much as a page of `first` packs.",
    complexity: ({ first }) => ({ field: 20, multiplier: Math.max(1, first ?? 20) }),
    args: {
      text: t.arg.string({
        required: true,
        description: `Words, at most ${longest} characters; none finds every pack.`,
      }),
      first: t.arg.int({ defaultValue: 20, description: `How many packs, at most ${most}.` }),
    },
    resolve: (_root, { text, first }, ctx) => search({ text, first: first ?? 20 }, ctx),
  }),
);
