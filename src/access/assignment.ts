import { sql } from "drizzle-orm";
import { rows } from "../db/client.ts";
import type { Tx } from "../db/tx.ts";
import { NotFoundError } from "../errors.ts";
import { checkInput } from "../schema/input.ts";
import { keepAdministrator } from "./administrator.ts";
import { authorize, may, targetOf } from "./grants.ts";
import { lockIdentity } from "./identity.ts";
import { giveRoles, giveSets, requireHeldSets, roleName } from "./permission.ts";
import type { Session } from "./session.ts";

interface SetAssignment {
  login: string;
  permissionSet: string;
}

/**
 * Gives an identity a permission set; one that has it keeps it. Takes `identity:update` and `permission_set:assign`, and every grant
 * of the set. Throws NotFoundError and ForbiddenError.
 */
export async function assignPermissionSet(
  tx: Tx,
  session: Session,
  { login, permissionSet }: SetAssignment,
): Promise<{ id: bigint }> {
  const identity = await lockIdentity(tx, session, { login, action: "update" });
  await giveSets(tx, session, { identity: identity.id, refs: [permissionSet] });
  return { id: BigInt(identity.id) };
}

/**
 * Takes a permission set from an identity; one that has it not stays so. Throws NotFoundError, ForbiddenError, and ConflictError
 * where nobody would be left who may do everything.
 */
export async function unassignPermissionSet(
  tx: Tx,
  session: Session,
  { login, permissionSet }: SetAssignment,
): Promise<{ id: bigint }> {
  return await keepAdministrator(tx, async () => {
    const identity = await lockIdentity(tx, session, { login, action: "update" });
    const set = await findAssignable(tx, session, permissionSet);
    await tx.db.execute(
      sql`delete from attune.permission_assignment
          where identity = ${identity.id}::bigint and permission_set = ${set}::bigint`,
    );
    return { id: BigInt(identity.id) };
  });
}

interface RoleAssignment {
  login: string;
  role: string;
}

/** Gives an identity a role; one that has it keeps it. Throws NotFoundError, ForbiddenError (see `giveRoles`), InvalidInputError. */
export async function assignRole(
  tx: Tx,
  session: Session,
  { login, ...input }: RoleAssignment,
): Promise<{ id: bigint }> {
  const role = checkInput(roleName, input.role, "role");
  const identity = await lockIdentity(tx, session, { login, action: "update" });
  await giveRoles(tx, session, { identity: identity.id, roles: [role] });
  return { id: BigInt(identity.id) };
}

/** Takes a role from an identity. Throws as `unassignPermissionSet`. */
export async function unassignRole(tx: Tx, session: Session, { login, role }: RoleAssignment): Promise<{ id: bigint }> {
  return await keepAdministrator(tx, async () => {
    const identity = await lockIdentity(tx, session, { login, action: "update" });
    await tx.db.execute(
      sql`delete from attune.identity_role where identity = ${identity.id}::bigint and role = ${role}`,
    );
    return { id: BigInt(identity.id) };
  });
}

interface RoleSet {
  role: string;
  permissionSet: string;
}

/**
 * Gives a permission set to everybody who has the role, now or later. Takes `permission_set:assign` and every grant of the set.
 * Throws NotFoundError, ForbiddenError, InvalidInputError.
 */
export async function addPermissionSetToRole(
  tx: Tx,
  session: Session,
  { permissionSet, ...input }: RoleSet,
): Promise<{ id: bigint }> {
  const role = checkInput(roleName, input.role, "role");
  const set = await findAssignable(tx, session, permissionSet);
  await requireHeldSets(tx, session, [permissionSet]);
  await tx.db.execute(
    sql`insert into attune.permission_set_role (permission_set, role) values (${set}::bigint, ${role})
        on conflict do nothing`,
  );
  return { id: BigInt(set) };
}

/** Takes a permission set from a role, and so from everybody who has it by that role. Throws as `unassignPermissionSet`. */
export async function removePermissionSetFromRole(
  tx: Tx,
  session: Session,
  { role, permissionSet }: RoleSet,
): Promise<{ id: bigint }> {
  return await keepAdministrator(tx, async () => {
    const set = await findAssignable(tx, session, permissionSet);
    await tx.db.execute(
      sql`delete from attune.permission_set_role where permission_set = ${set}::bigint and role = ${role}`,
    );
    return { id: BigInt(set) };
  });
}

/** The set's id. Throws NotFoundError also where the session may not know of it, ForbiddenError. */
async function findAssignable(tx: Tx, session: Session, ref: string): Promise<string> {
  const [set] = await rows<{ id: string }>(
    tx.db,
    sql`select id::text from attune.permission_set where ref = ${ref} for share`,
  );
  const target = targetOf(ref);
  const known = may(session, "permission_set", "read", target) || may(session, "permission_set", "assign", target);
  if (!set || !known) throw new NotFoundError("permission_set", ref);
  authorize(session, "permission_set", "assign", target);
  return set.id;
}
