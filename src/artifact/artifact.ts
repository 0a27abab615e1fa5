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
  type Nulls,
  type ProgressEntry,
  progressEntry,
} from "./fields.ts";
import { removeFiles } from "./files.ts";
import { appendEntry } from "./progress.ts";

/** Whose an artifact is: with its ref, what makes it one of its own. */
export interface Place {
  ref: string;
  scope?: ArtifactScope | null | undefined;
  /** A login or a ref, as the scope says; absent for the system's. */
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
 * Creates an artifact without a version. Throws InvalidInputError, ForbiddenError, NotFoundError (its owner), ConflictError (its
 * owner has one of that ref).
 */
export async function createArtifact(
  tx: Tx,
  session: Session,
  input: Place & Nulls<ArtifactFields> & { type: ArtifactType; contentType?: string | null | undefined },
): Promise<{ id: bigint }> {
  const { ref, type, contentType: of = null, scope, owner, ...fields } = checkNew(newArtifact, input);
  checkUrl(type, fields.url, true);
  const place = await findPlace(tx, session, { ref, scope, owner, actions: ["create"] });
  authorize(session, "artifact", "create", { ref, ownerId: place.id });
  const id = await insertArtifact(tx, { ref, ...place, type, contentType: of, fields });
  if (id === null) throw taken("artifact", ref);
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
 * Changes the fields that the patch names. Throws NotFoundError, ForbiddenError, InvalidInputError, and ConflictError when it has
 * changed since `expectedUpdated`.
 */
export async function updateArtifact(
  tx: Tx,
  session: Session,
  input: Which<"artifact"> & { patch: Nulls<ArtifactFields> },
): Promise<{ id: bigint }> {
  const { url, ...fields } = checkPatch(artifactFields, input.patch);
  const { id, type } = await lockRow(tx, session, { of: "artifact", doing: "update", which: input });
  checkUrl(type, url, false);
  await updateRow(tx, "artifact", { id, fields: url === undefined ? fields : { ...fields, data: { url } } });
  return { id };
}

/** Deletes an artifact with all its versions; their files go after the commit. Throws NotFoundError, ForbiddenError. */
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

/** Notes how far something is; the newest entries are kept. Throws NotFoundError, ForbiddenError, InvalidInputError. */
export async function appendProgress(
  tx: Tx,
  session: Session,
  input: { id: bigint } & Partial<ProgressEntry>,
): Promise<{ id: bigint }> {
  const entry = checkInput(progressEntry, { percent: input.percent ?? null, message: input.message ?? null });
  const { id, type } = await lockRow(tx, session, { of: "artifact", doing: "update", which: { id: input.id } });
  if (type !== "progress") throw invalid("id", `must be of an artifact of type progress, not ${type}`);
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
 * Looks up what is to own an artifact, with which one of these actions is to be done. Throws InvalidInputError, and NotFoundError
 * as `findOwner`.
 */
export async function findPlace(
  tx: Tx,
  session: Session,
  { ref, scope, owner, actions }: Place & { actions: readonly string[] },
): Promise<Owner> {
  if (!scope || scope === "system") {
    if (owner) throw invalid("owner", "must be absent: what belongs to the system has no other owner");
    return { scope: "system", owner: "", id: null };
  }
  if (!owner) throw invalid("owner", `must name the ${scope} that it belongs to`);
  const identityOf = (id: bigint) => (scope === "identity" ? id : null);
  const mayCreate = (found: bigint) =>
    actions.some((action) => may(session, "artifact", action, { ref, ownerId: identityOf(found) }));
  const id = await findOwner(tx.db, session, { type: scope, ref: owner, mayCreate });
  return { scope, owner, id: identityOf(id) };
}

function checkUrl(type: ArtifactType, url: string | null | undefined, isNew: boolean): void {
  if (type === "url" && isNew && !url) throw invalid("url", "must say where an artifact of type url leads");
  if (type !== "url" && url) throw invalid("url", `is only for artifacts of type url, not ${type}`);
}
