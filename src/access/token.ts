import { randomBytes } from "node:crypto";
import { sql } from "drizzle-orm";
import { rows } from "../db/client.ts";
import type { Tx } from "../db/tx.ts";
import { hashOf, sessionDays } from "./sessions.ts";

const signInMinutes = 15;

/** A new credential's value: shown once; only its hash is stored. */
function newValue(kind: "signin" | "session" | "api"): { value: string; hash: string } {
  const value = `att_${kind}_${randomBytes(32).toString("base64url")}`;
  return { value, hash: hashOf(value) };
}

/**
 * Makes the identity `admin` (without a password) and gives it `core.admin`, unless it is there: what people then take from it
 * stays taken. Answers its id.
 */
export async function ensureAdmin(tx: Tx): Promise<string> {
  await tx.db.execute(
    sql`with made as (insert into attune.identity (login, display_name) values ('admin', 'Administrator')
        on conflict (login) do nothing returning id)
      insert into attune.permission_assignment (identity, permission_set)
      select made.id, p.id from made, attune.permission_set p where p.ref = 'core.admin'`,
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

/** Stores a new API token that does all that its identity may do, without an end. Answers its value, shown this once. */
export async function issueApiToken(tx: Tx, identity: string, label: string): Promise<string> {
  const { value } = await insertApiToken(tx, identity, { label, expiresAt: null, permissionSetRefs: null });
  return value;
}

/** What is chosen of an API token. */
interface ApiTokenFields {
  label: string;
  expiresAt: Date | null;
  permissionSetRefs: readonly string[] | null;
}

/** Stores a new API token of the identity; whether that may be is the caller's to know. Its value is answered this once. */
export async function insertApiToken(
  tx: Tx,
  identity: string,
  fields: ApiTokenFields,
): Promise<{ id: bigint; value: string }> {
  const { value, hash } = newValue("api");
  const refs = fields.permissionSetRefs === null ? null : JSON.stringify(fields.permissionSetRefs);
  const [made] = await rows<{ id: string }>(
    tx.db,
    sql`insert into attune.token (kind, token_hash, identity, label, prefix, expires_at, permission_set_refs)
      values ('api', ${hash}, ${identity}::bigint, ${fields.label}, ${value.slice(0, 12)},
        ${fields.expiresAt?.toISOString() ?? null}::timestamptz,
        (select array_agg(r.value order by r.value) from jsonb_array_elements_text(${refs}::text::jsonb) r))
      returning id::text`,
  );
  if (!made) throw new Error("an API token could not be stored");
  return { id: BigInt(made.id), value };
}

/** Makes the token of a browser's session for the identity, as long as that is not frozen; null otherwise. */
export async function createSessionToken(tx: Tx, identity: string): Promise<{ value: string; expiresAt: Date } | null> {
  const { value, hash } = newValue("session");
  const [made] = await rows<{ expires: string }>(
    tx.db,
    sql`insert into attune.token (kind, token_hash, identity, last_used_at, expires_at)
      select 'session', ${hash}, i.id, now(), now() + make_interval(days => ${sessionDays}::int)
        from attune.identity i where i.id = ${identity}::bigint and not i.frozen for share
      returning to_jsonb(expires_at) #>> '{}' as "expires"`,
  );
  return made ? { value, expiresAt: new Date(made.expires) } : null;
}
