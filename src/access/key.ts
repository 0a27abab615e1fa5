import { sql } from "drizzle-orm";
import { z } from "zod";
import { rows } from "../db/client.ts";
import type { Tx } from "../db/tx.ts";
import { ConflictError, invalid, NotFoundError } from "../errors.ts";
import { checkInput } from "../schema/input.ts";
import { storableJson } from "../schema/storable.ts";
import { recordAudit } from "./audit.ts";
import type { Target } from "./constraints.ts";
import { authorize, may } from "./grants.ts";
import type { Session } from "./session.ts";

/** What can own a key. */
type OwnerType = "system" | "identity" | "pack" | "action" | "sensor";

/** What a key says to a grant's constraints: only a pack's key belongs to a pack, only an identity's to an identity. */
interface Owned {
  ref: string;
  ownerType: OwnerType;
  owner: string;
  ownerIdentity: string | null;
}

/** The key as grants see it. */
function targetOfKey({ ref, ownerType, owner, ownerIdentity }: Owned): Target {
  return {
    ref,
    packRef: ownerType === "pack" ? owner : null,
    ownerId: ownerIdentity === null ? null : BigInt(ownerIdentity),
  };
}

/** What a person may always do with keys of their own. A narrowed token, and so every execution's, gives what it was narrowed to and no more. */
function isOwn({ identityId, narrowed }: Session, { ownerIdentity }: Owned): boolean {
  return ownerIdentity !== null && ownerIdentity === String(identityId) && !narrowed;
}

/** Whether the session may do that with the key. */
export function mayWithKey(session: Session, action: string, key: Owned): boolean {
  return isOwn(session, key) || may(session, "key", action, targetOfKey(key));
}

function authorizeKey(session: Session, action: string, key: Owned): void {
  if (!isOwn(session, key)) authorize(session, "key", action, targetOfKey(key));
}

/** Who shall own a key: exactly one of these, by login or ref. */
export type KeyOwner = Readonly<Partial<Record<Exclude<OwnerType, "system">, string> & { system: boolean }>>;

const keyInput = z.object({
  name: z
    .string()
    .regex(/^[a-z0-9][a-z0-9_-]{0,62}$/, "must be 1 to 63 of a-z, 0-9, _ and -, and begin with a letter or digit"),
  value: z.string().min(1, "must not be empty"),
});
const longestValue = 16 * 1024;

export interface SetKeyInput {
  owner: KeyOwner;
  name: string;
  value: string;
  encrypted: boolean;
  expectedUpdated: Date | null;
}

/**
 * Stores a key: makes it, or gives the one of that owner and name this value. Throws InvalidInputError, NotFoundError (the
 * owner; the key, when `expectedUpdated` is given), ForbiddenError, and ConflictError when it has changed since `expectedUpdated`.
 */
export async function setKey(tx: Tx, session: Session, input: SetKeyInput): Promise<{ id: bigint }> {
  const { name, value } = checkInput(keyInput, { name: input.name, value: input.value });
  storableJson(value, "value", longestValue);
  const { type, ref: ownerRef } = readOwner(input.owner);
  const ref = type === "system" ? `system.${name}` : `${type}.${ownerRef}.${name}`;
  const stored = input.encrypted ? { hash: tx.keyring.id, value: tx.keyring.seal(value) } : { hash: null, value };
  const known = await findKey(tx, ref);
  if (known) {
    authorizeKey(session, "update", known);
    if (input.expectedUpdated && input.expectedUpdated.getTime() !== new Date(known.updated).getTime()) {
      throw new ConflictError(`The key "${ref}" was changed at ${known.updated}: look at it again.`);
    }
    await tx.db.execute(
      sql`update attune.key set value = ${stored.value}, encrypted = ${input.encrypted}, encryption_key_hash = ${stored.hash}
          where id = ${known.id}::bigint`,
    );
    return { id: BigInt(known.id) };
  }
  const ownerId = type === "system" ? null : await findOwner(tx, type, ownerRef);
  const ownerIdentity = type === "identity" ? ownerId : null;
  authorizeKey(session, "create", { ref, ownerType: type, owner: ownerRef, ownerIdentity });
  if (type !== "system" && ownerId === null) throw new NotFoundError(type, ownerRef);
  if (input.expectedUpdated) throw new NotFoundError("key", ref);
  const own = (of: OwnerType) => (of === type ? ownerId : null);
  const [made] = await rows<{ id: string }>(
    tx.db,
    sql`insert into attune.key (ref, owner_type, owner, owner_identity, owner_pack, owner_action, owner_sensor, name, encrypted,
          encryption_key_hash, value)
        values ('', ${type}::attune.owner_type, '', ${own("identity")}::bigint, ${own("pack")}::bigint, ${own("action")}::bigint,
          ${own("sensor")}::bigint, ${name}, ${input.encrypted}, ${stored.hash}, ${stored.value})
        on conflict (owner_type, owner, name) do nothing returning id::text`,
  );
  if (!made) throw new ConflictError(`Somebody else made the key "${ref}" at the same moment: look at it first.`);
  return { id: BigInt(made.id) };
}

