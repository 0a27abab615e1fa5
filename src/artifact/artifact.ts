import { sql } from "drizzle-orm";
import { z } from "zod";
import { authorize, authorizeFound } from "../access/grants.ts";
import type { Session } from "../access/session.ts";
import { type Db, rows } from "../db/client.ts";
import type { Tx } from "../db/tx.ts";
import { ConflictError, invalid, NotFoundError } from "../errors.ts";
import { checkInput } from "../schema/input.ts";
import {
  type ArtifactFields,
  type ArtifactScope,
  type ArtifactType,
  artifactFields,
  artifactRef,
  artifactScopes,
  artifactTypes,
  contentType,
  type ProgressEntry,
  progressEntry,
} from "./fields.ts";
import { removeFiles } from "./files.ts";
import { appendEntry } from "./progress.ts";
import { ownerOf } from "./version.ts";

/** Whose an artifact is: with its ref, what makes it one of its own. */
export interface Place {
  ref: string;
  scope?: ArtifactScope | null | undefined;
  /** A login or a ref, as the scope says; absent for the system's. */
  owner?: string | null | undefined;
}

const newArtifact = z.object({
  ref: artifactRef,
  scope: z.enum(artifactScopes).nullish(),
  owner: z.string().max(400).nullish(),
  type: z.enum(artifactTypes),
  contentType: contentType.nullish(),
});

/**
 * Makes an artifact without a version. Throws InvalidInputError, ForbiddenError, NotFoundError (its owner), ConflictError (its
 * owner has one of that ref).
 */
export async function createArtifact(
  tx: Tx,
  session: Session,
  input: Place & ArtifactFields & { type: ArtifactType; contentType?: string | null | undefined },
): Promise<{ id: bigint }> {
  const { ref, type, contentType: of = null, ...place } = checkInput(newArtifact, input);
  const fields = checkInput(artifactFields, input);
  checkUrl(type, fields.url, true);
  const owner = await findOwner(tx.db, place);
  authorize(session, "artifact", "create", { ref, ownerId: owner.id });
  const id = await insertArtifact(tx, { ref, ...owner, type, contentType: of, fields });
  if (id === null) throw new ConflictError(`There is an artifact "${ref}" of that owner already.`);
  return { id };
}

interface Insert extends Owner {
  ref: string;
  type: ArtifactType;
  contentType: string | null;
  fields: ArtifactFields;
}

/** Adds an artifact; null when its owner has one of that ref. */
export async function insertArtifact(tx: Tx, { ref, type, fields, ...made }: Insert): Promise<bigint | null> {
  const data = fields.url ? JSON.stringify({ url: fields.url }) : null;
  const [inserted] = await rows<{ id: string }>(
    tx.db,
    sql`insert into attune.artifact (ref, scope, owner, type, content_type, name, description, visibility, retention,
        retention_limit, data)
      values (${ref}, ${made.scope}::attune.owner_type, ${made.owner}, ${type}::attune.artifact_type, ${made.contentType},
        ${fields.name ?? null}, ${fields.description ?? null}, ${fields.visibility ?? "private"}::attune.visibility,
        ${fields.retention ?? "versions"}::attune.artifact_retention, ${fields.retentionLimit ?? 1}, ${data}::text::jsonb)
      on conflict (scope, owner, ref) do nothing returning id::text`,
  );
  return inserted ? BigInt(inserted.id) : null;
}

/**
 * Changes what the patch names and leaves the rest; null empties name and description. Throws NotFoundError, ForbiddenError, InvalidInputError, and
 * ConflictError when `expectedUpdated` is given and the artifact has changed since.
 */
export async function updateArtifact(
  tx: Tx,
  session: Session,
  input: { id: bigint; expectedUpdated?: Date | null | undefined; patch: ArtifactFields },
): Promise<{ id: bigint }> {
  const patch = checkInput(artifactFields, input.patch);
  const stored = await lockArtifact(tx, session, { id: input.id, doing: "update" });
  checkUrl(stored.type, patch.url, false);
  if (input.expectedUpdated && input.expectedUpdated.getTime() !== new Date(stored.updated).getTime()) {
    throw new ConflictError(`The artifact "${stored.ref}" was changed at ${stored.updated}: read it again.`);
  }
  if (Object.values(patch).every((value) => value === undefined)) return { id: input.id };
  const data = patch.url ? JSON.stringify({ url: patch.url }) : null;
  await tx.db.execute(
    sql`update attune.artifact set name = ${patch.name === undefined ? sql`name` : patch.name},
          description = ${patch.description === undefined ? sql`description` : patch.description},
          visibility = coalesce(${patch.visibility ?? null}::attune.visibility, visibility),
          retention = coalesce(${patch.retention ?? null}::attune.artifact_retention, retention),
          retention_limit = coalesce(${patch.retentionLimit ?? null}::int, retention_limit),
          data = coalesce(${data}::text::jsonb, data)
        where id = ${String(input.id)}::bigint`,
  );
  return { id: input.id };
}

