import { sql } from "drizzle-orm";
import { deleteRow, lockRow, updateRow } from "../access/rows.ts";
import type { Session } from "../access/session.ts";
import { rows } from "../db/client.ts";
import type { Tx } from "../db/tx.ts";
import { ConflictError, invalid } from "../errors.ts";
import { inProgress, statusIn } from "../execution/states.ts";

/** Cordons or uncordons a worker: a cordoned one claims no new executions, and its running ones continue. Uncordoning ends a drain. Throws NotFoundError, ForbiddenError. */
export async function setCordoned(
  tx: Tx,
  session: Session,
  { id, cordoned }: { id: bigint; cordoned: boolean },
): Promise<{ id: bigint }> {
  const stored = await lockRow(tx, session, { of: "worker", doing: "cordon", which: { id } });
  const isChanged = stored.cordoned !== cordoned || (!cordoned && stored.drainsAt !== null);
  if (isChanged) await updateRow(tx, "worker", { id, fields: { cordoned, ...(cordoned ? {} : { drainsAt: null }) } });
  tx.announce("worker");
  return { id };
}

/** For how many seconds a drained worker may finish by default, and at most. */
const drainSeconds = { usual: 300, most: 7 * 24 * 3600 };

/**
 * Cordons a worker and lets it hand back what it still runs after `graceSeconds`, which then returns to the queue or is abandoned as its
 * actions define. Throws NotFoundError, ForbiddenError, InvalidInputError.
 */
export async function drainWorker(
  tx: Tx,
  session: Session,
  { id, graceSeconds }: { id: bigint; graceSeconds: number | null },
): Promise<{ id: bigint }> {
  const seconds = graceSeconds ?? drainSeconds.usual;
  if (seconds < 0 || seconds > drainSeconds.most) {
    throw invalid("graceSeconds", `must be from 0 to ${drainSeconds.most} seconds`);
  }
  await lockRow(tx, session, { of: "worker", doing: "cordon", which: { id } });
  await tx.db.execute(
    sql`update attune.worker set cordoned = true, drains_at = now() + make_interval(secs => ${seconds}::int) where id = ${String(id)}::bigint`,
  );
  tx.announce("worker");
  return { id };
}

/**
 * Deletes a worker that has stopped; its executions keep its name. Throws NotFoundError, ForbiddenError, and ConflictError while it has
 * running executions or a heartbeat.
 */
export async function deleteWorker(
  tx: Tx,
  session: Session,
  { id }: { id: bigint },
): Promise<{ id: bigint; name: string }> {
  const { name } = await lockRow(tx, session, { of: "worker", doing: "delete", which: { id } });
  const [found] = await rows<{ running: boolean; alive: boolean }>(
    tx.db,
    sql`select exists (select from attune.execution where worker = ${String(id)}::bigint and ${statusIn(inProgress)}) as running,
        exists (select from attune.healthy_worker where id = ${String(id)}::bigint) as alive`,
  );
  if (found?.running)
    throw new ConflictError(`The worker "${name}" has running executions: wait for them or cancel them.`);
  if (found?.alive) throw new ConflictError(`The worker "${name}" is alive: stop its process first.`);
  await deleteRow(tx, "worker", id);
  return { id, name };
}
