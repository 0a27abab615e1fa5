import { sql } from "drizzle-orm";
import { type Db, rows } from "../db/client.ts";
import type { Tx } from "../db/tx.ts";
import { ConflictError, ForbiddenError, invalid, NotFoundError, RateLimitedError } from "../errors.ts";
import { checkInput } from "../schema/input.ts";
import type { Attempts } from "./attempts.ts";
import { requireHeld } from "./grants.ts";
import { hashPassword, passwordText, verifyPassword } from "./password.ts";
import { findRow, type Row, updateRow } from "./rows.ts";
import { identityOf, type Session } from "./session.ts";
import { findHeldGrants } from "./sessions.ts";

/** The identity whose credentials are changed. */
export interface Holder {
  identity: Row<"identity">;
  isOneself: boolean;
}

/** Throws ForbiddenError for the tokens of executions and sensors, which may not manage credentials. */
export function requirePerson({ kind }: Session): void {
  if (kind === "session" || kind === "api") return;
  throw new ForbiddenError(`The token of ${kind === "execution" ? "an execution" : "a sensor"} may not do this.`);
}

/**
 * Returns the identity whose credentials the session may change: its own (login null or its own), or, with `identity:update`,
 * another. Throws NotFoundError and ForbiddenError.
 */
export async function findHolder(
  db: Db,
  session: Session,
  login: string | null,
  options: { lock?: "no key update" } = {},
): Promise<Holder> {
  requirePerson(session);
  const named = { login: login ?? (await findLogin(db, session)) };
  const isOneself = ({ id }: Row<"identity">) => id === session.identityId;
  const identity = await findRow(db, session, {
    of: "identity",
    doing: "update",
    which: named,
    ...options,
    implicit: (row) => (isOneself(row) ? "everything" : null),
  });
  return { identity, isOneself: isOneself(identity) };
}

async function findLogin(db: Db, session: Session): Promise<string> {
  const [own] = await rows<{ login: string }>(
    db,
    sql`select login from attune.identity where id = ${identityOf(session)}::bigint`,
  );
  if (!own) throw new NotFoundError("identity", session.login);
  return own.login;
}

/** Throws ForbiddenError unless the session holds every grant of the identity, because its credentials grant as much. */
export async function requireHeldOf(db: Db, session: Session, { identity }: Holder): Promise<void> {
  requireHeld(session, await findHeldGrants(db, String(identity.id)));
}

/** Returns whether the session's own token is narrowed to permission sets. */
export async function isNarrowed(db: Db, session: Session): Promise<boolean> {
  const [token] = await rows<{ narrowed: boolean }>(
    db,
    sql`select permission_set_refs is not null as "narrowed" from attune.token where id = ${String(session.tokenId)}::bigint`,
  );
  return token?.narrowed === true;
}

/** The hash of a new password, and the hash of the old one when it was checked. */
interface PreparedPassword {
  login: string | null;
  passwordHash: string;
  previousHash: string | null;
}

/**
 * Checks and hashes a new password, and checks the caller's current one; this is too slow for a transaction. Throws
 * InvalidInputError, NotFoundError, ForbiddenError and RateLimitedError.
 */
export async function prepareSetPassword(
  db: Db,
  session: Session,
  input: { login: string | null; currentPassword: string | null; password: string; attempts: Attempts },
): Promise<PreparedPassword> {
  const password = checkInput(passwordText, input.password, "password");
  const seen = await findHolder(db, session, input.login);
  if (seen.isOneself) await proveOneself(db, session, { ...input, seen });
  return {
    login: input.login,
    passwordHash: await hashPassword(password),
    previousHash: seen.identity.passwordHash,
  };
}

/**
 * Sets the password of the caller or, with `identity:update` and all grants of the other, of another identity. Ends the identity's
 * other sessions and unused sign-in links. Throws NotFoundError, ForbiddenError, and ConflictError if it was changed meanwhile.
 */
export async function setPassword(tx: Tx, session: Session, prepared: PreparedPassword): Promise<{ id: bigint }> {
  const holder = await findHolder(tx.db, session, prepared.login, { lock: "no key update" });
  const { id, login, passwordHash } = holder.identity;
  if (passwordHash !== prepared.previousHash) {
    throw new ConflictError(`The password of "${login}" was changed meanwhile.`);
  }
  if (!holder.isOneself) await requireHeldOf(tx.db, session, holder);
  await updateRow(tx, "identity", { id, fields: { passwordHash: prepared.passwordHash } });
  await endSessions(tx, session, id);
  return { id };
}

/** Requires the current password or, where none is set, a token that is not narrowed. */
async function proveOneself(
  db: Db,
  session: Session,
  { currentPassword, attempts, seen }: { currentPassword: string | null; attempts: Attempts; seen: Holder },
): Promise<void> {
  const { passwordHash, login } = seen.identity;
  if (passwordHash === null) {
    if (!(await isNarrowed(db, session))) return;
    throw new ForbiddenError("Your token is narrowed to permission sets: a password would give more.");
  }
  if (currentPassword === null) throw invalid("currentPassword", "is required");
  const attempt = attempts.begin("own", login);
  if (!attempt.allowed) throw new RateLimitedError(attempt.retryAfterSeconds);
  if (!(await verifyPassword(currentPassword, passwordHash))) throw invalid("currentPassword", "is wrong");
  attempt.succeeded();
}

/** Ends the sessions and sign-in links of the identity, except the caller's session. */
async function endSessions(tx: Tx, session: Session, identity: bigint): Promise<void> {
  await tx.db.execute(
    sql`update attune.token set revoked_at = now()
      where identity = ${String(identity)}::bigint and kind in ('session', 'signin') and revoked_at is null
        and id <> ${String(session.tokenId)}::bigint`,
  );
}
