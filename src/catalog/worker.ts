import { eq, sql } from "drizzle-orm";
import { authorizeFound } from "../access/grants.ts";
import type { Session } from "../access/session.ts";
import { rows } from "../db/client.ts";
import { worker } from "../db/tables/worker.ts";
import type { Tx } from "../db/tx.ts";
import { ConflictError, NotFoundError } from "../errors.ts";
import { inProgress, statusIn } from "../execution/states.ts";

/**
 * Tells a worker to take no new work, or to take some again; what it runs goes on. Throws NotFoundError (also where the session
 * may not know of it), ForbiddenError.
 */
export async function setCordoned(
  tx: Tx,
  session: Session,
  { id, cordoned }: { id: bigint; cordoned: boolean },
): Promise<{ id: bigint }> {
  const stored = await lockWorker(tx, session, { id, doing: "cordon" });
  if (stored.cordoned !== cordoned) await tx.db.update(worker).set({ cordoned }).where(eq(worker.id, id));
  tx.announce("worker");
  return { id };
}

/**
 * Removes a worker that is no more; its executions keep its name. Throws NotFoundError, ForbiddenError, and ConflictError while it
 * runs something or still beats.
 */
export async function deleteWorker(
  tx: Tx,
  session: Session,
  { id }: { id: bigint },
): Promise<{ id: bigint; name: string }> {
  const { name } = await lockWorker(tx, session, { id, doing: "delete" });
  const [found] = await rows<{ running: boolean; alive: boolean }>(
    tx.db,
    sql`select exists (select from attune.execution where worker = ${String(id)}::bigint and ${statusIn(inProgress)}) as running,
        exists (select from attune.healthy_worker where id = ${String(id)}::bigint) as alive`,
  );
  if (found?.running) throw new ConflictError(`The worker "${name}" runs something: wait for it, or cancel it first.`);
  if (found?.alive) throw new ConflictError(`The worker "${name}" is alive: stop its process first.`);
  await tx.db.delete(worker).where(eq(worker.id, id));
  return { id, name };
}

async function lockWorker(
  tx: Tx,
  session: Session,
  { id, doing }: { id: bigint; doing: "cordon" | "delete" },
): Promise<typeof worker.$inferSelect> {
  const [stored] = await tx.db.select().from(worker).where(eq(worker.id, id)).for("update");
  const target = { ref: stored?.name ?? null };
  if (!stored) throw new NotFoundError("worker", String(id));
  authorizeFound(session, doing, { resource: "worker", id: String(id), target });
  return stored;
}
