import { sql } from "drizzle-orm";
import { z } from "zod";
import { type Db, rows } from "../db/client.ts";
import type { Tx } from "../db/tx.ts";
import { ConflictError, NotFoundError } from "../errors.ts";
import type { Json } from "../lib/json.ts";
import { checkNew, checkPatch, description, label } from "../schema/fields.ts";
import { componentRef } from "../schema/input.ts";
import { storableJson } from "../schema/storable.ts";
import { keepAdministrator } from "./administrator.ts";
import { type Grant, grantList, holds, mayKnow, readGrants, requireHeld, targetOf } from "./grants.ts";
import { deleteRow, findPackForNew, findRow, insertRow, lockRow, type Row, updateRow, type Which } from "./rows.ts";
import type { Session } from "./session.ts";

/** The fields of a permission set that users set. A missing field is empty or, in an update, unchanged. */
export interface PermissionSetFields {
  label?: string | null;
  description?: string | null;
  grants?: readonly unknown[] | null;
}

const setFields = z
  .object({ label: label.nullable(), description: description.nullable(), grants: grantList })
  .partial();

/** Returns the grants in their stored form. Throws ForbiddenError for a grant that the session does not hold. */
function storableGrants(session: Session, grants: readonly Grant[]): Json[] {
  requireHeld(session, grants);
  const json = JSON.parse(JSON.stringify(grants)) as Json[];
  storableJson(json, "grants");
  return json;
}

/**
 * Creates a permission set by hand. Throws InvalidInputError, NotFoundError (the pack that the ref names), ConflictError (the ref is
 * taken), ForbiddenError (also for a grant that the session does not hold).
 */
export async function createPermissionSet(
  tx: Tx,
  session: Session,
  input: PermissionSetFields & { ref: string },
): Promise<{ id: bigint }> {
  const { grants = [], ...fields } = checkNew(setFields.extend({ ref: componentRef }), input);
  const pack = await findPackForNew(tx, session, { of: "permission_set", ref: fields.ref });
  const of = { packId: pack.id, packRef: pack.ref, isAdhoc: true };
  const values = { ...fields, ...of, grants: storableGrants(session, grants) };
  return await insertRow(tx, "permission_set", values);
}

/**
 * Changes the fields that the patch names of a set that was created by hand; this takes effect for its holders within a second. Throws
 * NotFoundError, InvalidInputError, ForbiddenError, and ConflictError for a set of a pack's files, when the set has changed since
 * `expectedUpdated`, and when no administrator would be left.
 */
export async function updatePermissionSet(
  tx: Tx,
  session: Session,
  input: Which<"permission_set"> & { patch: PermissionSetFields },
): Promise<{ id: bigint }> {
  return await keepAdministrator(tx, async () => {
    const { grants, ...fields } = checkPatch(setFields, input.patch);
    const { id } = await lockSet(tx, session, { doing: "update", which: input });
    const stored = grants && { grants: storableGrants(session, grants) };
    await updateRow(tx, "permission_set", { id, fields: { ...fields, ...stored } });
    return { id };
  });
}

/** Deletes a set that was created by hand, with its assignments. Throws the same errors as `updatePermissionSet`. */
export async function deletePermissionSet(
  tx: Tx,
  session: Session,
  input: { ref: string },
): Promise<{ id: bigint; ref: string }> {
  return await keepAdministrator(tx, async () => {
    const { id } = await lockSet(tx, session, { doing: "delete", which: input });
    await deleteRow(tx, "permission_set", id);
    return { id, ref: input.ref };
  });
}

async function lockSet(
  tx: Tx,
  session: Session,
  { doing, which }: { doing: "update" | "delete"; which: Which<"permission_set"> },
): Promise<Row<"permission_set">> {
  const stored = await lockRow(tx, session, { of: "permission_set", doing, which });
  if (!stored.isAdhoc) {
    throw new ConflictError(`The permission set "${which.ref}" comes from its pack's files: only they can change it.`);
  }
  return stored;
}

/**
 * Requires that the session holds every grant of the sets; verbs that assign sets call it. Throws NotFoundError for a set that does
 * not exist, or that the session neither holds nor may know of; ForbiddenError, naming the first missing grant, for one that it may
 * know of but does not hold.
 */
export async function requireHeldSets(db: Db, session: Session, refs: readonly string[]): Promise<void> {
  if (refs.length === 0) return;
  const found = await rows<{ ref: string; grants: unknown[] }>(
    db,
    sql`select ref, grants from attune.permission_set
      where ref in (select jsonb_array_elements_text(${JSON.stringify(refs)}::text::jsonb))`,
  );
  const sets = new Map(found.map(({ ref, grants }) => [ref, readGrants(grants)]));
  const missing = refs.find((ref) => {
    const isHeld = sets.get(ref)?.every((grant) => holds(session.grants, grant)) === true;
    return !isHeld && !(sets.has(ref) && mayKnow(session, "permission_set", "assign", targetOf(ref)));
  });
  if (missing !== undefined) throw new NotFoundError("permission_set", missing);
  for (const ref of refs) requireHeld(session, sets.get(ref) ?? []);
}

/** Returns the id of a set that the session may assign, and locks it against changes. Throws NotFoundError, ForbiddenError. */
export async function findAssignable(tx: Tx, session: Session, ref: string): Promise<bigint> {
  return (await findRow(tx.db, session, { of: "permission_set", doing: "assign", which: { ref }, lock: "share" })).id;
}

/** Assigns to the identity those of the sets that it does not have. Throws NotFoundError and ForbiddenError. */
export async function giveSets(
  tx: Tx,
  session: Session,
  { identity, refs }: { identity: bigint; refs: readonly string[] },
): Promise<void> {
  for (const ref of refs.toSorted()) {
    const set = await findAssignable(tx, session, ref);
    await tx.db.execute(
      sql`insert into attune.permission_assignment (identity, permission_set)
        values (${String(identity)}::bigint, ${String(set)}::bigint) on conflict do nothing`,
    );
  }
  await requireHeldSets(tx.db, session, refs);
}

/** A role's name. */
export const roleName = z
  .string()
  .regex(/^[a-z][a-z0-9_-]{0,62}$/, "must be lower case: a letter, then at most 62 letters, digits, _ or -");

/**
 * Assigns to the identity those of the roles that it does not have. The session must hold every grant of the roles' sets. Because a
 * role also gives access to its inquiries, the session must have the role itself or a grant to respond to any inquiry. Throws
 * ForbiddenError.
 */
export async function giveRoles(
  tx: Tx,
  session: Session,
  { identity, roles }: { identity: bigint; roles: readonly string[] },
): Promise<void> {
  const list = JSON.stringify(roles);
  const sets = await rows<{ grants: unknown[] }>(
    tx.db,
    sql`select s.grants from attune.permission_set s where s.id in (select p.permission_set from attune.permission_set_role p
        where p.role in (select jsonb_array_elements_text(${list}::text::jsonb))) order by s.id for share`,
  );
  for (const { grants } of sets) requireHeld(session, readGrants(grants));
  if (!roles.every((role) => session.roles.includes(role))) {
    requireHeld(session, [{ resource: "inquiry", actions: ["respond"] }]);
  }
  await tx.db.execute(
    sql`insert into attune.identity_role (identity, role)
      select ${String(identity)}::bigint, jsonb_array_elements_text(${list}::text::jsonb) on conflict do nothing`,
  );
}
