import { sql } from "drizzle-orm";
import { z } from "zod";
import { type Db, rows } from "../db/client.ts";
import type { Tx } from "../db/tx.ts";
import { ConflictError, NotFoundError } from "../errors.ts";
import type { JsonObject } from "../lib/json.ts";
import { checkInput } from "../schema/input.ts";
import { storableJson } from "../schema/storable.ts";
import { keepAdministrator } from "./administrator.ts";
import type { Target } from "./constraints.ts";
import { authorize, may } from "./grants.ts";
import { hashPassword, passwordText } from "./password.ts";
import { defined, giveRoles, giveSets, roleName } from "./permission.ts";
import type { Session } from "./session.ts";

/** A name to sign in with: an e-mail address will do. */
export const loginName = z
  .string()
  .regex(/^[a-z0-9][a-z0-9._@+-]{0,99}$/, "must be at most 100 of a-z, 0-9 and . _ @ + -, a letter or a digit first");

const displayName = z.string().min(1).max(200).nullable();
const newIdentity = z.object({
  login: loginName,
  displayName,
  password: passwordText.nullable(),
  roles: z.array(roleName).max(100),
  permissionSets: z.array(z.string().max(200)).max(100),
});

/** How a grant's constraints know an identity: by its login, and as its own owner. */
const targetOfIdentity = ({ id, login }: { id: string; login: string }): Target => ({
  ref: login,
  ownerId: BigInt(id),
});

/** A new identity that has been checked; its password is hashed already. */
export interface PreparedIdentity {
  login: string;
  displayName: string | null;
  passwordHash: string | null;
  attributes: string;
  roles: readonly string[];
  permissionSets: readonly string[];
}

/**
 * Checks a new identity and hashes its password, which takes too long for a transaction. Throws InvalidInputError and
 * ForbiddenError.
 */
export async function prepareIdentity(
  session: Session,
  input: {
    login: string;
    displayName: string | null;
    password: string | null;
    attributes: JsonObject;
    roles: readonly string[];
    permissionSets: readonly string[];
  },
): Promise<PreparedIdentity> {
  const { login, password, roles, permissionSets, ...texts } = checkInput(newIdentity, {
    ...input,
    roles: [...new Set(input.roles)],
    permissionSets: [...new Set(input.permissionSets)],
  });
  const attributes = storableJson(input.attributes, "attributes", 64 * 1024);
  authorize(session, "identity", "create", { ref: login });
  const passwordHash = password === null ? null : await hashPassword(password);
  return { login, ...texts, passwordHash, attributes, roles, permissionSets };
}

/**
 * Creates an identity; without a password it signs in by links and tokens only. Throws ConflictError (the login is taken),
 * NotFoundError (a permission set), ForbiddenError (also for a grant that the session does not hold itself).
 */
export async function createIdentity(tx: Tx, session: Session, prepared: PreparedIdentity): Promise<{ id: bigint }> {
  const { login, displayName, passwordHash, attributes, roles, permissionSets } = prepared;
  const [made] = await rows<{ id: string }>(
    tx.db,
    sql`insert into attune.identity (login, display_name, password_hash, attributes)
        values (${login}, ${displayName}, ${passwordHash}, ${attributes}::text::jsonb)
        on conflict (login) do nothing returning id::text`,
  );
  if (!made) throw new ConflictError(`There is an identity "${login}" already.`);
  if (permissionSets.length > 0) await giveSets(tx, session, { identity: made.id, refs: permissionSets });
  if (roles.length > 0) await giveRoles(tx, session, { identity: made.id, roles });
  return { id: BigInt(made.id) };
}

/**
 * Changes what the patch names and leaves the rest. A frozen identity's credentials stop within a second, and work again once it is
 * not. Throws NotFoundError, ForbiddenError, InvalidInputError, and ConflictError for freezing oneself or the last who may do
 * everything, and when it has changed since `expectedUpdated`.
 */
