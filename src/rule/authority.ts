import { sql } from "drizzle-orm";
import type { KeyFacts } from "../access/entities.ts";
import { type Grant, may, targetOf } from "../access/grants.ts";
import { mayWithKey } from "../access/key.ts";
import { openSession, type Session } from "../access/session.ts";
import { findGrants } from "../access/sessions.ts";
import { type Db, rows } from "../db/client.ts";
import type { Tx } from "../db/tx.ts";
import { ForbiddenError, NotFoundError } from "../errors.ts";
import { settingPointer } from "../lang/template.ts";

/** The properties of a rule that decide its authority. A rule without an owner is its pack's; an ad-hoc one has lost its owner. */
export interface OwnedRule {
  ref: string;
  owner: string | null;
  isAdhoc: boolean;
  pack: { ref: string };
}

/** The permissions of rules, from their owners' grants and the keys at one moment. */
export interface Authority {
  /** Returns why the rule may not execute the action; null when it may. */
  refuseAction(rule: OwnedRule, actionRef: string): string | null;
  /** Returns why the rule may not pass on what events of the trigger contain; null when it may. */
  refuseEvents(rule: OwnedRule, triggerRef: string): string | null;
  /** Returns why the rule may not use the key; null when it may, or when the key does not exist. */
  refuseKey(rule: OwnedRule, ref: string): string | null;
  /** Returns the value of a key that the rule may use. Throws NotFoundError. */
  readKey(ref: string): string;
}

/** A cache of the grants of rules' owners, at most a second old. Each executor has one. */
export interface Owners {
  /** Returns grants by owner, with at most one statement. */
  load(db: Db, ids: Iterable<string>): Promise<ReadonlyMap<string, Grant[]>>;
}

const cacheMs = 1000;

/** Creates an empty cache. */
export function createOwners(): Owners {
  let loadedAt = Number.NEGATIVE_INFINITY;
  let known = new Map<string, Grant[]>();
  let lookedUp = new Set<string>();
  let requested = new Set<string>();
  return {
    load: async (db, ids) => {
      const wanted = new Set(ids);
      const isOld = performance.now() - loadedAt >= cacheMs;
      // Reloads all recently requested owners together instead of each when its own second is over.
      const missing = isOld ? [...new Set([...wanted, ...requested])] : [...wanted].filter((id) => !lookedUp.has(id));
      if (wanted.size > 0 && missing.length > 0) {
        const startedAt = performance.now();
        const found = await findGrants(db, missing);
        known = isOld ? found : new Map([...known, ...found]);
        lookedUp = new Set(isOld ? missing : [...lookedUp, ...missing]);
        if (isOld) {
          loadedAt = startedAt;
          requested = new Set();
        }
      }
      for (const id of wanted) requested.add(id);
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

/** Returns a secret setting as the pack's key that grants see in it, `pack.<pack>.config.<setting>`; null for the name of a key. */
function settingAsKey(packRef: string, name: string): KeyFacts | null {
  if (settingPointer(name) === null) return null;
  return { ref: `pack.${packRef}.${name}`, ownerType: "pack", owner: packRef, ownerIdentityId: null };
}

/** Returns what these rules may do now: loads their owners' grants (see `Owners`) and the keys that they name. */
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
      if (owner === null) return isAdhoc ? `The owner of the rule "${ref}" no longer exists.` : null;
      if (may(sessionOf(owner), "action", "execute", targetOf(actionRef))) return null;
      return `The owner of the rule "${ref}" may not execute the action "${actionRef}".`;
    },
    // The action has been checked before: here an ad-hoc rule has its owner.
    refuseEvents: ({ ref, owner }, triggerRef) => {
      if (owner === null || may(sessionOf(owner), "event", "read", targetOf(triggerRef))) return null;
      return `The owner of the rule "${ref}" may not read events of the trigger "${triggerRef}".`;
    },
    refuseKey: ({ ref, owner, isAdhoc, pack }, keyRef) => {
      const key = settingAsKey(pack.ref, keyRef) ?? keys.get(keyRef);
      if (!key) return null;
      const ofPack = key.ownerType === "system" || (key.ownerType === "pack" && key.owner === pack.ref);
      // A frozen owner has no grants, and may not use their own keys either.
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

/** Requires that the session, which becomes the owner of a rule that passes on what events contain, may read them. Throws ForbiddenError. */
export function requireEvents(session: Session, triggerRef: string): void {
  if (may(session, "event", "read", targetOf(triggerRef))) return;
  const what = `use what events of the trigger "${triggerRef}" contain in a rule`;
  throw new ForbiddenError(`You may not ${what}: it requires a grant of event:read.`);
}

/**
 * Requires that the session, which becomes the owner of the rule, may use these keys and secret settings of the pack. Throws
 * NotFoundError (also for keys that it may not read) and ForbiddenError.
 */
export async function requireKeys(
  db: Db,
  session: Session,
  { packRef, names }: { packRef: string; names: readonly string[] },
): Promise<void> {
  const keys = await findKeys(db, names);
  for (const name of names) {
    const setting = settingAsKey(packRef, name);
    const key = setting ?? keys.get(name);
    const ref = setting?.ref ?? name;
    if (key && mayWithKey(session, "use", key)) continue;
    if (!key || (!setting && !mayWithKey(session, "read", key))) throw new NotFoundError("key", ref);
    throw new ForbiddenError(`You may not use the key "${ref}" in a rule: it needs a grant of key:use.`);
  }
}
