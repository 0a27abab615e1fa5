import { sql } from "drizzle-orm";
import { rows } from "../db/client.ts";
import { type Engine, write } from "../db/engine.ts";

const batch = 5000;
const vacuumEveryMs = 180_000;

/** Removes a batch of log entries older than seven days; cursors before them are refused from then on. */
export async function pruneNotifications(engine: Engine): Promise<void> {
  await write(engine, async (tx) => {
    const [pruned] = await rows<{ xid: string; id: string }>(
      tx.db,
      sql`with old as (
          select xid, id from attune.notification where created < now() - interval '7 days'
          order by xid, id limit ${sql.raw(String(batch))} for update skip locked),
        gone as (delete from attune.notification n using old where n.id = old.id)
        select xid::text, id::text from old order by old.xid desc, old.id desc limit 1`,
    );
    if (!pruned) return;
    await tx.db.execute(
      sql`update attune.notification_epoch set pruned_xid = ${pruned.xid}::xid8, pruned_id = ${pruned.id}::bigint
        where (pruned_xid, pruned_id) < (${pruned.xid}::xid8, ${pruned.id}::bigint)`,
    );
  });
}

/**
 * The embedded database has no autovacuum: the function returned, called in every sweep, vacuums and analyses the tables that
 * change most, every few minutes. On PostgreSQL it does nothing.
 */
export function createVacuum(engine: Engine): () => Promise<void> {
  let last = Date.now();
  return async () => {
    if (engine.kind !== "pglite" || Date.now() - last < vacuumEveryMs) return;
    last = Date.now();
    for (const table of ["execution", "event", "enforcement", "worker", "trigger", "timer", "notification"]) {
      await engine.db.execute(sql`vacuum (analyze) attune.${sql.identifier(table)}`);
    }
    await engine.db.execute(sql`vacuum (analyze) attune_jobs.job`);
  };
}
