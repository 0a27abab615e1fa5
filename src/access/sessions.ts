import { createHash } from "node:crypto";
import { sql } from "drizzle-orm";
import { anyOf, type Db, rows } from "../db/client.ts";
import { startLoop } from "../lib/loop.ts";
import type { Log } from "../log.ts";
import { type Grant, narrow, readGrants } from "./grants.ts";
import type { Session } from "./session.ts";

/** How many days a browser's session lasts after its last use. */
export const sessionDays = 30;

/** Returns the sha-256 of a credential, which is all that is stored of it. */
export function hashOf(value: string): string {
  return createHash("sha256").update(value).digest("hex");
}

interface Found {
  token: string;
  hash: string;
  identity: string | null;
  login: string | null;
  kind: Session["kind"];
  expires: string | null;
  execution: string | null;
  /** Whether no use in the last minute is recorded. */
  idle: boolean;
  /** The grants of the identity; null without one. */
  held: unknown[] | null;
  /** The grants that the token is narrowed to; null: it is not. */
  narrowed: unknown[] | null;
  roles: string[] | null;
}

interface Loaded {
  session: Session;
  idle: boolean;
}

/** SQL: the grants of the identity `i`, from its sets and its roles' sets. */
const heldGrants =
  sql.raw(`(select coalesce(jsonb_agg(g.value), '[]'::jsonb) from attune.permission_set s, jsonb_array_elements(s.grants) g
  where s.id in (select a.permission_set from attune.permission_assignment a where a.identity = i.id
    union all select p.permission_set from attune.permission_set_role p join attune.identity_role r on r.role = p.role
      where r.identity = i.id))`);

/** Loads the sessions of valid credentials, by hash or by token id, in one statement. */
async function load(db: Db, by: "token_hash" | "id", values: readonly string[]): Promise<Map<string, Loaded>> {
  const found = await rows<Found>(
    db,
    sql`select t.id::text as "token", t.token_hash as "hash", i.id::text as "identity", i.login as "login", t.kind as "kind",
        to_jsonb(t.expires_at) #>> '{}' as "expires", t.execution::text as "execution",
        coalesce(t.last_used_at < now() - interval '1 minute', true) as "idle",
        case when i.id is not null then ${heldGrants} end as "held",
        case when t.kind = 'sensor' then (select jsonb_build_array(jsonb_build_object('resource', 'event', 'actions',
            jsonb_build_array('create'), 'constraints', jsonb_build_object('refs', coalesce(jsonb_agg(g.ref), '[]'::jsonb))))
            from attune.trigger g where g.sensor = t.sensor)
          when t.permission_set_refs is not null then (select coalesce(jsonb_agg(g.value), '[]'::jsonb)
            from attune.permission_set s, jsonb_array_elements(s.grants) g where s.ref = any(t.permission_set_refs))
        end as "narrowed",
        (select array_agg(r.role order by r.role) from attune.identity_role r where r.identity = i.id) as "roles"
      from attune.token t left join attune.identity i on i.id = t.identity
      where ${by === "id" ? sql`t.id = ${anyOf(values)}` : sql`t.token_hash in ${values}`}
        and t.kind <> 'signin' and t.revoked_at is null and (t.expires_at is null or t.expires_at > now())
        and (i.id is null or not i.frozen) and (i.id is not null or t.kind in ('execution', 'sensor'))`,
  );
  return new Map(found.map((row) => [by === "id" ? row.token : row.hash, { session: toSession(row), idle: row.idle }]));
}

function toSession(row: Found): Session {
  const held = row.held && readGrants(row.held);
  // A token never grants more than its identity holds now; without an identity, it has all grants of its sets.
  const stored = row.narrowed ?? (row.kind === "execution" ? [] : null);
  const narrowed = stored && readGrants(stored);
  const unlimited = held === null || row.kind === "sensor";
  const grants = narrowed === null ? (held ?? []) : unlimited ? narrowed : narrow(held, narrowed);
  return {
    identityId: row.identity === null ? null : BigInt(row.identity),
    login: row.login ?? row.kind,
    tokenId: BigInt(row.token),
    kind: row.kind,
    expiresAt: row.expires === null ? null : new Date(row.expires),
    grants,
    narrowed: narrowed !== null,
    roles: row.roles ?? [],
    executionId: row.execution === null ? null : BigInt(row.execution),
  };
}

/** Returns the grants of an identity, even if it is frozen. */
export async function findHeldGrants(db: Db, identity: string): Promise<Grant[]> {
  const [found] = await rows<{ held: unknown[] }>(
    db,
    sql`select ${heldGrants} as "held" from attune.identity i where i.id = ${identity}::bigint`,
  );
  return readGrants(found?.held ?? []);
}

/** Returns the grants of identities by id, with one statement; frozen and deleted identities are missing. */
export async function findGrants(db: Db, identities: readonly string[]): Promise<Map<string, Grant[]>> {
  const found = await rows<{ identity: string; held: unknown[] }>(
    db,
    sql`select i.id::text as "identity", ${heldGrants} as "held" from attune.identity i
      where i.id = ${anyOf(identities)} and not i.frozen`,
  );
  return new Map(found.map(({ identity, held }) => [identity, readGrants(held)]));
}

