import { sql } from "drizzle-orm";
import { z } from "zod";
import { rows } from "../db/client.ts";
import type { Tx } from "../db/tx.ts";
import { ForbiddenError, invalid } from "../errors.ts";
import { checkInput } from "../schema/input.ts";
import { findHolder, isNarrowed, requireHeldOf, requirePerson } from "./credential.ts";
import { authorize, authorizeFound, may } from "./grants.ts";
import { requireHeldSets } from "./permission.ts";
import { identityOf, type Session } from "./session.ts";
import { insertApiToken } from "./token.ts";

const fields = z.object({
  label: z.string().min(1).max(200),
  permissionSetRefs: z.array(z.string().max(200)).min(1).max(100).nullable(),
});

/**
 * Creates an API token for the caller or, with `identity:update`, for another identity; its value is returned only here. It grants
 * no more than the session holds, and neither exceeds nor outlives the token that creates it. Throws ForbiddenError, NotFoundError
 * (also for a set), InvalidInputError.
 */
export async function createApiToken(
  tx: Tx,
  session: Session,
  input: { login: string | null; label: string; expiresAt: Date | null; permissionSetRefs: readonly string[] | null },
): Promise<{ id: bigint; value?: string }> {
  const { label, permissionSetRefs } = checkInput(fields, {
    label: input.label,
    permissionSetRefs: input.permissionSetRefs && [...new Set(input.permissionSetRefs)],
  });
  const holder = await findHolder(tx.db, session, input.login);
  await checkEnd(tx, session, input.expiresAt);
  if (permissionSetRefs) await requireHeldSets(tx.db, session, permissionSetRefs);
  else if (await isNarrowed(tx.db, session)) {
    throw new ForbiddenError("Your own token is narrowed to permission sets: name the sets of the new token.");
  } else await requireHeldOf(tx.db, session, holder);
  return await insertApiToken(tx, String(holder.identity.id), { label, expiresAt: input.expiresAt, permissionSetRefs });
}

async function checkEnd(tx: Tx, session: Session, expiresAt: Date | null): Promise<void> {
  // Tokens created by a browser's session are meant to outlive it.
  const own = session.kind === "api" ? session.expiresAt : null;
  if (own && (!expiresAt || expiresAt > own)) {
    throw invalid("expiresAt", `must not be after the end of your own token, ${own.toISOString()}`);
  }
  if (!expiresAt) return;
  const [clock] = await rows<{ past: boolean }>(
    tx.db,
    sql`select ${expiresAt.toISOString()}::timestamptz <= now() as "past"`,
  );
  if (clock?.past) throw invalid("expiresAt", "must be in the future");
}

/**
 * Revokes an API token of the caller or, with `identity:update`, of another identity; does nothing if it is already revoked. Throws
 * NotFoundError and ForbiddenError.
 */
export async function revokeApiToken(tx: Tx, session: Session, input: { id: bigint }): Promise<{ id: bigint }> {
  requirePerson(session);
  const [token] = await rows<{ login: string; identity: string }>(
    tx.db,
    sql`select i.login, i.id::text as "identity" from attune.token t join attune.identity i on i.id = t.identity
        where t.id = ${String(input.id)}::bigint and t.kind = 'api' for update of t`,
  );
  const owner = token ? { ref: token.login, ownerId: BigInt(token.identity) } : {};
  const isOwn = owner.ownerId !== undefined && owner.ownerId === session.identityId;
  authorizeFound(session, "read", token, {
    resource: "token",
    name: String(input.id),
    target: () => ({ ownerId: owner.ownerId }),
    implicit: () => (isOwn || may(session, "identity", "update", owner) ? "everything" : null),
  });
  if (!isOwn) authorize(session, "identity", "update", owner);
  await tx.db.execute(
    sql`update attune.token set revoked_at = now(), revoked_by = ${identityOf(session)}::bigint
        where id = ${String(input.id)}::bigint and revoked_at is null`,
  );
  return { id: input.id };
}
