import { createHash } from "node:crypto";
import { sql } from "drizzle-orm";
import { lockRow } from "../access/rows.ts";
import type { Session } from "../access/session.ts";
import { rows } from "../db/client.ts";
import type { Tx } from "../db/tx.ts";
import { type Issue, invalid } from "../errors.ts";
import type { PackFiles } from "./files.ts";

/** The checksum of the files that define an environment, by the ref of the runtime that needs one. */
export type Environments = Readonly<Record<string, string>>;

const python = "core.action.python";
const node = "core.action.nodejs";
const requirements = "requirements.txt";
const manifest = "package.json";
const lock = "package-lock.json";

/** Returns whether the file defines an environment of its pack. */
export const definesEnvironment = (path: string) => [requirements, manifest, lock].includes(path);

/** Returns the environments that a pack needs: none for files that name no library. Faults are appended to `issues`. */
export function environmentsOf({ contents }: Pick<PackFiles, "contents">, issues: Issue[]): Environments {
  const checksum = (...paths: string[]) => {
    const hash = createHash("sha256");
    for (const path of paths)
      hash
        .update(`${path}\0`)
        .update(contents.get(path) ?? "")
        .update("\0");
    return hash.digest("hex");
  };
  return {
    ...(hasRequirements(contents.get(requirements)) ? { [python]: checksum(requirements) } : {}),
    ...(hasPackages(contents.get(manifest), issues) ? { [node]: checksum(manifest, lock) } : {}),
  };
}

function hasRequirements(content: Buffer | undefined): boolean {
  return (
    content
      ?.toString()
      .split("\n")
      .some((line) => /^\s*[^\s#]/.test(line)) ?? false
  );
}

function hasPackages(content: Buffer | undefined, issues: Issue[]): boolean {
  if (!content) return false;
  try {
    const value: unknown = JSON.parse(content.toString());
    if (!isObject(value)) throw new Error("it is not an object");
    return ["dependencies", "optionalDependencies"].some((name) => {
      const packages = value[name];
      if (packages !== undefined && !isObject(packages)) throw new Error(`its field "${name}" is not an object`);
      return packages !== undefined && Object.keys(packages).length > 0;
    });
  } catch (error) {
    issues.push({
      path: manifest,
      message: `expected a package.json: ${error instanceof Error ? error.message : error}`,
    });
    return false;
  }
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** Stores the environments that a loaded release needs, as one that an earlier version loaded names none, and where its files are now. */
export async function refreshRelease(
  tx: Tx,
  pack: string,
  { digest, environments, path }: { digest: string; environments: Environments; path: string },
): Promise<void> {
  const named = JSON.stringify(environments);
  await tx.db.execute(
    sql`update attune.pack_release set environments = ${named}::text::jsonb, path = ${path}
      where pack = ${pack}::bigint and digest = ${digest} and (environments <> ${named}::text::jsonb or path <> ${path})`,
  );
}

/**
 * Marks the environments of a pack by what its active release needs: those that it needs no longer are outdated, and are removed when
 * nothing runs in them; those that it needs again are used again.
 */
export async function markEnvironments(tx: Tx, pack: string): Promise<void> {
  await tx.db.execute(
    sql`update attune.pack_environment e set status = s.status from (
        select e.id, case when exists (select from attune.pack p join attune.pack_release r on r.id = p.active_release
            where p.id = e.pack and r.environments ->> rt.ref = e.manifest_checksum) then 'ready' else 'outdated' end::attune.pack_environment_status as status
          from attune.pack_environment e join attune.runtime rt on rt.id = e.runtime
          where e.pack = ${pack}::bigint and e.status in ('ready', 'failed', 'pending', 'outdated') for no key update of e) s
      where e.id = s.id and (e.status = 'outdated') <> (s.status = 'outdated')`,
  );
  tx.announce("environment");
}

/**
 * Lets the environments of a pack for one runtime be built anew, each in a new directory: what runs keeps the old one. Throws
 * NotFoundError, ForbiddenError, and InvalidInputError when the pack has none for that runtime.
 */
export async function rebuildEnvironment(
  tx: Tx,
  session: Session,
  { pack: ref, runtime }: { pack: string; runtime: string },
): Promise<{ id: bigint }> {
  const { id } = await lockRow(tx, session, { of: "pack", doing: "update", which: { ref } });
  const found = await rows<{ runtime: string }>(
    tx.db,
    sql`select distinct rt.ref as runtime from attune.pack_environment e join attune.runtime rt on rt.id = e.runtime
      where e.pack = ${String(id)}::bigint and e.status <> 'outdated' order by 1`,
  );
  if (!found.some((each) => each.runtime === runtime)) {
    const known = found.length === 0 ? "it has none" : `it has ${found.map((each) => each.runtime).join(" and ")}`;
    throw invalid("runtime", `the pack "${ref}" has no environment for "${runtime}": ${known}`);
  }
  await tx.db.execute(
    sql`update attune.pack_environment e set status = 'pending' from attune.runtime rt
      where rt.id = e.runtime and rt.ref = ${runtime} and e.pack = ${String(id)}::bigint and e.status in ('ready', 'failed')`,
  );
  tx.announce("environment");
  return { id };
}
