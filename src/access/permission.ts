import { sql } from "drizzle-orm";
import { z } from "zod";
import { anyOf, rows } from "../db/client.ts";
import type { Tx } from "../db/tx.ts";
import { ConflictError, NotFoundError } from "../errors.ts";
import type { Json } from "../lib/json.ts";
import { checkInput, componentRef } from "../schema/input.ts";
import { storableJson } from "../schema/storable.ts";
import { keepAdministrator } from "./administrator.ts";
import { authorize, type Grant, grantList, may, readGrants, requireHeld, targetOf } from "./grants.ts";
import { identityOf, type Session } from "./session.ts";

/** What people say of a permission set; absent leaves what is stored. */
export interface PermissionSetFields {
  label?: string | null;
  description?: string | null;
  grants?: readonly unknown[] | null;
}

const texts = z.object({
  label: z.string().min(1).max(200).nullable(),
  description: z.string().max(10_000).nullable(),
});

/** The grants, checked, and as JSON text. */
function checkGrants(given: unknown): { grants: Grant[]; text: string } {
  const grants = checkInput(grantList, given, "grants");
  return { grants, text: storableJson(JSON.parse(JSON.stringify(grants)) as Json, "grants") };
}

/**
 * Makes a permission set beside those of the packs. Throws InvalidInputError, NotFoundError (the pack that the ref names),
 * ConflictError (the ref is taken), ForbiddenError (a grant that the session does not hold).
 */
export async function createPermissionSet(
  tx: Tx,
  session: Session,
  input: PermissionSetFields & { ref: string },
): Promise<{ id: bigint }> {
  const ref = checkInput(componentRef, input.ref, "ref");
  authorize(session, "permission_set", "create", targetOf(ref));
  const { label, description } = checkInput(texts, {
    label: input.label ?? null,
    description: input.description ?? null,
  });
  const { grants, text } = checkGrants(input.grants ?? []);
  requireHeld(session, grants);
  const packRef = ref.slice(0, ref.indexOf("."));
  const packs = await rows(tx.db, sql`select from attune.pack where ref = ${packRef}`);
  if (packs.length === 0) throw new NotFoundError("pack", packRef);
  const [made] = await rows<{ id: string }>(
    tx.db,
    sql`insert into attune.permission_set (ref, pack_ref, label, description, grants)
        values (${ref}, ${packRef}, ${label}, ${description}, ${text}::text::jsonb)
        on conflict (ref) do nothing returning id::text`,
  );
  if (!made) throw new ConflictError(`There is a permission set "${ref}" already.`);
  return { id: BigInt(made.id) };
}

/**
 * Changes what the patch names of a set that people made; whoever has it feels it within a second. Throws NotFoundError,
 * InvalidInputError, ForbiddenError, and ConflictError for a pack's set, for one changed since `expectedUpdated`, and where
 * nobody would be left who may do everything.
 */
export async function updatePermissionSet(
  tx: Tx,
  session: Session,
  input: { ref: string; expectedUpdated: Date | null; patch: PermissionSetFields },
): Promise<{ id: bigint }> {
  const { label, description, grants } = input.patch;
  return await keepAdministrator(tx, async () => {
    const stored = await lockSet(tx, session, { ref: input.ref, action: "update" });
    if (input.expectedUpdated && input.expectedUpdated.getTime() !== new Date(stored.updated).getTime()) {
      throw new ConflictError(`The permission set "${input.ref}" was changed at ${stored.updated}: read it again.`);
    }
    const checked = checkInput(texts.partial(), { label, description });
    const given = grants ? checkGrants(grants) : null;
    if (given) requireHeld(session, given.grants);
    if (checked.label === undefined && checked.description === undefined && !given) return { id: BigInt(stored.id) };
    const next = { ...stored, ...defined(checked) };
    await tx.db.execute(
      sql`update attune.permission_set set label = ${next.label}, description = ${next.description},
          grants = coalesce(${given?.text ?? null}::text::jsonb, grants) where id = ${stored.id}::bigint`,
    );
    return { id: BigInt(stored.id) };
  });
}

/** The fields that are given, null included. */
export function defined<T extends object>(fields: T): Partial<T> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as Partial<T>; // fewer of the same
}

