import { randomBytes } from "node:crypto";
import { sql } from "drizzle-orm";
import { rows } from "../db/client.ts";
import type { Tx } from "../db/tx.ts";
import { hashOf, sessionDays } from "./sessions.ts";

const signInMinutes = 15;

/** Returns a new credential and its hash; only the hash is stored. */
function newValue(kind: "signin" | "session" | "api"): { value: string; hash: string } {
  const value = `att_${kind}_${randomBytes(32).toString("base64url")}`;
  return { value, hash: hashOf(value) };
}

/**
 * Creates the identity `admin` (without a password) with the set `core.admin`. An existing `admin` is unchanged, even if the set was
 * removed from it. Returns its id.
 */
export async function ensureAdmin(tx: Tx): Promise<string> {
  await tx.db.execute(
    sql`with created as (insert into attune.identity (login, display_name) values ('admin', 'Administrator')
        on conflict (login) do nothing returning id)
      insert into attune.permission_assignment (identity, permission_set)
      select created.id, p.id from created, attune.permission_set p where p.ref = 'core.admin'`,
  );
  const [admin] = await rows<{ id: string }>(tx.db, sql`select id::text from attune.identity where login = 'admin'`);
  if (!admin) throw new Error("the identity admin could not be created");
  return admin.id;
}

/** Creates a sign-in token for the identity and returns its value; it works once, within 15 minutes. */
export async function createSignInToken(tx: Pick<Tx, "db">, identity: string): Promise<string> {
  const { value, hash } = newValue("signin");
  await tx.db.execute(
    sql`insert into attune.token (kind, token_hash, identity, expires_at)
      values ('signin', ${hash}, ${identity}::bigint, now() + make_interval(mins => ${signInMinutes}::int))`,
  );
  return value;
}

/** Creates an API token with all grants of its identity and no expiry. Returns its value, which is not stored. */
export async function issueApiToken(tx: Tx, identity: string, label: string): Promise<string> {
  const { value } = await insertApiToken(tx, identity, { label, expiresAt: null, permissionSetRefs: null });
  return value;
}

interface ApiTokenFields {
  label: string;
  expiresAt: Date | null;
  permissionSetRefs: readonly string[] | null;
}

/** Creates an API token of the identity without any check, and returns its value, which is not stored. */
export async function insertApiToken(
  tx: Tx,
  identity: string,
  fields: ApiTokenFields,
): Promise<{ id: bigint; value: string }> {
  const { value, hash } = newValue("api");
  const refs = fields.permissionSetRefs === null ? null : JSON.stringify(fields.permissionSetRefs);
  const [created] = await rows<{ id: string }>(
    tx.db,
    sql`insert into attune.token (kind, token_hash, identity, label, prefix, expires_at, permission_set_refs)
      values ('api', ${hash}, ${identity}::bigint, ${fields.label}, ${value.slice(0, 12)},
        ${fields.expiresAt?.toISOString() ?? null}::timestamptz,
        (select array_agg(r.value order by r.value) from jsonb_array_elements_text(${refs}::text::jsonb) r))
      returning id::text`,
  );
  if (!created) throw new Error("an API token could not be stored");
  return { id: BigInt(created.id), value };
}

/** Creates the token of a browser session for the identity; returns null if it is frozen. */
export async function createSessionToken(tx: Tx, identity: string): Promise<{ value: string; expiresAt: Date } | null> {
  const { value, hash } = newValue("session");
  const [created] = await rows<{ expires: string }>(
    tx.db,
    sql`insert into attune.token (kind, token_hash, identity, last_used_at, expires_at)
      select 'session', ${hash}, i.id, now(), now() + make_interval(days => ${sessionDays}::int)
        from attune.identity i where i.id = ${identity}::bigint and not i.frozen for share
      returning to_jsonb(expires_at) #>> '{}' as "expires"`,
  );
  return created ? { value, expiresAt: new Date(created.expires) } : null;
}