/** Deletes an artifact with all its versions; their files go after the commit. Throws NotFoundError, ForbiddenError. */
export async function deleteArtifact(
  tx: Tx,
  session: Session,
  input: { id: bigint },
): Promise<{ id: bigint; ref: string }> {
  const { ref, ...stored } = await lockArtifact(tx, session, { id: input.id, doing: "delete" });
  const versions = await rows<{ key: string | null }>(
    tx.db,
    sql`delete from attune.artifact_version where artifact = ${stored.id}::bigint returning storage_key as key`,
  );
  await tx.db.execute(sql`delete from attune.artifact where id = ${stored.id}::bigint`);
  const files = versions.flatMap(({ key }) => key ?? []);
  tx.afterCommit(() => removeFiles(tx, files));
  return { id: input.id, ref };
}

/** Notes how far something is; the newest entries are kept. Throws NotFoundError, ForbiddenError, InvalidInputError. */
export async function appendProgress(
  tx: Tx,
  session: Session,
  input: { id: bigint } & Partial<ProgressEntry>,
): Promise<{ id: bigint }> {
  const entry = checkInput(progressEntry, { percent: input.percent ?? null, message: input.message ?? null });
  const stored = await lockArtifact(tx, session, { id: input.id, doing: "update" });
  if (stored.type !== "progress") throw invalid("id", `must be of an artifact of type progress, not ${stored.type}`);
  await tx.db.execute(sql`update attune.artifact a set data = ${appendEntry(entry)} where id = ${stored.id}::bigint`);
  return { id: input.id };
}

interface Owner {
  scope: ArtifactScope;
  owner: string;
  /** The identity that owns it; null in the other scopes. */
  id: bigint | null;
}

/** Looks up whom a new artifact is to belong to. Throws InvalidInputError, NotFoundError. */
export async function findOwner(db: Db, { scope, owner }: Pick<Place, "scope" | "owner">): Promise<Owner> {
  if (!scope || scope === "system") {
    if (owner) throw invalid("owner", "must be absent: what belongs to the system has no other owner");
    return { scope: "system", owner: "", id: null };
  }
  if (!owner) throw invalid("owner", `must name the ${scope} that it belongs to`);
  const name = scope === "identity" ? sql`login` : sql`ref`;
  const [found] = await rows<{ id: string }>(
    db,
    sql`select id::text from attune.${sql.identifier(scope)} where ${name} = ${owner}`,
  );
  if (!found) throw new NotFoundError(scope, owner);
  return { scope, owner, id: scope === "identity" ? BigInt(found.id) : null };
}

interface LockedArtifact {
  id: string;
  ref: string;
  type: ArtifactType;
  updated: string;
  ownerId: bigint | null;
}

async function lockArtifact(
  tx: Tx,
  session: Session,
  { id, doing }: { id: bigint; doing: "update" | "delete" },
): Promise<LockedArtifact> {
  const [found] = await rows<Omit<LockedArtifact, "ownerId"> & { ownerId: string | null; open: boolean }>(
    tx.db,
    sql`select a.id::text as "id", a.ref as "ref", a.type as "type", ${ownerOf}::text as "ownerId", a.visibility = 'public' as "open",
        to_char(a.updated at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') as "updated"
      from attune.artifact a where a.id = ${String(id)}::bigint for no key update`,
  );
  if (!found) throw new NotFoundError("artifact", String(id));
  const { open: known, ...stored } = { ...found, ownerId: found.ownerId === null ? null : BigInt(found.ownerId) };
  authorizeFound(session, doing, { resource: "artifact", id: String(id), target: stored, known });
  return stored;
}

function checkUrl(type: ArtifactType, url: string | null | undefined, isNew: boolean): void {
  if (type === "url" && isNew && !url) throw invalid("url", "must say where an artifact of type url leads");
  if (type !== "url" && url) throw invalid("url", `is only for artifacts of type url, not ${type}`);
}