/** Deletes a key. Throws NotFoundError (also where the session may not know of it), ForbiddenError. */
export async function deleteKey(
  tx: Tx,
  session: Session,
  input: { ref: string },
): Promise<{ id: bigint; ref: string }> {
  const { id } = await lockKey(tx, session, { ref: input.ref, action: "delete" });
  await tx.db.execute(sql`delete from attune.key where id = ${id}::bigint`);
  return { id: BigInt(id), ref: input.ref };
}

/**
 * Returns a key's value, and writes an entry of the audit trail that says who got it: the caller hands the value on only after the
 * commit. Throws NotFoundError (also where the session may not know of it), ForbiddenError, and ConflictError when it was
 * encrypted with a key that this process lacks.
 */
export async function revealKey(
  tx: Tx,
  session: Session,
  input: { ref: string; request: { ip: string | null; requestId: string } },
): Promise<{ id: bigint; value: string }> {
  const { id, ref, encrypted, value } = await lockKey(tx, session, { ref: input.ref, action: "reveal" });
  await recordAudit(tx.db, {
    category: "reveal",
    eventType: "revealKey",
    outcome: "success",
    session,
    ...input.request,
    resourceType: "key",
    resourceRef: ref,
    details: null,
  });
  return { id: BigInt(id), value: encrypted ? open(tx, ref, value) : value };
}

function open({ keyring }: Tx, ref: string, value: string): string {
  try {
    return keyring.open(value);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new ConflictError(`The key "${ref}" cannot be decrypted: ${reason}.`, { cause });
  }
}

interface StoredKey extends Owned {
  id: string;
  encrypted: boolean;
  value: string;
  updated: string;
}

/** The key with that ref, locked; null when there is none. */
async function findKey(tx: Tx, ref: string): Promise<StoredKey | null> {
  const [key] = await rows<StoredKey>(
    tx.db,
    sql`select id::text as "id", ref as "ref", owner_type as "ownerType", owner as "owner", owner_identity::text as "ownerIdentity",
        encrypted as "encrypted", value as "value",
        to_char(updated at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') as "updated"
      from attune.key where ref = ${ref} for update`,
  );
  return key ?? null;
}

async function lockKey(
  tx: Tx,
  session: Session,
  { ref, action }: { ref: string; action: "delete" | "reveal" },
): Promise<StoredKey> {
  const key = await findKey(tx, ref);
  if (!key || !(mayWithKey(session, "read", key) || mayWithKey(session, action, key))) {
    throw new NotFoundError("key", ref);
  }
  authorizeKey(session, action, key);
  return key;
}

function readOwner(owner: KeyOwner): { type: OwnerType; ref: string } {
  const [[type, ref] = [], ...more] = Object.entries(owner).filter(
    ([, value]) => value !== null && value !== undefined,
  );
  if (type === undefined || more.length > 0 || ref === false) {
    throw invalid("owner", "must be exactly one of system: true, identity, pack, action and sensor");
  }
  return { type: type as OwnerType, ref: ref === true ? "system" : String(ref) }; // a key of KeyOwner
}

const owners: Readonly<Record<Exclude<OwnerType, "system">, ReturnType<typeof sql>>> = {
  identity: sql`attune.identity where login`,
  pack: sql`attune.pack where ref`,
  action: sql`attune.action where ref`,
  sensor: sql`attune.sensor where ref`,
};

async function findOwner(tx: Tx, type: keyof typeof owners, ref: string): Promise<string | null> {
  const [owner] = await rows<{ id: string }>(tx.db, sql`select id::text from ${owners[type]} = ${ref}`);
  return owner?.id ?? null;
}

/** Stores a secret of a pack, encrypted, in place of one of the same name; answers its ref, which is no secret. */
export async function storePackSecret(
  { db, keyring }: Tx,
  secret: { pack: string; packRef: string; name: string; value: string },
): Promise<string> {
  await db.execute(
    sql`insert into attune.key (ref, owner_type, owner, owner_pack, name, encrypted, encryption_key_hash, value)
      values ('', 'pack', '', ${secret.pack}::bigint, ${secret.name}, true, ${keyring.id}, ${keyring.seal(secret.value)})
      on conflict (owner_type, owner, name) do update
        set value = excluded.value, encryption_key_hash = excluded.encryption_key_hash, encrypted = true`,
  );
  return `pack.${secret.packRef}.${secret.name}`;
}
