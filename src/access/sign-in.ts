import { sql } from "drizzle-orm";
import { rows } from "../db/client.ts";
import type { Services } from "../db/services.ts";
import { type Tx, write } from "../db/tx.ts";
import { ConflictError, RateLimitedError, UnauthenticatedError } from "../errors.ts";
import { type AttemptKey, type Attempts, addressName } from "./attempts.ts";
import { recordAudit } from "./audit.ts";
import { loginName } from "./identity.ts";
import { verifyPassword } from "./password.ts";
import { identityOf, type Session } from "./session.ts";
import { findSession, hashOf } from "./sessions.ts";
import { createSessionToken } from "./token.ts";

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
 * what was wrong, and RateLimitedError after too many failures of the login or from the address. Success and refusal are audited.
 */
export async function signIn(
  services: Services,
  input: { login: string; password: string },
  options: SignInOptions,
): Promise<StartedSession> {
  const login = loginName.safeParse(input.login).data ?? null;
  const request = { way: "signIn", login } as const;
  const succeeded = await count(services, request, options, [{ kind: "login", name: login ?? "" }]);
  const checked = await checkPassword(services, login, input.password);
  const verdict = async (tx: Tx): Promise<Verdict> => {
    if ("refused" in checked) return checked;
    // Hashing is slow: the password may have been changed meanwhile.
    const [unchanged] = await rows(
      tx.db,
      sql`select from attune.identity where id = ${checked.identity}::bigint and password_hash = ${checked.hash} for share`,
    );
    return unchanged ? checked : { refused: "the password is wrong" };
  };
  const signedIn = await conclude(services, request, options, verdict);
  if (!signedIn) throw new UnauthenticatedError("The login or the password is wrong.");
  succeeded();
  return signedIn;
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

/** Exchanges a sign-in token, once, for a session of 30 days. Throws as `signIn`, for a used, expired or unknown token. */
export async function signInByLink(
  services: Services,
  input: { token: string },
  options: SignInOptions,
): Promise<StartedSession> {
  const request = { way: "signInByLink", login: null } as const;
  const succeeded = await count(services, request, options, []);
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
  succeeded();
  return signedIn;
}

/** Counts the attempt and returns the function to call on success. Throws RateLimitedError; the first one of a wait is audited. */
async function count(
  services: Services,
  request: Request,
  options: SignInOptions,
  keys: readonly AttemptKey[],
): Promise<() => void> {
  const attempt = options.attempts.begin([...keys, { kind: "address", name: addressName(options.ip) }]);
  if (attempt.allowed) return attempt.succeeded;
  // One entry only: anonymous callers must not fill the trail.
  if (attempt.first) {
    // A transaction of its own: the refusal below must not roll the entry back.
    await write(services, (tx) => audit(tx, request, options, { refused: "too many attempts have failed" }));
  }
  throw new RateLimitedError(attempt.retryAfterSeconds);
}

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
    const refused = "refused" in verdict ? verdict.refused : "it is frozen";
    await audit(tx, request, options, session ? { session } : { refused });
    return token && session ? { ...token, session } : null;
  });
}

async function audit(
  tx: Tx,
  { way, login }: Request,
  { ip, requestId }: SignInOptions,
  result: { session: Session } | { refused: string },
): Promise<void> {
  const good = "session" in result;
  await recordAudit(tx.db, {
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
