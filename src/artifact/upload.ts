import { randomUUID } from "node:crypto";
import { and, eq, sql } from "drizzle-orm";
import { z } from "zod";
import { recordAudit } from "../access/audit.ts";
import { entities } from "../access/entities.ts";
import { authorize, authorizeFound, knows } from "../access/grants.ts";
import { claimOnce, onceSecret, settleOnce } from "../access/once.ts";
import { findRow, taken } from "../access/rows.ts";
import { identityOf, type Session } from "../access/session.ts";
import { type Db, rows } from "../db/client.ts";
import type { Services } from "../db/services.ts";
import { artifact } from "../db/tables/artifact.ts";
import { type Tx, write } from "../db/tx.ts";
import { ConflictError, ForbiddenError, invalid, Refusal } from "../errors.ts";
import { checkInput } from "../schema/input.ts";
import { findArtifactOwner, insertArtifact, type OwnedRef } from "./artifact.ts";
import {
  type ArtifactType,
  artifactRef,
  artifactScopes,
  artifactTypes,
  contentType,
  sha256,
  withoutVersions,
} from "./fields.ts";
import { checkSize, receiveContent, removeFiles } from "./files.ts";
import { expiryOf, type Link, signedPath } from "./link.ts";
import { addVersion } from "./version.ts";

const uploadInput = z.object({
  ref: artifactRef,
  scope: z.enum(artifactScopes).nullish(),
  owner: z.string().max(400).nullish(),
  type: z.enum(artifactTypes).refine((type) => !withoutVersions.includes(type), "has no versions"),
  contentType,
  size: z.int().min(0),
  sha256,
});

/** A signed path to which a content may be uploaded once. */
export interface PreparedUpload {
  /** The artifact's id. */
  id: bigint;
  path: string;
  expiresAt: Date;
}

/**
 * Prepares an upload: creates the artifact unless it exists, and signs a path that accepts exactly this content, once. Throws
 * InvalidInputError, ForbiddenError, NotFoundError (its owner), ConflictError (the artifact has another type).
 */
export async function createUpload(
  tx: Tx,
  session: Session,
  input: OwnedRef & { type: ArtifactType; contentType: string; size: number; sha256: string },
): Promise<PreparedUpload> {
  const { ref, type, contentType: of, size, sha256: hash, ...place } = checkInput(uploadInput, input);
  checkSize(tx, size);
  if (identityOf(session) === null) {
    throw new ForbiddenError("An upload needs an identity: actions write their files to ATTUNE_ARTIFACTS_DIR.");
  }
  const id = await findOrInsert(tx, session, { ref, type, contentType: of, place });
  const expires = expiryOf(Date.now());
  const upload = { size, sha256: hash, contentType: of, once: randomUUID() };
  const path = signedPath(tx.keyring, { id, token: session.tokenId, expires, upload });
  return { id, path, expiresAt: new Date(expires) };
}

/** Returns the artifact's id; creates the artifact unless it exists. */
async function findOrInsert(
  tx: Tx,
  session: Session,
  {
    ref,
    type,
    contentType: of,
    place,
  }: { ref: string; type: ArtifactType; contentType: string; place: Omit<OwnedRef, "ref"> },
): Promise<bigint> {
  const owner = await findArtifactOwner(tx, session, { ref, ...place, actions: ["create", "update"] });
  const target = { ref, ownerId: owner.id };
  const described = { resource: "artifact", target: () => target, implicit: entities.artifact.implicit } as const;
  const find = async () => {
    const { scope, owner: name } = owner;
    const [row] = await tx.db
      .select()
      .from(artifact)
      .where(and(eq(artifact.scope, scope), eq(artifact.owner, name), eq(artifact.ref, ref)));
    return row && knows(session, "update", row, described) ? row : null;
  };
  let found = await find();
  if (found === null) {
    authorize(session, "artifact", "create", target);
    const id = await insertArtifact(tx, { ref, ...owner, type, contentType: of, fields: {} });
    if (id !== null) return id;
    found = await find(); // another request has created it
    if (found === null) throw taken("artifact", ref);
  }
  authorizeFound(session, "update", found, { ...described, name: ref });
  if (found.type !== type) throw new ConflictError(`The artifact "${ref}" is of type ${found.type}, not ${type}.`);
  return found.id;
}

/** The session that uploads a content, and its request. */
export interface Sender {
  session: Session;
  ip: string | null;
  requestId: string;
}

/**
 * Receives the content of an upload link and stores it as the artifact's next version. Throws ForbiddenError, NotFoundError (the
 * artifact), ConflictError (the link was used), InvalidInputError (wrong size or hash); then nothing is stored.
 */
export async function receiveUpload(
  services: Services,
  { session, ip, requestId }: Sender,
  { id, upload }: Link & { upload: NonNullable<Link["upload"]> },
  source: AsyncIterable<Uint8Array>,
): Promise<{ id: bigint; version: number }> {
  const artifact = String(id);
  await findRow(services.db, session, { of: "artifact", doing: "update", which: { id } });
  await checkUnused(services.db, session, upload.once); // before receiving; the transaction checks again
  const secret = services.keyring.derive(onceSecret);
  const request = { key: onceKey(upload.once), operation: "uploadArtifact", input: artifact, secret };
  await using received = await receiveContent(services, source);
  checkReceived(received, upload);
  const content = await received.keep();
  const store = async (tx: Tx) => {
    const { ref } = await findRow(tx.db, session, { of: "artifact", doing: "update", which: { id } });
    if ((await claimOnce(tx, session, request)) !== null) {
      throw new ConflictError(used);
    }
    const added = await addVersion(tx, {
      artifact,
      execution: null,
      contentType: upload.contentType,
      content,
    });
    await settleOnce(tx, session, request, { type: "artifact_version", id: added.id });
    await recordAudit(tx.db, {
      category: "mutation",
      eventType: "uploadArtifact",
      outcome: "success",
      session,
      ip,
      requestId,
      resourceType: "artifact",
      resourceRef: ref,
      details: { version: added.version, size: content.size, sha256: content.sha256 },
    });
    return added;
  };
  try {
    // A transaction of its own: the content is received before it, and its file is removed if it fails.
    return await write(services, store);
  } catch (error) {
    // A refusal has rolled back. After other errors the row may exist: the sweep finds out.
    if (error instanceof Refusal) await removeFiles(services, [content.storageKey]);
    throw error;
  }
}

const used = "This link has been used: request a new one.";
const onceKey = (once: string) => `artifact-upload:${once}`;

async function checkUnused(db: Db, session: Session, once: string): Promise<void> {
  const found = await rows(
    db,
    sql`select id::text from attune.idempotency_key where identity = ${identityOf(session)}::bigint and key = ${onceKey(once)}`,
  );
  if (found.length > 0) throw new ConflictError(used);
}

function checkReceived(received: { size: number; sha256: string }, upload: { size: number; sha256: string }): void {
  if (received.size !== upload.size) {
    throw invalid("size", `must be ${upload.size} bytes, as in the link; received ${received.size}`);
  }
  if (received.sha256 !== upload.sha256) {
    throw invalid("sha256", `must be ${upload.sha256}, as in the link; received ${received.sha256}`);
  }
}
