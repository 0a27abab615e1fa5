import { sql } from "drizzle-orm";
import { type Db, rows } from "../db/client.ts";
import type { Services } from "../db/services.ts";
import { type Tx, write } from "../db/tx.ts";
import { ConflictError, ForbiddenError, RateLimitedError, UnauthenticatedError } from "../errors.ts";
import { type Attempts, addressName } from "./attempts.ts";
import { recordAudit } from "./audit.ts";
import { loginName } from "./identity.ts";
import { verifyPassword } from "./password.ts";
import { identityOf, type Session } from "./session.ts";
import { findSession, hashOf } from "./sessions.ts";
import { createSessionToken, createSignInToken } from "./token.ts";

/** The source of a sign-in request, and the counter of failures. */
export interface SignInOptions {
  attempts: Attempts;
  ip: string | null;
  requestId: string;
}

/** A new browser session with its credential, which only the browser's cookie may contain. */
export interface StartedSession {
  value: string;
  expiresAt: Date;
  session: Session;
}

interface Request {
  way: "signIn" | "signInByLink";
  login: string | null;
}

/** The identity to sign in, or the reason for refusing, which only the audit trail shows. */
type Verdict = { identity: string } | { refused: string };

/**
 * Starts a session of 30 days for a login and its password. Throws UnauthenticatedError, whose message and timing do not depend on
 * what was wrong, and RateLimitedError after too many failures of the login from the address. Success and refusal are audited.
 */
export async function signIn(
  services: Services,
  input: { login: string; password: string },
  options: SignInOptions,
): Promise<StartedSession> {
  const { attempts } = options;
  const address = addressName(options.ip);
  return await attempts.inTurn(address, async () => {
    const login = loginName.safeParse(input.login).data ?? null;
    const request = { way: "signIn", login } as const;
    const attempt = attempts.begin("signIn", `${login ?? ""} ${address}`);
    if (!attempt.allowed) {
      // A transaction of its own: the refusal below must not roll the entry back.
      if (attempt.first) await write(services, (tx) => auditRefusal(tx, request, options, tooMany));
      throw new RateLimitedError(attempt.retryAfterSeconds);
    }
    const checked = await checkPassword(services, login, input.password);
    const decide = async (tx: Tx): Promise<Verdict> => {
      if ("refused" in checked) return checked;
      // Hashing is slow: the password may have been changed meanwhile.
      const [unchanged] = await rows(
        tx.db,
        sql`select from attune.identity where id = ${checked.identity}::bigint and password_hash = ${checked.hash} for share`,
      );
      return unchanged ? checked : { refused: "the password is wrong" };
    };
    const signedIn = await conclude(services, request, options, decide);
    if (!signedIn) throw new UnauthenticatedError("The login or the password is wrong.");
    attempt.succeeded();
    return signedIn;
  });
}

async function checkPassword(
  services: Services,
  login: string | null,
  password: string,
): Promise<{ identity: string; hash: string } | { refused: string }> {
  const [found] = await rows<{ id: string; hash: string | null; frozen: boolean }>(
    services.db,
    sql`select id::text, password_hash as "hash", frozen from attune.identity where login = ${login}`,
  );
  const right = await verifyPassword(password, found?.hash ?? null);
  if (!found) return { refused: "there is no such login" };
  if (found.hash === null) return { refused: "it has no password" };
  if (!right) return { refused: "the password is wrong" };
  return found.frozen ? { refused: "it is frozen" } : { identity: found.id, hash: found.hash };
}

/**
 * Exchanges a sign-in token, once, for a session of 30 days. Throws UnauthenticatedError for a used, expired or unknown token. However many
 * attempts have failed, a valid one is accepted: nobody can guess it.
 */
export async function signInByLink(
  services: Services,
  input: { token: string },
  options: SignInOptions,
): Promise<StartedSession> {
  const request = { way: "signInByLink", login: null } as const;
  const signedIn = await conclude(services, request, options, async (tx) => {
    const [used] = await rows<{ identity: string }>(
      tx.db,
      sql`update attune.token t set revoked_at = now(), last_used_at = now() from attune.identity i
        where t.token_hash = ${hashOf(input.token)} and t.kind = 'signin' and t.revoked_at is null and t.expires_at > now()
          and i.id = t.identity and not i.frozen returning t.identity::text as identity`,
    );
    return used ?? { refused: "the link is used, expired or unknown" };
  });
  if (!signedIn) {
    throw new UnauthenticatedError("This sign-in link is used, expired or unknown: create a new one.");
  }
  return signedIn;
}

