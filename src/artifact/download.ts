import { sql } from "drizzle-orm";
import { may } from "../access/grants.ts";
import { openSession, type Session } from "../access/session.ts";
import { findTokenSession } from "../access/sessions.ts";
import { type Db, rows } from "../db/client.ts";
import { ForbiddenError, NotFoundError } from "../errors.ts";
import type { Link } from "./link.ts";
import { findVersion, type StoredVersion } from "./version.ts";

/** Returns the session that created the link, with its current grants. Throws ForbiddenError when it has ended. */
export async function sessionOfLink(db: Db, { token }: Link): Promise<Session> {
  if (token !== 0n) {
    const session = await findTokenSession(db, token);
    if (session === null) throw new ForbiddenError("The link's session has ended: sign in and request a new one.");
    return session;
  }
  const [admin] = await rows<{ id: string }>(db, sql`select id::text from attune.identity where login = 'admin'`);
  if (!admin) throw new ForbiddenError("The link's session has ended: sign in and request a new one.");
  return openSession(admin.id);
}

/** Returns the link's version. Throws NotFoundError, also when the session may no longer read it. */
export async function findDownload(db: Db, session: Session, { id }: Link): Promise<StoredVersion> {
  const version = await findVersion(db, id);
  if (version === null) throw new NotFoundError("artifact_version", String(id));
  const { ref, ownerId, visibility } = version;
  const target = { ref, ownerId: ownerId === null ? null : BigInt(ownerId) };
  if (visibility !== "public" && !may(session, "artifact", "read", target)) {
    throw new NotFoundError("artifact_version", String(id));
  }
  return version;
}
