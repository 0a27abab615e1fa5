import { eq, getTableName } from "drizzle-orm";
import type { PgTable } from "drizzle-orm/pg-core";
import { authorize, type Resource, targetOf } from "../access/grants.ts";
import type { Session } from "../access/session.ts";
import type { action } from "../db/tables/action.ts";
import { pack } from "../db/tables/pack.ts";
import type { policy } from "../db/tables/policy.ts";
import type { runtime } from "../db/tables/runtime.ts";
import type { sensor } from "../db/tables/sensor.ts";
import type { trigger } from "../db/tables/trigger.ts";
import type { workflowDefinition } from "../db/tables/workflow.ts";
import type { Tx } from "../db/tx.ts";
import { ConflictError, NotFoundError } from "../errors.ts";

type Switched = typeof action | typeof trigger | typeof sensor | typeof policy;
type Known = Switched | typeof pack | typeof runtime | typeof workflowDefinition;

/** What an update is about: the row's ref, and the version that whoever changes it has read (null: whichever). */
export interface Which {
  ref: string;
  expectedUpdated?: Date | null;
}

const kindOf = (table: Known) => getTableName(table).replaceAll("_", " ");

/** The row with that ref, locked until the transaction ends. Throws NotFoundError, and ConflictError when it has changed since. */
export async function lockByRef<T extends Known>(
  tx: Tx,
  table: T,
  { ref, expectedUpdated = null }: Which,
): Promise<T["$inferSelect"]> {
  const found = await tx.db
    .select()
    .from(table as PgTable)
    .where(eq(table.ref, ref))
    .for("update");
  const [row] = found as T["$inferSelect"][]; // every column of that table
  if (!row) throw new NotFoundError(kindOf(table), ref);
  if (expectedUpdated && expectedUpdated.getTime() !== row.updated.getTime()) {
    throw new ConflictError(
      `The ${kindOf(table)} "${ref}" was changed at ${row.updated.toISOString()}: read it again.`,
    );
  }
  return row;
}

/** Inserts the row and answers its id. Throws ConflictError when its ref is taken. */
export async function insertNew<T extends Known>(tx: Tx, table: T, values: T["$inferInsert"]): Promise<{ id: bigint }> {
  const [row] = await tx.db
    .insert(table as PgTable)
    .values(values)
    .onConflictDoNothing({ target: table.ref })
    .returning({ id: table.id });
  if (!row) throw new ConflictError(`There is a ${kindOf(table)} "${values.ref}" already.`);
  return row;
}

/** Changes the fields that are given; where none is, the row stays as it is. */
export async function updateRow<T extends Known>(
  tx: Tx,
  table: T,
  { id, fields }: { id: bigint; fields: Partial<T["$inferInsert"]> },
): Promise<void> {
  if (!isEmpty(fields)) {
    await tx.db
      .update(table as PgTable)
      .set(fields)
      .where(eq(table.id, id));
  }
}

/** Whether a patch names nothing. */
export function isEmpty(patch: object): boolean {
  return Object.values(patch).every((value) => value === undefined);
}

/** Deletes the row. */
export async function deleteRow(tx: Tx, table: Known, id: bigint): Promise<void> {
  await tx.db.delete(table as PgTable).where(eq(table.id, id));
}

/** Switches something on or off; what is in that state already stays as it is. Throws NotFoundError, ForbiddenError. */
export async function setEnabled(
  tx: Tx,
  session: Session,
  { table, ref, enabled }: { table: Switched; ref: string; enabled: boolean },
): Promise<{ id: bigint }> {
  authorize(session, getTableName(table) as Resource, "update", targetOf(ref)); // each of these tables is a resource
  const row = await lockByRef(tx, table, { ref });
  if (row.enabled !== enabled) await updateRow(tx, table, { id: row.id, fields: { enabled } });
  return { id: row.id };
}

/** The pack that a ref names by its first part, kept from being deleted meanwhile. Throws NotFoundError. */
export async function findPackOf(tx: Tx, ref: string): Promise<{ id: bigint; ref: string; isLoaded: boolean }> {
  const packRef = ref.split(".", 1)[0] ?? "";
  const [found] = await tx.db
    .select({ id: pack.id, sourceType: pack.sourceType })
    .from(pack)
    .where(eq(pack.ref, packRef))
    .for("key share");
  if (!found) throw new NotFoundError("pack", packRef);
  return { id: found.id, ref: packRef, isLoaded: found.sourceType !== null };
}
