import { randomBytes } from "node:crypto";
import { sql } from "drizzle-orm";
import { rows } from "../db/client.ts";
import { type Engine, type Tx, write } from "../db/engine.ts";
import { UnauthenticatedError } from "../errors.ts";
import { hashOf } from "./sessions.ts";

const sessionDays = 30;
const signInMinutes = 15;

/** A new credential's value: shown once; only its hash is stored. */
function newValue(kind: "signin" | "session" | "api"): { value: string; hash: string } {
  const value = `att_${kind}_${randomBytes(32).toString("base64url")}`;
  return { value, hash: hashOf(value) };
}

/** Makes the identity `admin` (without a password) and gives it `core.admin`, unless it is there. Answers its id. */
export async function ensureAdmin(tx: Tx): Promise<string> {
  await tx.db.execute(
    sql`insert into attune.identity (login, display_name) values ('admin', 'Administrator') on conflict (login) do nothing`,
  );
  await tx.db.execute(
    sql`insert into attune.permission_assignment (identity, permission_set)
      select i.id, p.id from attune.identity i, attune.permission_set p where i.login = 'admin' and p.ref = 'core.admin'
      on conflict do nothing`,
  );
  const [admin] = await rows<{ id: string }>(tx.db, sql`select id::text from attune.identity where login = 'admin'`);
  if (!admin) throw new Error("the identity admin could not be made");
  return admin.id;
}

/** Makes a sign-in token for the identity: it works once, for 15 minutes. Answers its value. */
export async function createSignInToken(tx: Tx, identity: string): Promise<string> {
  const { value, hash } = newValue("signin");
  await tx.db.execute(
    sql`insert into attune.token (kind, token_hash, identity, expires_at)
      values ('signin', ${hash}, ${identity}::bigint, now() + make_interval(mins => ${signInMinutes}::int))`,
  );
  return value;
}

/** Makes an API token without an end for the identity. Answers its value, shown this once. */
export async function createApiToken(tx: Tx, identity: string, label: string): Promise<string> {
  const { value, hash } = newValue("api");
  await tx.db.execute(
    sql`insert into attune.token (kind, token_hash, identity, label, prefix)
      values ('api', ${hash}, ${identity}::bigint, ${label}, ${value.slice(0, 12)})`,
  );
  return value;
}

/** Exchanges a sign-in token, once, for a session of 30 days. Throws UnauthenticatedError when it is used, old or unknown. */
export async function signIn(engine: Engine, value: string): Promise<{ session: string; maxAgeSeconds: number }> {
  return await write(engine, async (tx) => {
    const [used] = await rows<{ identity: string }>(
      tx.db,
      sql`update attune.token t set revoked_at = now(), last_used_at = now() from attune.identity i
        where t.token_hash = ${hashOf(value)} and t.kind = 'signin' and t.revoked_at is null and t.expires_at > now()
          and i.id = t.identity and not i.frozen returning t.identity::text as identity`,
    );
    if (!used) {
      throw new UnauthenticatedError("This sign-in link was used already, is too old, or never was: make a new one.");
    }
    const session = newValue("session");
    await tx.db.execute(
      sql`insert into attune.token (kind, token_hash, identity, expires_at)
        values ('session', ${session.hash}, ${used.identity}::bigint, now() + make_interval(days => ${sessionDays}::int))`,
    );
    return { session: session.value, maxAgeSeconds: sessionDays * 86_400 };
  });
}
