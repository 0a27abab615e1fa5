import { eq } from "drizzle-orm";
import { z } from "zod";
import { key } from "../db/tables/key.ts";
import type { Tx } from "../db/tx.ts";
import { ConflictError, invalid, NotFoundError } from "../errors.ts";
import { checkInput } from "../schema/input.ts";
import { storableJson } from "../schema/storable.ts";
import { recordAudit } from "./audit.ts";
import { implicitAccessToKey, type KeyFacts, targetOfKey } from "./entities.ts";
import { authorize, authorizeFound, knows, mayWith } from "./grants.ts";
import { checkUnchanged, deleteRow, findOwner, lockRow, taken, updateRow } from "./rows.ts";
import type { Session } from "./session.ts";

type OwnerType = KeyFacts["ownerType"];

const described = { resource: "key", target: targetOfKey, implicit: implicitAccessToKey } as const;

/** Returns whether the session may perform the action on the key. */
export function mayWithKey(session: Session, action: string, key: KeyFacts): boolean {
  return mayWith(session, action, key, described);
}

/** The owner of a key: exactly one of these, by login or ref. */
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
 * Creates a key, or changes the value of the key with that owner and name. Throws InvalidInputError, NotFoundError (the owner; the
 * key, when `expectedUpdated` is given), ForbiddenError, and ConflictError when it has changed since `expectedUpdated` or exists but
 * the session may not know of it.
 */
export async function setKey(tx: Tx, session: Session, input: SetKeyInput): Promise<{ id: bigint }> {
  const { name, value } = checkInput(keyInput, { name: input.name, value: input.value });
  storableJson(value, "value", longestValue);
  const owner = readOwner(input.owner);
  const ref = owner.type === "system" ? `system.${name}` : `${owner.type}.${owner.ref}.${name}`;
  const stored = input.encrypted
    ? { encrypted: true, encryptionKeyHash: tx.keyring.id, value: tx.keyring.seal(value) }
    : { encrypted: false, encryptionKeyHash: null, value };
  const [known] = await tx.db.select().from(key).where(eq(key.ref, ref)).for("no key update");
  if (known && knows(session, "update", known, described)) {
    authorizeFound(session, "update", known, { ...described, name: ref });
    checkUnchanged("key", known, input.expectedUpdated);
    await updateRow(tx, "key", { id: known.id, fields: stored });
    return { id: known.id };
  }
  const columns = await findOwnerForNew(tx, session, { ref, type: owner.type, owner: owner.ref });
  if (input.expectedUpdated) throw new NotFoundError("key", ref);
  const [created] = await tx.db
    .insert(key)
    // The database computes the ref and the owner's name.
    .values({ ref: "", owner: "", name, ...columns, ...stored })
    .onConflictDoNothing({ target: [key.ownerType, key.owner, key.name] })
    .returning({ id: key.id });
  if (!created) throw taken("key", ref);
  return created;
}

/** Returns the columns that name a new key's owner. Throws NotFoundError (the owner) and ForbiddenError. */
async function findOwnerForNew(
  tx: Tx,
  session: Session,
  { ref, type, owner }: { ref: string; type: OwnerType; owner: string },
): Promise<
  Pick<typeof key.$inferInsert, "ownerType" | "ownerIdentityId" | "ownerPackId" | "ownerActionId" | "ownerSensorId">
> {
  const keyOf = (id: bigint | null): KeyFacts => ({
    ref,
    ownerType: type,
    owner,
    ownerIdentityId: type === "identity" ? id : null,
  });
  const mayCreate = (id: bigint) => mayWithKey(session, "create", keyOf(id));
  const id = type === "system" ? null : await findOwner(tx.db, session, { type, ref: owner, mayCreate });
  const newKey = keyOf(id);
  if (!mayWithKey(session, "create", newKey)) authorize(session, "key", "create", targetOfKey(newKey));
  return {
    ownerType: type,
    ownerIdentityId: newKey.ownerIdentityId,
    ownerPackId: type === "pack" ? id : null,
    ownerActionId: type === "action" ? id : null,
    ownerSensorId: type === "sensor" ? id : null,
  };
}

/** Deletes a key. Throws NotFoundError, ForbiddenError. */
export async function deleteKey(
  tx: Tx,
  session: Session,
  input: { ref: string },
): Promise<{ id: bigint; ref: string }> {
  const { id } = await lockRow(tx, session, { of: "key", doing: "delete", which: input });
  await deleteRow(tx, "key", id);
  return { id, ref: input.ref };
}

/**
 * Returns a key's value and appends the access to the audit trail; the caller must not pass the value on before the commit. Throws
 * NotFoundError, ForbiddenError, and ConflictError when it was encrypted with a key that this process lacks.
 */
export async function revealKey(
  tx: Tx,
  session: Session,
  input: { ref: string; request: { ip: string | null; requestId: string } },
): Promise<{ id: bigint; value: string }> {
  const { id, ref, encrypted, value } = await lockRow(tx, session, {
    of: "key",
    doing: "reveal",
    which: { ref: input.ref },
  });
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
  return { id, value: encrypted ? open(tx, ref, value) : value };
}

function open({ keyring }: Tx, ref: string, value: string): string {
  try {
    return keyring.open(value);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new ConflictError(`The key "${ref}" cannot be decrypted: ${reason}.`, { cause });
  }
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
