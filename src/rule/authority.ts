import { sql } from "drizzle-orm";
import type { KeyFacts } from "../access/entities.ts";
import { type Grant, may, targetOf } from "../access/grants.ts";
import { mayWithKey } from "../access/key.ts";
import { openSession, type Session } from "../access/session.ts";
import { findGrants } from "../access/sessions.ts";
import { type Db, rows } from "../db/client.ts";
import type { Tx } from "../db/tx.ts";
import { ForbiddenError, NotFoundError } from "../errors.ts";

/** A rule as far as its authority goes. Without an owner it is a pack's own; if it was created by hand, its owner was deleted. */
export interface OwnedRule {
  ref: string;
  owner: string | null;
  isAdhoc: boolean;
  pack: { ref: string };
}

/** What the grants of rules' owners and the keys say at one moment. */
export interface Authority {
  /** Why the action may not be run for the rule; null when it may. */
  refuseAction(rule: OwnedRule, actionRef: string): string | null;
  /** Why the key may not be used by the rule; null when it may, or when there is none. */
  refuseKey(rule: OwnedRule, ref: string): string | null;
  /** The value of a key that the rule may use. Throws when there is none. */
  readKey(ref: string): string;
}

/** The grants of rules' owners, at most a second old; one for each executor. */
export interface Owners {
  /** In one statement when any must be looked up, else in none. */
  load(db: Db, ids: Iterable<string>): Promise<ReadonlyMap<string, Grant[]>>;
}

const cacheMs = 1000;

/** Nothing looked up yet. */
export function createOwners(): Owners {
  let loadedAt = Number.NEGATIVE_INFINITY;
  let known = new Map<string, Grant[]>();
  let lookedUp = new Set<string>();
  let asked = new Set<string>();
  return {
    load: async (db, ids) => {
      const wanted = new Set(ids);
      const isOld = performance.now() - loadedAt >= cacheMs;
      // All that were asked for lately together: not one after another, each at its own second.
      const missing = isOld ? [...new Set([...wanted, ...asked])] : [...wanted].filter((id) => !lookedUp.has(id));
      if (wanted.size > 0 && missing.length > 0) {
        const startedAt = performance.now();
        const found = await findGrants(db, missing);
        known = isOld ? found : new Map([...known, ...found]);
        lookedUp = new Set(isOld ? missing : [...lookedUp, ...missing]);
        if (isOld) {
          loadedAt = startedAt;
          asked = new Set();
        }
      }
      for (const id of wanted) asked.add(id);
      return known;
    },
  };
}

interface KeyRow extends KeyFacts {
  encrypted: boolean;
  value: string;
}

async function findKeys(db: Db, refs: readonly string[]): Promise<Map<string, KeyRow>> {
  if (refs.length === 0) return new Map();
  const found = await rows<KeyRow & { identity: string | null }>(
    db,
    sql`select ref as "ref", owner_type as "ownerType", owner as "owner", owner_identity::text as "identity",
        encrypted as "encrypted", value as "value"
      from attune.key where ref in (select jsonb_array_elements_text(${JSON.stringify(refs)}::text::jsonb))`,
  );
  return new Map(
    found.map(({ identity, ...key }) => [
      key.ref,
      { ...key, ownerIdentityId: identity === null ? null : BigInt(identity) },
    ]),
  );
}

/** What these rules may do now. Looks up their owners' grants (see `Owners`) and the keys that they name, if they name any. */
export async function loadAuthority(
  { db, keyring }: Tx,
  owners: Owners,
  rules: readonly (OwnedRule & { keys: readonly string[] })[],
): Promise<Authority> {
  const grants = await owners.load(db, new Set(rules.flatMap(({ owner }) => owner ?? [])));
  const keys = await findKeys(db, [...new Set(rules.flatMap((rule) => rule.keys))]);
  const opened = new Map<string, string>();
  const sessionOf = (owner: string): Session => ({ ...openSession(owner), login: "", grants: grants.get(owner) ?? [] });
  return {
    refuseAction: ({ ref, owner, isAdhoc }, actionRef) => {
      if (owner === null) return isAdhoc ? `The rule "${ref}" belongs to nobody any more.` : null;
      if (may(sessionOf(owner), "action", "execute", targetOf(actionRef))) return null;
      return `The owner of the rule "${ref}" may not execute the action "${actionRef}".`;
    },
    refuseKey: ({ ref, owner, isAdhoc, pack }, keyRef) => {
      const key = keys.get(keyRef);
      if (!key) return null;
      const ofPack = key.ownerType === "system" || (key.ownerType === "pack" && key.owner === pack.ref);
      // Whoever is frozen has no grants, and may not use what is their own either.
      const allowed =
        owner === null ? !isAdhoc && ofPack : grants.has(owner) && mayWithKey(sessionOf(owner), "use", key);
      return allowed ? null : `The rule "${ref}" may not use the key "${keyRef}".`;
    },
    readKey: (ref) => {
      const key = keys.get(ref);
      if (!key) throw new NotFoundError("key", ref);
      const value = opened.get(ref) ?? (key.encrypted ? keyring.open(key.value) : key.value);
      opened.set(ref, value);
      return value;
    },
  };
}

/**
 * Whether a rule that the session saves may use these keys: the session becomes its owner. Throws NotFoundError (also where it may not know
 * of the key) and ForbiddenError.
 */
export async function requireKeys(db: Db, session: Session, refs: readonly string[]): Promise<void> {
  const keys = await findKeys(db, refs);
  for (const ref of refs) {
    const key = keys.get(ref);
    if (key && mayWithKey(session, "use", key)) continue;
    if (!key || !mayWithKey(session, "read", key)) throw new NotFoundError("key", ref);
    throw new ForbiddenError(`You may not use the key "${ref}" in a rule: it takes a grant of key:use.`);
  }
}
