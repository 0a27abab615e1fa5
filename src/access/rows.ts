import { eq, getColumns } from "drizzle-orm";
import type { PgColumn, PgTable } from "drizzle-orm/pg-core";
import type { Db } from "../db/client.ts";
import type { Tx } from "../db/tx.ts";
import { ConflictError, nounOf } from "../errors.ts";
import { type Entity, entities } from "./entities.ts";
import { authorize, authorizeFound, type ImplicitAccess, may, targetOf } from "./grants.ts";
import type { Session } from "./session.ts";

type Entities = typeof entities;
type Name = keyof Entities;
export type Row<N extends Name> = Entities[N]["table"]["$inferSelect"];
type New<N extends Name> = Entities[N]["table"]["$inferInsert"];
type By<N extends Name> = Entities[N]["by"];

/** Names one row by the column that callers use for its table: ref, login or id. */
export type Named<N extends Name> = { [K in By<N>]: K extends "id" ? bigint : string };

/** Names the row that a verb changes, and the `updated` that the caller has read; null or missing: any. */
export type Which<N extends Name> = Named<N> & { expectedUpdated?: Date | null | undefined };

type Lock = "update" | "no key update" | "share" | "key share";

/** A row to find, and the action to perform on it. */
interface Lookup<N extends Name> {
  of: N;
  /** The action that needs a grant; `read` for a row that an input only refers to. */
  doing: string;
  which: Named<N>;
  /** How the row is locked until the transaction ends; by default not at all. */
  lock?: Lock;
  /** Implicit access that depends on more than the row. */
  implicit?(row: Row<N>): ImplicitAccess;
}

// The code is the same for every table; its types name none of them.
const entityOf = (name: Name) => entities[name] as unknown as Entity<PgTable, string>;
const columnOf = (table: PgTable, name: string) => (getColumns(table) as Record<string, PgColumn>)[name] as PgColumn;

/**
 * Returns the row if the session may perform the action on it. Throws NotFoundError when there is none or the session may not know of
 * it, ForbiddenError when the session may only read it.
 */
export async function findRow<N extends Name>(
  db: Db,
  session: Session,
  { of, doing, which, lock, implicit }: Lookup<N>,
): Promise<Row<N>> {
  const { table, by, target, implicit: ofRow } = entityOf(of);
  const value: unknown = (which as Readonly<Record<string, unknown>>)[by];
  const query = db
    .select()
    .from(table)
    .where(eq(columnOf(table, by), value));
  const [found] = (await (lock ? query.for(lock) : query)) as Row<N>[]; // every column of that table
  const facts = found && (await target(found, db));
  return authorizeFound(session, doing, found, {
    resource: of,
    name: String(value),
    target: () => facts ?? {},
    implicit: (row) => implicit?.(row) ?? ofRow?.(row, session) ?? null,
  });
}

/**
 * Returns the row, locked until the transaction ends, if the session may perform the action on it. Throws the same errors as
 * `findRow`, and ConflictError when the row has changed since `expectedUpdated`.
 */
export async function lockRow<N extends Name>(
  tx: Tx,
  session: Session,
  { of, doing, which }: { of: N; doing: string; which: Which<N> },
): Promise<Row<N>> {
  const lock = doing === "delete" ? "update" : "no key update";
  const row = await findRow(tx.db, session, { of, doing, which, lock });
  checkUnchanged(of, row, which.expectedUpdated);
  return row;
}

/** Throws ConflictError when `updated` differs from `expected`; null or undefined: no check. */
export function checkUnchanged<N extends Name>(name: N, row: Row<N>, expected: Date | null | undefined): void {
  if (!expected || !("updated" in row) || expected.getTime() === row.updated.getTime()) return;
  const called = entityOf(name).by === "login" && "login" in row ? row.login : "ref" in row ? row.ref : row.id;
  throw new ConflictError(
    `The ${nounOf(name)} "${called}" was changed at ${row.updated.toISOString()}: read it again.`,
  );
}

/** The pack that the first part of a ref names. */
interface PackOf {
  id: bigint;
  ref: string;
  /** Whether it was loaded from files. */
  isLoaded: boolean;
}

