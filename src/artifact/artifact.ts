import { sql } from "drizzle-orm";
import { z } from "zod";
import { authorize, may } from "../access/grants.ts";
import { deleteRow, findOwner, lockRow, taken, updateRow, type Which } from "../access/rows.ts";
import type { Session } from "../access/session.ts";
import { rows } from "../db/client.ts";
import type { Tx } from "../db/tx.ts";
import { invalid } from "../errors.ts";
import { checkNew, checkPatch } from "../schema/fields.ts";
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
  type Nullable,
  type ProgressEntry,
  progressEntry,
} from "./fields.ts";
import { removeFiles } from "./files.ts";
import { appendEntry } from "./progress.ts";

/** The unique key of an artifact: its ref and its owner. */
export interface OwnedRef {
  ref: string;
  scope?: ArtifactScope | null | undefined;
  /** A login or a ref, depending on the scope; absent in the scope `system`. */
  owner?: string | null | undefined;
}

const newArtifact = artifactFields.extend({
  ref: artifactRef,
  scope: z.enum(artifactScopes).optional(),
  owner: z.string().max(400).optional(),
  type: z.enum(artifactTypes),
  contentType: contentType.optional(),
});

/**
 * Creates an artifact without versions. Throws InvalidInputError, ForbiddenError, NotFoundError (its owner), ConflictError (its owner
 * has an artifact with that ref).
 */
export async function createArtifact(
  tx: Tx,
  session: Session,
  input: OwnedRef & Nullable<ArtifactFields> & { type: ArtifactType; contentType?: string | null | undefined },
): Promise<{ id: bigint }> {
  const { ref, type, contentType: of = null, scope, owner, ...fields } = checkNew(newArtifact, input);
  checkUrl(type, fields.url, true);
  const found = await findArtifactOwner(tx, session, { ref, scope, owner, actions: ["create"] });
  authorize(session, "artifact", "create", { ref, ownerId: found.id });
  const id = await insertArtifact(tx, { ref, ...found, type, contentType: of, fields });
  if (id === null) throw taken("artifact", ref);
  return { id };
}

/** The columns of a new artifact. */
export interface Insert extends Owner {
  ref: string;
  type: ArtifactType;
  contentType: string | null;
  fields: ArtifactFields;
}

/** Inserts an artifact and returns its id; null when its owner has one with that ref. */
export async function insertArtifact(tx: Tx, { ref, type, fields, ...columns }: Insert): Promise<bigint | null> {
  const data = fields.url ? JSON.stringify({ url: fields.url }) : null;
  const [inserted] = await rows<{ id: string }>(
    tx.db,
    sql`insert into attune.artifact (ref, scope, owner, type, content_type, name, description, visibility, retention,
        retention_limit, data)
      values (${ref}, ${columns.scope}::attune.owner_type, ${columns.owner}, ${type}::attune.artifact_type, ${columns.contentType},
        ${fields.name ?? null}, ${fields.description ?? null}, ${fields.visibility ?? "private"}::attune.visibility,
        ${fields.retention ?? "versions"}::attune.artifact_retention, ${fields.retentionLimit ?? 1}, ${data}::text::jsonb)
      on conflict (scope, owner, ref) do nothing returning id::text`,
  );
  return inserted ? BigInt(inserted.id) : null;
}

/**
 * Changes the fields in the patch. Throws NotFoundError, ForbiddenError, InvalidInputError, and ConflictError when the artifact has
 * changed since `expectedUpdated`.
 */
export async function updateArtifact(
  tx: Tx,
  session: Session,
  input: Which<"artifact"> & { patch: Nullable<ArtifactFields> },
): Promise<{ id: bigint }> {
  const { url, ...fields } = checkPatch(artifactFields, input.patch);
  const { id, type } = await lockRow(tx, session, { of: "artifact", doing: "update", which: input });
  checkUrl(type, url, false);
  await updateRow(tx, "artifact", { id, fields: url === undefined ? fields : { ...fields, data: { url } } });
  return { id };
}

/** Deletes an artifact with all its versions; their files are deleted after the commit. Throws NotFoundError, ForbiddenError. */
export async function deleteArtifact(
  tx: Tx,
  session: Session,
  input: { id: bigint },
): Promise<{ id: bigint; ref: string }> {
  const { id, ref } = await lockRow(tx, session, { of: "artifact", doing: "delete", which: input });
  const versions = await rows<{ key: string | null }>(
    tx.db,
    sql`delete from attune.artifact_version where artifact = ${String(id)}::bigint returning storage_key as key`,
  );
  await deleteRow(tx, "artifact", id);
  const files = versions.flatMap(({ key }) => key ?? []);
  tx.afterCommit(() => removeFiles(tx, files));
  return { id, ref };
}

/** Adds an entry to an artifact of type progress; the newest entries are kept. Throws NotFoundError, ForbiddenError, InvalidInputError. */
export async function appendProgress(
  tx: Tx,
  session: Session,
  input: { id: bigint } & Partial<ProgressEntry>,
): Promise<{ id: bigint }> {
  const entry = checkInput(progressEntry, { percent: input.percent ?? null, message: input.message ?? null });
  const { id, type } = await lockRow(tx, session, { of: "artifact", doing: "update", which: { id: input.id } });
  if (type !== "progress") throw invalid("id", `must be the id of an artifact of type progress, not ${type}`);
  await tx.db.execute(sql`update attune.artifact a set data = ${appendEntry(entry)} where id = ${String(id)}::bigint`);
  return { id };
}

interface Owner {
  scope: ArtifactScope;
  owner: string;
  /** The identity that owns it; null in the other scopes. */
  id: bigint | null;
}

/**
 * Returns the owner of an artifact on which the session wants to perform one of the actions. Throws InvalidInputError, and
 * NotFoundError as `findOwner` does.
 */
export async function findArtifactOwner(
  tx: Tx,
  session: Session,
  { ref, scope, owner, actions }: OwnedRef & { actions: readonly string[] },
): Promise<Owner> {
  if (!scope || scope === "system") {
    if (owner) throw invalid("owner", "must be absent: artifacts of the system have no other owner");
    return { scope: "system", owner: "", id: null };
  }
  if (!owner) throw invalid("owner", `must name the ${scope} that owns it`);
  const identityOf = (id: bigint) => (scope === "identity" ? id : null);
  const mayCreate = (found: bigint) =>
    actions.some((action) => may(session, "artifact", action, { ref, ownerId: identityOf(found) }));
  const id = await findOwner(tx.db, session, { type: scope, ref: owner, mayCreate });
  return { scope, owner, id: identityOf(id) };
}

function checkUrl(type: ArtifactType, url: string | null | undefined, isNew: boolean): void {
  if (type === "url" && isNew && !url) throw invalid("url", "is required for artifacts of type url");
  if (type !== "url" && url) throw invalid("url", `is only for artifacts of type url, not ${type}`);
}
