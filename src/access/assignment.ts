import { sql } from "drizzle-orm";
import type { Tx } from "../db/tx.ts";
import { checkInput } from "../schema/input.ts";
import { keepAdministrator } from "./administrator.ts";
import { findAssignable, giveRoles, giveSets, requireHeldSets, roleName } from "./permission.ts";
import { lockRow } from "./rows.ts";
import type { Session } from "./session.ts";

interface SetAssignment {
  login: string;
  permissionSet: string;
}

/**
 * Assigns a permission set to an identity that does not have it. Requires `identity:update`, `permission_set:assign` and every grant
 * of the set. Throws NotFoundError and ForbiddenError.
 */
export async function assignPermissionSet(
  tx: Tx,
  session: Session,
  { login, permissionSet }: SetAssignment,
): Promise<{ id: bigint }> {
  const { id } = await lockRow(tx, session, { of: "identity", doing: "update", which: { login } });
  await giveSets(tx, session, { identity: id, refs: [permissionSet] });
  return { id };
}

/**
 * Removes a permission set from an identity, if it has it. Throws NotFoundError, ForbiddenError, and ConflictError when no
 * administrator would be left.
 */
export async function unassignPermissionSet(
  tx: Tx,
  session: Session,
  { login, permissionSet }: SetAssignment,
): Promise<{ id: bigint }> {
  return await keepAdministrator(tx, async () => {
    const { id } = await lockRow(tx, session, { of: "identity", doing: "update", which: { login } });
    const set = await findAssignable(tx, session, permissionSet);
    await tx.db.execute(
      sql`delete from attune.permission_assignment
          where identity = ${String(id)}::bigint and permission_set = ${String(set)}::bigint`,
    );
    return { id };
  });
}

interface RoleAssignment {
  login: string;
  role: string;
}

/** Assigns a role to an identity that does not have it. Throws NotFoundError, ForbiddenError (see `giveRoles`), InvalidInputError. */
export async function assignRole(
  tx: Tx,
  session: Session,
  { login, ...input }: RoleAssignment,
): Promise<{ id: bigint }> {
  const role = checkInput(roleName, input.role, "role");
  const { id } = await lockRow(tx, session, { of: "identity", doing: "update", which: { login } });
  await giveRoles(tx, session, { identity: id, roles: [role] });
  return { id };
}

/** Removes a role from an identity. Throws the same errors as `unassignPermissionSet`. */
export async function unassignRole(tx: Tx, session: Session, { login, role }: RoleAssignment): Promise<{ id: bigint }> {
  return await keepAdministrator(tx, async () => {
    const { id } = await lockRow(tx, session, { of: "identity", doing: "update", which: { login } });
    await tx.db.execute(
      sql`delete from attune.identity_role where identity = ${String(id)}::bigint and role = ${role}`,
    );
    return { id };
  });
}

interface RoleSet {
  role: string;
  permissionSet: string;
}

/**
 * Gives a permission set to all identities that have the role, now or later. Requires `permission_set:assign` and every grant of the
 * set. Throws NotFoundError, ForbiddenError, InvalidInputError.
 */
export async function addPermissionSetToRole(
  tx: Tx,
  session: Session,
  { permissionSet, ...input }: RoleSet,
): Promise<{ id: bigint }> {
  const role = checkInput(roleName, input.role, "role");
  const set = await findAssignable(tx, session, permissionSet);
  await requireHeldSets(tx.db, session, [permissionSet]);
  await tx.db.execute(
    sql`insert into attune.permission_set_role (permission_set, role) values (${String(set)}::bigint, ${role})
        on conflict do nothing`,
  );
  return { id: set };
}

/** Removes a permission set from a role and its identities. Throws the same errors as `unassignPermissionSet`. */
export async function removePermissionSetFromRole(
  tx: Tx,
  session: Session,
  { role, permissionSet }: RoleSet,
): Promise<{ id: bigint }> {
  return await keepAdministrator(tx, async () => {
    const set = await findAssignable(tx, session, permissionSet);
    await tx.db.execute(
      sql`delete from attune.permission_set_role where permission_set = ${String(set)}::bigint and role = ${role}`,
    );
    return { id: set };
  });
}