/**
 * Returns the pack that the ref of a new row names, and locks it against deletion. Throws NotFoundError when there is none, or the
 * session may neither read it nor create the row in it; ForbiddenError when it may not create the row.
 */
export async function findPackForNew(
  tx: Pick<Tx, "db">,
  session: Session,
  { of, ref, ownerId = null }: { of: Name; ref: string; ownerId?: bigint | null },
): Promise<PackOf> {
  const target = targetOf(ref, ownerId);
  const packRef = target.packRef ?? "";
  const found = await findRow(tx.db, session, {
    of: "pack",
    doing: "read",
    which: { ref: packRef },
    lock: "key share",
    implicit: () => (may(session, of, "create", target) ? "read" : null),
  });
  authorize(session, of, "create", target);
  return { id: found.id, ref: packRef, isLoaded: found.sourceType !== null };
}

/** The owner of a new row, and whether the session may create the row for it. */
interface Owner {
  type: "identity" | "pack" | "action" | "sensor";
  ref: string;
  mayCreate(id: bigint): boolean;
}

/**
 * Returns the id of the owner of a new row. Throws NotFoundError when there is none, or the session may neither read it nor create the
 * row for it.
 */
export async function findOwner(db: Db, session: Session, { type, ref, mayCreate }: Owner): Promise<bigint> {
  const implicit = ({ id }: { id: bigint }) => (mayCreate(id) ? "read" : null);
  const { id } =
    type === "identity"
      ? await findRow(db, session, { of: type, doing: "read", which: { login: ref }, implicit })
      : await findRow(db, session, { of: type, doing: "read", which: { ref }, implicit });
  return id;
}

/** Inserts the row and returns its id. Throws ConflictError when its ref or login is taken. */
export async function insertRow<N extends Name>(tx: Tx, name: N, values: New<N>): Promise<{ id: bigint }> {
  const { table, by } = entityOf(name);
  const [row] = await tx.db
    .insert(table)
    .values(values)
    .onConflictDoNothing({ target: columnOf(table, by) })
    .returning({ id: columnOf(table, "id") });
  if (!row) throw taken(name, String((values as Readonly<Record<string, unknown>>)[by]));
  announce(tx, name);
  return row as { id: bigint };
}

/** Returns the refusal of a second row with the same name. */
export function taken(name: Name, ref: string): ConflictError {
  return new ConflictError(`There is ${/^[aeiou]/.test(name) ? "an" : "a"} ${nounOf(name)} "${ref}" already.`);
}

/** Changes the given fields; without any, the row is unchanged. */
export async function updateRow<N extends Name>(
  tx: Tx,
  name: N,
  { id, fields }: { id: bigint; fields: Partial<New<N>> },
): Promise<void> {
  if (isEmpty(fields)) return;
  const { table } = entityOf(name);
  await tx.db
    .update(table)
    .set(fields)
    .where(eq(columnOf(table, "id"), id));
  announce(tx, name);
}

/** What decides which sensors run, and how. */
const drivesSensors: ReadonlySet<Name> = new Set(["pack", "rule", "runtime", "sensor", "trigger"]);

function announce(tx: Tx, name: Name): void {
  if (drivesSensors.has(name)) tx.announce("sensor");
}

/** Returns whether a patch names no field. */
export function isEmpty(patch: object): boolean {
  return Object.values(patch).every((value) => value === undefined);
}

/** Deletes the row. */
export async function deleteRow(tx: Tx, name: Name, id: bigint): Promise<void> {
  const { table } = entityOf(name);
  await tx.db.delete(table).where(eq(columnOf(table, "id"), id));
  announce(tx, name);
}

/**
 * Returns the verb that enables or disables rows of the table. The verb does nothing when the row is in that state already, and throws
 * NotFoundError and ForbiddenError.
 */
export function setEnabled(name: "action" | "trigger" | "sensor") {
  return async (tx: Tx, session: Session, input: { ref: string; enabled: boolean }): Promise<{ id: bigint }> => {
    const { id, enabled } = await lockRow(tx, session, { of: name, doing: "update", which: input });
    if (enabled !== input.enabled) await updateRow(tx, name, { id, fields: { enabled: input.enabled } });
    return { id };
  };
}
