import { z } from "zod";
import type { Tx } from "../db/tx.ts";
import { ConflictError } from "../errors.ts";
import type { JsonObject } from "../lib/json.ts";
import { checkPatch, jsonObject, label } from "../schema/fields.ts";
import { checkInput } from "../schema/input.ts";
import { storableJson } from "../schema/storable.ts";
import { keepAdministrator } from "./administrator.ts";
import { authorize } from "./grants.ts";
import { hashPassword, passwordText } from "./password.ts";
import { giveRoles, giveSets, roleName } from "./permission.ts";
import { deleteRow, insertRow, lockRow, updateRow, type Which } from "./rows.ts";
import type { Session } from "./session.ts";

/** A name to sign in with, such as an e-mail address. */
export const loginName = z
  .string()
  .regex(
    /^[a-z0-9][a-z0-9._@+-]{0,99}$/,
    "must be at most 100 of a-z, 0-9 and . _ @ + -, and begin with a letter or a digit",
  );

const longestAttributes = 64 * 1024;
const newIdentity = z.object({
  login: loginName,
  displayName: label.nullable(),
  password: passwordText.nullable(),
  roles: z.array(roleName).max(100),
  permissionSets: z.array(z.string().max(200)).max(100),
});

/** A new identity that has been checked, with its password hashed. */
export interface PreparedIdentity {
  login: string;
  displayName: string | null;
  passwordHash: string | null;
  attributes: JsonObject;
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
  storableJson(input.attributes, "attributes", longestAttributes);
  authorize(session, "identity", "create", { ref: login });
  const passwordHash = password === null ? null : await hashPassword(password);
  return { login, ...texts, passwordHash, attributes: input.attributes, roles, permissionSets };
}

/**
 * Creates an identity; without a password it can sign in only with links and tokens. Throws ConflictError (the login is taken),
 * NotFoundError (a permission set), ForbiddenError (also for a grant that the session does not hold itself).
 */
export async function createIdentity(tx: Tx, session: Session, prepared: PreparedIdentity): Promise<{ id: bigint }> {
  const { roles, permissionSets, ...values } = prepared;
  const { id } = await insertRow(tx, "identity", values);
  if (permissionSets.length > 0) await giveSets(tx, session, { identity: id, refs: permissionSets });
  if (roles.length > 0) await giveRoles(tx, session, { identity: id, roles });
  return { id };
}

const identityFields = z
  .object({ displayName: label.nullable(), attributes: jsonObject, frozen: z.boolean() })
  .partial();

/**
 * Changes the fields that the patch names. The credentials of a frozen identity stop working within a second, and work again once it
 * is unfrozen. Throws NotFoundError, ForbiddenError, InvalidInputError, and ConflictError for freezing the caller's own identity or
 * the last administrator, and when it has changed since `expectedUpdated`.
 */
export async function updateIdentity(
  tx: Tx,
  session: Session,
  input: Which<"identity"> & {
    patch: { displayName?: string | null; attributes?: JsonObject | null; frozen?: boolean | null };
  },
): Promise<{ id: bigint }> {
  return await keepAdministrator(tx, async () => {
    const fields = checkPatch(identityFields, input.patch);
    if (fields.attributes) storableJson(fields.attributes, "attributes", longestAttributes);
    const { id } = await lockRow(tx, session, { of: "identity", doing: "update", which: input });
    if (fields.frozen && id === session.identityId) throw new ConflictError("You cannot freeze yourself.");
    await updateRow(tx, "identity", { id, fields });
    return { id };
  });
}

/**
 * Deletes an identity with its credentials; its executions, rules and audit entries stay. Throws NotFoundError, ForbiddenError, and
 * ConflictError for the caller's own identity, the last administrator, and an identity that owns keys.
 */
export async function deleteIdentity(
  tx: Tx,
  session: Session,
  input: { login: string },
): Promise<{ id: bigint; login: string }> {
  return await keepAdministrator(tx, async () => {
    const { id } = await lockRow(tx, session, { of: "identity", doing: "delete", which: input });
    if (id === session.identityId) throw new ConflictError("You cannot delete yourself.");
    await deleteRow(tx, "identity", id);
    return { id, login: input.login };
  });
}