/** Deletes a set that people made, from whoever has it too. Throws as `updatePermissionSet`. */
export async function deletePermissionSet(
  tx: Tx,
  session: Session,
  input: { ref: string },
): Promise<{ id: bigint; ref: string }> {
  return await keepAdministrator(tx, async () => {
    const stored = await lockSet(tx, session, { ref: input.ref, action: "delete" });
    await tx.db.execute(sql`delete from attune.permission_set where id = ${stored.id}::bigint`);
    return { id: BigInt(stored.id), ref: input.ref };
  });
}

interface StoredSet {
  id: string;
  pack: string | null;
  updated: string;
  label: string | null;
  description: string | null;
}

async function lockSet(
  tx: Tx,
  session: Session,
  { ref, action }: { ref: string; action: "update" | "delete" },
): Promise<StoredSet> {
  const [stored] = await rows<StoredSet>(
    tx.db,
    sql`select id::text, pack::text, to_jsonb(updated) #>> '{}' as updated, label, description
      from attune.permission_set where ref = ${ref} for update`,
  );
  if (!stored || !mayKnow(session, ref, action)) throw new NotFoundError("permission_set", ref);
  authorize(session, "permission_set", action, targetOf(ref));
  if (stored.pack !== null) {
    throw new ConflictError(`The permission set "${ref}" is its pack's: only the pack's files change it.`);
  }
  return stored;
}

const mayKnow = (session: Session, ref: string, action: string) =>
  may(session, "permission_set", "read", targetOf(ref)) || may(session, "permission_set", action, targetOf(ref));

/**
 * The ids of the sets by those refs, once it is sure that the session holds every grant of them. Throws NotFoundError, also for
 * those that it may not know of and has not itself, and ForbiddenError.
 */
export async function requireHeldSets(tx: Tx, session: Session, refs: readonly string[]): Promise<string[]> {
  const identity = identityOf(session);
  const sets = await rows<{ id: string; ref: string; grants: unknown[]; own: boolean }>(
    tx.db,
    sql`select s.id::text, s.ref, s.grants,
        exists (select from attune.permission_assignment a where a.permission_set = s.id and a.identity = ${identity}::bigint)
        or exists (select from attune.permission_set_role p join attune.identity_role r on r.role = p.role
          where p.permission_set = s.id and r.identity = ${identity}::bigint) as "own"
      from attune.permission_set s
      where s.ref in (select jsonb_array_elements_text(${JSON.stringify(refs)}::text::jsonb)) order by s.id for share of s`,
  );
  const known = new Set(sets.filter(({ ref, own }) => own || mayKnow(session, ref, "assign")).map(({ ref }) => ref));
  const missing = refs.find((ref) => !known.has(ref));
  if (missing !== undefined) throw new NotFoundError("permission_set", missing);
  for (const { grants } of sets) requireHeld(session, readGrants(grants));
  return sets.map(({ id }) => id);
}

/** Gives the identity those sets, as far as it has them not. Throws NotFoundError and ForbiddenError. */
export async function giveSets(
  tx: Tx,
  session: Session,
  { identity, refs }: { identity: string; refs: readonly string[] },
): Promise<void> {
  const ids = await requireHeldSets(tx, session, refs);
  for (const ref of refs) authorize(session, "permission_set", "assign", targetOf(ref));
  await tx.db.execute(
    sql`insert into attune.permission_assignment (identity, permission_set)
      select ${identity}::bigint, s.id from attune.permission_set s where s.id = ${anyOf(ids)} on conflict do nothing`,
  );
}

/** A role's name. */
export const roleName = z
  .string()
  .regex(/^[a-z][a-z0-9_-]{0,62}$/, "must be lower case: a letter, then at most 62 letters, digits, _ or -");

/**
 * Gives the identity those roles, as far as it has them not. A role brings its sets, every grant of which the session must hold,
 * and the inquiries that ask the role: those take the role itself, or the grant to answer any. Throws ForbiddenError.
 */
export async function giveRoles(
  tx: Tx,
  session: Session,
  { identity, roles }: { identity: string; roles: readonly string[] },
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
      select ${identity}::bigint, jsonb_array_elements_text(${list}::text::jsonb) on conflict do nothing`,
  );
}
