import { sql } from "drizzle-orm";
import { z } from "zod";
import { holds } from "../access/grants.ts";
import { findRow } from "../access/rows.ts";
import { identityOf, type Session } from "../access/session.ts";
import { readPackName } from "../catalog/pack-index.ts";
import { rows } from "../db/client.ts";
import type { Tx } from "../db/tx.ts";
import { ConflictError, ForbiddenError, InvalidInputError, invalid } from "../errors.ts";
import type { JsonObject } from "../lib/json.ts";
import { checkInput } from "../schema/input.ts";
import { findAction } from "./action.ts";
import { parentOf, requestExecutions } from "./execute.ts";

/** The pack to install: one of its sources. */
export interface InstallPackInput {
  /** The id of an artifact; its newest version is the archive. */
  artifact: bigint | null;
  archive: { url: string; sha256: string | null } | null;
  git: { url: string; ref: string | null } | null;
  /** A pack of an index, such as `greetings@^1.2`. */
  name: string | null;
  skipTests: boolean;
  force: boolean;
  /** Whether packs that it needs are installed, or updated, with it from the indexes. */
  withDependencies: boolean;
}

const sha256 = z.string().regex(/^[0-9a-f]{64}$/, "must be a SHA-256 in 64 lower case hexadecimal digits");
const longestUrl = 2000;
const archive = z.object({ url: z.url().max(longestUrl), sha256: sha256.nullable() });
const git = z.object({
  url: z.url().max(longestUrl),
  ref: z
    .string()
    .max(200)
    .regex(/^[A-Za-z0-9][A-Za-z0-9._/+-]*$/, "expected a branch, a tag or a commit")
    .nullable(),
});

/**
 * Requests an execution that installs a pack, in the caller's transaction. It requires a grant of `pack:install` without constraints, because a
 * pack may bring actions and grants of any kind. Throws ForbiddenError, NotFoundError (the artifact), InvalidInputError, ConflictError.
 */
export async function installPack(tx: Tx, session: Session, input: InstallPackInput): Promise<{ id: bigint }> {
  if (!holds(session.grants, { resource: "pack", actions: ["install"] })) {
    throw new ForbiddenError("You may not install packs: it requires a grant of pack:install without constraints.");
  }
  const source = await sourceOf(tx, session, input);
  const action = await findAction(tx.db, "core.install_pack");
  if (!action)
    throw new ConflictError('The pack "core" of this installation is older: it has no action core.install_pack.');
  const identity = identityOf(session);
  const config: JsonObject = {
    ...{ source, skip_tests: input.skipTests, force: input.force, with_dependencies: input.withDependencies },
    identity: identity === null ? null : String(identity),
  };
  const parent = await parentOf(tx, session);
  const [execution] = await requestExecutions(tx, [
    {
      ...{ action, config, secrets: [], enforcement: null, executor: identity, ruleRef: null, triggerRef: null },
      ...{ traceTag: parent?.traceTag ?? null, generation: parent?.generation ?? 0, priority: 0, retry: null, parent },
      timeoutSeconds: null,
    },
  ]);
  return { id: BigInt(execution ?? 0) };
}

async function sourceOf(tx: Tx, session: Session, input: InstallPackInput): Promise<JsonObject> {
  const given = [input.artifact, input.archive, input.git, input.name].filter((each) => each !== null);
  if (given.length !== 1)
    throw new InvalidInputError([{ path: "", message: "expected one of artifact, archive, git and name" }]);
  if (input.name !== null) {
    const name = readPackName(input.name);
    if (name === null)
      throw invalid("name", 'expected a name such as "greetings", with a range of versions: "greetings@^1.2"');
    return { type: "index", ...name };
  }
  if (input.archive) {
    const { url, sha256: checksum } = checkInput(archive, input.archive, "archive");
    return { type: "archive", url, checksum };
  }
  if (input.git) return { type: "git", ...checkInput(git, input.git, "git") };
  const found = await findRow(tx.db, session, { of: "artifact", doing: "read", which: { id: input.artifact ?? 0n } });
  const [version] = await rows<{ id: string }>(
    tx.db,
    sql`select id::text from attune.artifact_version where artifact = ${String(found.id)}::bigint order by version desc limit 1`,
  );
  if (!version) throw invalid("artifact", "expected an artifact with a version: an archive that was uploaded");
  return { type: "artifact", id: version.id };
}
