import { checkRules, type Known } from "../catalog/pack-rules.ts";
import { type CheckedPack, readPack } from "../catalog/read.ts";
import { InvalidInputError, type Issue } from "../errors.ts";
import { ownPath } from "../lib/program.ts";
import { packRules } from "../rule/check.ts";

/** What a check of a pack's files found. */
export interface PackCheck {
  ref: string | null;
  version: string | null;
  /** Every fault with its place in the files, such as `rules/greet.yaml:7:3 conditions`. */
  issues: Issue[];
}

/** The directory of the pack that every installation has. */
export const corePack = ownPath("packs/core");

/**
 * Checks the files of a pack as a server does that loads them, without one. Rules are checked against the pack's own actions and triggers and
 * those of the core pack and of the packs in the directories `others`.
 */
export async function checkPack(directory: string, others: readonly string[] = []): Promise<PackCheck> {
  try {
    const source = await readPack(directory);
    const { ref, version } = source.pack;
    return { ref, version, issues: await findIssues(source, others) };
  } catch (error) {
    if (!(error instanceof InvalidInputError)) throw error;
    return { ref: null, version: null, issues: error.issues };
  }
}

async function findIssues(source: CheckedPack, others: readonly string[]): Promise<Issue[]> {
  if (source.rules.length === 0 && source.pack.dependencies.length === 0) return [];
  const packs = [source, ...(await Promise.all([corePack, ...others].map((each) => readPack(each))))];
  const refs = new Set(packs.map(({ pack }) => pack.ref));
  const absent = source.pack.dependencies.flatMap((ref, index) =>
    refs.has(ref)
      ? []
      : [
          source.issueAt(
            source.pack.ref,
            ["dependencies", index],
            `the pack "${ref}" is needed for the check: name its directory by --with`,
          ),
        ],
  );
  try {
    checkRules(source, knownIn(packs), packRules);
    return absent;
  } catch (error) {
    if (!(error instanceof InvalidInputError)) throw error;
    return [...absent, ...error.issues];
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