const tooMany = "too many attempts have failed";

/** Starts the session and audits it, or audits the refusal and returns null. */
async function conclude(
  services: Services,
  request: Request,
  options: SignInOptions,
  decide: (tx: Tx) => Promise<Verdict>,
): Promise<StartedSession | null> {
  // A transaction of its own: hashing comes before it, and a failed attempt leaves its entry.
  return await write(services, async (tx) => {
    const verdict = await decide(tx);
    const token = "identity" in verdict ? await createSessionToken(tx, verdict.identity) : null;
    const session = token && (await findSession(tx.db, token.value));
    if (session) await audit(tx.db, request, options, { session });
    else await auditRefusal(tx, request, options, "refused" in verdict ? verdict.refused : "it is frozen");
    return token && session ? { ...token, session } : null;
  });
}

/**
 * Audits a refusal. Those of logins and links that do not exist can be caused without end: of one address 30 in a quarter of an hour stay in
 * the trail. The others are written and rolled back, because the time of a response must not tell whether a login exists.
 */
async function auditRefusal(tx: Tx, request: Request, options: SignInOptions, refused: string): Promise<void> {
  const exists = await rows(tx.db, sql`select from attune.identity where login = ${request.login}`);
  const counted = exists.length > 0 ? null : options.attempts.begin("unknown", addressName(options.ip));
  if (counted === null || counted.allowed) return await audit(tx.db, request, options, { refused });
  if (counted.first) return await audit(tx.db, request, options, { refused: tooMany });
  const undone = new Error("rolled back");
  // A transaction of its own: a savepoint, so that only the entry is undone.
  const written = tx.db.transaction(async (db) => {
    await audit(db, request, options, { refused });
    throw undone;
  });
  await written.catch((error: unknown) => {
    if (error !== undone) throw error;
  });
}

async function audit(
  db: Db,
  { way, login }: Request,
  { ip, requestId }: SignInOptions,
  result: { session: Session } | { refused: string },
): Promise<void> {
  const good = "session" in result;
  await recordAudit(db, {
    category: "sign_in",
    eventType: way,
    outcome: good ? "success" : "denied",
    session: good ? result.session : null,
    login,
    ip,
    requestId,
    resourceType: "identity",
    resourceRef: good ? result.session.login : login,
    details: good ? null : { reason: result.refused },
  });
}

/**
 * Creates a sign-in link for the caller and returns its token. Throws ForbiddenError unless the caller has an API token with all grants and
 * without an end: a session must not have more, nor last longer, than what started it.
 */
export async function createSignInLink(
  tx: Tx,
  session: Session,
  { ip, requestId }: Pick<SignInOptions, "ip" | "requestId">,
): Promise<string> {
  const identity = identityOf(session);
  if (identity === null || session.kind !== "api" || session.narrowed || session.expiresAt !== null) {
    throw new ForbiddenError(
      "A sign-in link requires an API token with all grants of its identity that does not expire.",
    );
  }
  await recordAudit(tx.db, {
    category: "sign_in",
    eventType: "createSignInLink",
    outcome: "success",
    session,
    ip,
    requestId,
    resourceType: "identity",
    resourceRef: session.login,
    details: null,
  });
  return await createSignInToken(tx, identity);
}

/** Ends the session, or all browser sessions of its identity, and returns their number. Throws ConflictError for another token. */
export async function signOut(
  tx: Tx,
  session: Session,
  { everywhere }: { everywhere: boolean },
): Promise<{ ended: number }> {
  if (session.kind !== "session") {
    throw new ConflictError("Only a session that was started by signing in can sign out: revoke the token instead.");
  }
  const ended = await rows(
    tx.db,
    sql`update attune.token set revoked_at = now(), revoked_by = ${identityOf(session)}::bigint
        where kind = 'session' and revoked_at is null and identity = ${identityOf(session)}::bigint
          and (${everywhere} or id = ${String(session.tokenId)}::bigint)
          and expires_at > now() returning id`,
  );
  return { ended: ended.length };
}