/** Returns the session of a credential; null if it is unknown, revoked or expired, or its identity is frozen. Not cached. */
export async function findSession(db: Db, value: string): Promise<Session | null> {
  const hash = hashOf(value);
  return (await load(db, "token_hash", [hash])).get(hash)?.session ?? null;
}

/** Returns the current session of a token by its id, for links that were signed for it; null if it has ended. Not cached. */
export async function findTokenSession(db: Db, token: bigint): Promise<Session | null> {
  return (await load(db, "id", [String(token)])).get(String(token))?.session ?? null;
}

/**
 * Records the use of the credential, at most once a minute, and extends a browser's session, at most once a day. Returns the new end;
 * null if it is unchanged.
 */
async function touch(db: Db, { tokenId, expiresAt }: Session): Promise<Date | null> {
  const [touched] = await rows<{ expires: string | null }>(
    db,
    sql`update attune.token set last_used_at = now(),
        expires_at = case when kind = 'session' and expires_at < now() + make_interval(days => ${sessionDays - 1}::int)
          then now() + make_interval(days => ${sessionDays}::int) else expires_at end
      where id = ${String(tokenId)}::bigint and revoked_at is null and (expires_at is null or expires_at > now())
        and coalesce(last_used_at < now() - interval '1 minute', true)
      returning to_jsonb(expires_at) #>> '{}' as "expires"`,
  );
  const now = touched?.expires ? new Date(touched.expires) : null;
  return now !== null && now.getTime() !== expiresAt?.getTime() ? now : null;
}

/** This process's sessions, cached for a second at most; a change of access clears the cache at once. */
export interface Sessions extends AsyncDisposable {
  /** Returns the session of a credential and records its use; null if it has ended or does not exist. */
  find(value: string): Promise<Session | null>;
  /** Whether `find` has extended the session: then the response must renew its cookie. */
  wasExtended(session: Session): boolean;
  /** Calls back with the session each time it changes; null when it has ended. Returns the function that stops watching. */
  watch(session: Session, changed: (session: Session | null) => void): () => void;
  /** Clears the cache and looks up every watched session again. */
  refresh(): void;
}

const cacheMs = 1000;
const cacheSize = 10_000;
const neverMs = 24 * 3600 * 1000;

interface Watched {
  session: Session;
  changed: (session: Session | null) => void;
}

/** Starts this process's sessions. */
export function createSessions(db: Db, log: Log): Sessions {
  const cache = new Map<string, { at: number; session: Promise<Session | null> }>();
  const watched = new Set<Watched>();
  const extended = new WeakSet<Session>();

  function report(each: Watched, now: Session | null): void {
    if (!watched.has(each) || (now !== null && same(now, each.session))) return;
    if (now === null) watched.delete(each);
    else each.session = now;
    each.changed(now);
  }

  async function pass(): Promise<number> {
    const due = [...watched].filter(({ session }) => session.tokenId !== 0n);
    const ids = [...new Set(due.map(({ session }) => String(session.tokenId)))];
    for (let start = 0; start < ids.length; start += 1000) {
      const chunk = ids.slice(start, start + 1000);
      const found = await load(db, "id", chunk);
      for (const each of due) {
        const id = String(each.session.tokenId);
        if (chunk.includes(id)) report(each, found.get(id)?.session ?? null);
      }
    }
    const ends = due.flatMap(({ session }) => (session.expiresAt ? [session.expiresAt.getTime() - Date.now()] : []));
    return Math.min(neverMs, ...ends.map((ms) => Math.max(ms, 50)));
  }
  const loop = startLoop({ pass, failed: (error) => log.error({ err: error }, "looking up the open sessions failed") });

  async function look(hash: string): Promise<Session | null> {
    const found = (await load(db, "token_hash", [hash])).get(hash);
    if (!found) return null;
    const expiresAt = found.idle ? await touch(db, found.session) : null;
    if (expiresAt === null) return found.session;
    const session = { ...found.session, expiresAt };
    extended.add(session);
    return session;
  }

  return {
    find: async (value) => {
      const hash = hashOf(value);
      const known = cache.get(hash);
      if (known && Date.now() - known.at < cacheMs) return await known.session;
      if (cache.size >= cacheSize) cache.clear();
      const session = look(hash);
      cache.set(hash, { at: Date.now(), session });
      session.catch(() => cache.delete(hash)); // the caller gets the failure; the next call tries again
      return await session;
    },
    wasExtended: (session) => extended.has(session),
    watch: (session, changed) => {
      const entry = { session, changed };
      watched.add(entry);
      loop.wake();
      return () => watched.delete(entry);
    },
    refresh: () => {
      cache.clear();
      loop.wake();
    },
    [Symbol.asyncDispose]: () => loop[Symbol.asyncDispose](),
  };
}

function same(a: Session, b: Session): boolean {
  return (
    JSON.stringify([a.grants, a.roles, a.login, a.expiresAt]) ===
    JSON.stringify([b.grants, b.roles, b.login, b.expiresAt])
  );
}
