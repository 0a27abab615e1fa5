import { type FileHandle, open, stat } from "node:fs/promises";
import { type SQL, sql } from "drizzle-orm";
import { type Db, rows } from "../db/client.ts";
import type { Services } from "../db/services.ts";
import type { Tx } from "../db/tx.ts";
import { ConflictError, NotFoundError } from "../errors.ts";
import { faultPoint } from "../lib/fault.ts";
import type { ArtifactScope } from "./fields.ts";
import { pathOf, rowBytes, type StorableContent } from "./files.ts";

/** SQL: the key of the advisory lock that transactions storing a file share, and the sweep holds exclusively. */
export const filesLock = sql`hashtextextended('attune artifact files', 0)`;

interface NewVersion {
  artifact: string;
  execution: string | null;
  contentType: string | null;
  content: StorableContent;
}

/**
 * Stores a content as the artifact's next version, in the caller's transaction. Version numbers have no gaps or duplicates, also when
 * several are stored at once. Throws ConflictError when the artifact was deleted or has a type without versions.
 */
export async function addVersion(
  tx: Tx,
  { artifact, execution, contentType, content }: NewVersion,
): Promise<{ id: bigint; version: number }> {
  if (content.storageKey !== null) await requireFile(tx, content.storageKey);
  const large = content.spool === null ? null : await loadLarge(tx, content.spool);
  // The row's lock serializes the numbers; `lastVersion` remembers those that retention has deleted.
  const [added] = await rows<{ id: string; version: number }>(
    tx.db,
    sql`with numbered as (
        update attune.artifact a set content_type = ${contentType}, size = ${content.size}::bigint,
          data = jsonb_build_object('lastVersion', 1 + greatest(coalesce((a.data ->> 'lastVersion')::int, 0),
            coalesce((select max(v.version) from attune.artifact_version v where v.artifact = a.id), 0)))
        where a.id = ${artifact}::bigint and a.type not in ('progress', 'url')
        returning a.id, (a.data ->> 'lastVersion')::int as version)
      insert into attune.artifact_version (artifact, version, execution, content_type, size, sha256, content, storage_key)
      select n.id, n.version, ${execution}::bigint, ${contentType}, ${content.size}::bigint, ${content.sha256},
        ${contentColumn(content, large)}, ${content.storageKey}
      from numbered n returning id::text, version`,
  );
  if (!added) throw new ConflictError("The artifact no longer exists, or its type has no versions.");
  if (large !== null) await tx.db.execute(sql`select lo_unlink(${large}::text::oid)`);
  faultPoint("artifact.before_commit");
  return { id: BigInt(added.id), version: added.version };
}

function contentColumn({ bytes }: StorableContent, large: string | null): SQL {
  if (bytes !== null) return sql`decode(${Buffer.from(bytes).toString("base64")}, 'base64')`;
  return large === null ? sql`null::bytea` : sql`lo_get(${large}::text::oid)`;
}

/** Keeps the sweep from deleting the file before its row is committed. Throws ConflictError when it has been deleted. */
async function requireFile(tx: Tx, storageKey: string): Promise<void> {
  await tx.db.execute(sql`select pg_advisory_xact_lock_shared(${filesLock})`);
  const found = await stat(pathOf(tx, storageKey)).catch(() => null);
  if (found === null)
    throw new ConflictError("The content was deleted before its version was stored: upload it again.");
}

/** Copies a file into the database piece by piece, as a large object that the transaction then copies into a column. */
async function loadLarge(tx: Tx, path: string): Promise<string> {
  const [created] = await rows<{ oid: string }>(tx.db, sql`select lo_from_bytea(0, '')::text as oid`);
  if (!created) throw new Error("no large object was created");
  const file = await open(path, "r");
  try {
    const buffer = Buffer.alloc(rowBytes);
    for (let offset = 0; ; ) {
      const { bytesRead } = await file.read(buffer, 0, buffer.length, offset);
      if (bytesRead === 0) return created.oid;
      const piece = buffer.toString("base64", 0, bytesRead);
      await tx.db.execute(sql`select lo_put(${created.oid}::text::oid, ${offset}::bigint, decode(${piece}, 'base64'))`);
      offset += bytesRead;
    }
  } finally {
    await file.close();
  }
}

/** A version without its content, and the properties of its artifact that decide access. */
export interface StoredVersion {
  id: string;
  artifact: string;
  version: number;
  contentType: string | null;
  size: number;
  sha256: string;
  storageKey: string | null;
  ref: string;
  scope: ArtifactScope;
  visibility: "public" | "private";
  /** The identity that owns the artifact; null in the other scopes. */
  ownerId: string | null;
}

/** SQL: the identity that owns the artifact `a`; null in the other scopes. */
export const ownerOf: SQL = sql.raw(
  `case when a.scope = 'identity' then (select i.id from attune.identity i where i.login = a.owner) end`,
);

/** Returns the version with that id; null when it does not exist. */
export async function findVersion(db: Db, id: bigint): Promise<StoredVersion | null> {
  const [found] = await rows<StoredVersion>(
    db,
    sql`select v.id::text as "id", v.artifact::text as "artifact", v.version as "version", v.content_type as "contentType",
        v.size::float8 as "size", v.sha256 as "sha256", v.storage_key as "storageKey", a.ref as "ref", a.scope as "scope",
        a.visibility as "visibility", ${ownerOf}::text as "ownerId"
      from attune.artifact_version v join attune.artifact a on a.id = v.artifact where v.id = ${String(id)}::bigint`,
  );
  return found ?? null;
}

const pieceBytes = 256 * 1024;

/**
 * Yields the bytes of a version from `start` to before `end`, in pieces; each is valid until the next is requested. Throws
 * NotFoundError when the version was deleted.
 */
export async function* readVersion(
  services: Services,
  version: Pick<StoredVersion, "id" | "storageKey">,
  { start, end }: { start: number; end: number },
): AsyncGenerator<Uint8Array, void> {
  if (version.storageKey === null) return yield* readRow(services, version.id, { start, end });
  const file = await openFile(services, version.id, version.storageKey);
  try {
    const buffer = Buffer.alloc(Math.min(pieceBytes, end - start));
    for (let at = start; at < end; ) {
      const { bytesRead } = await file.read(buffer, 0, Math.min(buffer.length, end - at), at);
      if (bytesRead === 0) throw new Error(`the file of version ${version.id} is shorter than its row says`);
      yield buffer.subarray(0, bytesRead);
      at += bytesRead;
    }
  } finally {
    await file.close();
  }
}

async function openFile(services: Services, id: string, storageKey: string): Promise<FileHandle> {
  try {
    return await open(pathOf(services, storageKey), "r");
  } catch (error) {
    // The row is deleted before the file.
    if ((await findVersion(services.db, BigInt(id))) === null) throw new NotFoundError("artifact_version", id);
    throw error;
  }
}

async function* readRow(
  services: Services,
  id: string,
  { start, end }: { start: number; end: number },
): AsyncGenerator<Uint8Array, void> {
  for (let at = start; at < end; at += rowBytes) {
    const length = Math.min(rowBytes, end - at);
    const [found] = await rows<{ piece: string }>(
      services.db,
      sql`select encode(substring(content from ${at + 1}::int for ${length}::int), 'base64') as piece
        from attune.artifact_version where id = ${id}::bigint`,
    );
    if (!found) throw new NotFoundError("artifact_version", id);
    yield Buffer.from(found.piece, "base64");
  }
}
