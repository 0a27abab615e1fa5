import type { Context } from "../context.ts";
import { countOption, define, type Group, groupOf } from "../define.ts";
import { Failure } from "../failure.ts";

const columns = [
  ["REF", "ref"],
  ["VERSION", "version"],
  ["INSTALLED", "installedVersion"],
  ["LABEL", "label"],
  ["TAGS", "tags"],
  ["DESCRIPTION", "description"],
] as const;

interface Search {
  totalCount: number;
  packs: object[];
  indexes: { address: string; checkedAt: string | null; fault: string | null }[];
}

const document = `query($text: String!, $first: Int) { searchPacks(text: $text, first: $first) { totalCount
  packs { ref version versions installedVersion label tags description index }
  indexes { address checkedAt isStale fault packCount } } }`;

/** Adds `pack search`. */
export function addSearch(above: Group): void {
  define<{ limit?: number }>(groupOf(above, "pack"), {
    name: "search [words...]",
    description:
      "find packs to install in the indexes of the server by their names, labels, keywords and descriptions; without a word it lists all",
    options: [countOption("--limit <count>", "how many to show, at most 100; 20 by default")],
    examples: ["search greetings", "search http client --limit 5 --output json"],
    run: search,
  });
}

async function search(context: Context, words: string[], { limit }: { limit?: number }): Promise<void> {
  const variables = { text: words.join(" "), first: limit ?? 20 };
  const { searchPacks: found } = await context.ask<{ searchPacks: Search | null }>(document, variables);
  if (!found) throw new Failure("You may not read packs.");
  const { indexes, packs, totalCount } = found;
  if (indexes.length === 0) throw new Failure("The server has no index of packs: ATTUNE__PACKS__INDEXES names them.");
  for (const { address, checkedAt, fault } of indexes) {
    if (fault === null) continue;
    const instead = checkedAt === null ? "it is left out" : `what it had at ${checkedAt} is searched`;
    context.note(`The index ${address} cannot be read (${fault}): ${instead}.`);
  }
  if (indexes.every(({ checkedAt }) => checkedAt === null)) throw new Failure("No index can be read.");
  if (context.options.output !== "table") return await context.printValue(found);
  await context.printRows(packs, columns, "No pack has all of these words.");
  if (packs.length < totalCount) context.note(`${packs.length} of ${totalCount} are shown; --limit shows more.`);
}