export async function updateIdentity(
  tx: Tx,
  session: Session,
  input: {
    login: string;
    expectedUpdated: Date | null;
    patch: { displayName?: string | null; attributes?: JsonObject | null; frozen?: boolean | null };
  },
): Promise<{ id: bigint }> {
  const { patch } = input;
  return await keepAdministrator(tx, async () => {
    const stored = await lockIdentity(tx, session, { login: input.login, action: "update" });
    if (input.expectedUpdated && input.expectedUpdated.getTime() !== new Date(stored.updated).getTime()) {
      throw new ConflictError(`The identity "${input.login}" was changed at ${stored.updated}: read it again.`);
    }
    const named = defined({ displayName: checkInput(displayName.optional(), patch.displayName, "displayName") });
    const attributes = patch.attributes ? storableJson(patch.attributes, "attributes", 64 * 1024) : null;
    const frozen = patch.frozen ?? null;
    if (frozen && BigInt(stored.id) === session.identityId) throw new ConflictError("Nobody freezes themselves.");
    if (Object.keys(named).length === 0 && attributes === null && frozen === null) return { id: BigInt(stored.id) };
    const next = { ...stored, ...named };
    await tx.db.execute(
      sql`update attune.identity set display_name = ${next.displayName}, frozen = coalesce(${frozen}::boolean, frozen),
          attributes = coalesce(${attributes}::text::jsonb, attributes) where id = ${stored.id}::bigint`,
    );
    return { id: BigInt(stored.id) };
  });
}

/**
 * Deletes an identity with its credentials; what it did stays. Throws NotFoundError, ForbiddenError, and ConflictError for oneself,
 * for the last who may do everything, and for one that owns keys.
 */
export async function deleteIdentity(
  tx: Tx,
  session: Session,
  input: { login: string },
): Promise<{ id: bigint; login: string }> {
  return await keepAdministrator(tx, async () => {
    const stored = await lockIdentity(tx, session, { login: input.login, action: "delete" });
    if (BigInt(stored.id) === session.identityId) throw new ConflictError("Nobody deletes themselves.");
    await tx.db.execute(sql`delete from attune.identity where id = ${stored.id}::bigint`);
    return { id: BigInt(stored.id), login: input.login };
  });
}

/** An identity as the verbs see it. */
export interface StoredIdentity {
  id: string;
  login: string;
  updated: string;
  displayName: string | null;
  passwordHash: string | null;
}

/** The identity, locked. Throws NotFoundError also where the session may not know of it, ForbiddenError. */
export async function lockIdentity(
  tx: Tx,
  session: Session,
  { login, action }: { login: string; action: "update" | "delete" },
): Promise<StoredIdentity> {
  const stored = await findIdentity(tx.db, { login }, "for update");
  if (!stored) throw new NotFoundError("identity", login);
  authorizeIdentity(session, stored, action);
  return stored;
}

/** Throws NotFoundError where the session may not know of the identity, ForbiddenError where it may not do that. */
export function authorizeIdentity(
  session: Session,
  identity: { id: string; login: string },
  action: "update" | "delete",
): void {
  const target = targetOfIdentity(identity);
  const known =
    target.ownerId === session.identityId ||
    may(session, "identity", "read", target) ||
    may(session, "identity", action, target);
  if (!known) throw new NotFoundError("identity", identity.login);
  authorize(session, "identity", action, target);
}

/** The identity by its login or id, whoever asks. */
export async function findIdentity(
  db: Db,
  by: { login: string } | { id: bigint },
  lock: "for update" | "" = "",
): Promise<StoredIdentity | null> {
  const [stored] = await rows<StoredIdentity>(
    db,
    sql`select id::text, login, to_jsonb(updated) #>> '{}' as updated, display_name as "displayName",
        password_hash as "passwordHash"
      from attune.identity where ${"login" in by ? sql`login = ${by.login}` : sql`id = ${String(by.id)}::bigint`} ${sql.raw(lock)}`,
  );
  return stored ?? null;
}
