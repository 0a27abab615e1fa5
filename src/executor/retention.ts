import { sql } from "drizzle-orm";
import { pruneArtifacts, sweepFiles } from "../artifact/retention.ts";
import { anyOf, rows } from "../db/client.ts";
import type { Services } from "../db/services.ts";
import { write } from "../db/tx.ts";

const batch = 5000;
const vacuumEveryMs = 180_000;

/** Removes a batch of log entries older than seven days; cursors before them are refused from then on. */
export async function pruneNotifications(services: Services): Promise<void> {
  await write(services, (tx) =>
    tx.db.execute(
      sql`with old as (
          select id from attune.notification where created < now() - interval '7 days'
          order by id limit ${sql.raw(String(batch))} for update skip locked),
        gone as (delete from attune.notification n using old where n.id = old.id)
        insert into attune.notification_retention as r (pruned_id)
          select max(id) from old having count(*) > 0
          on conflict (singleton) do update set pruned_id = greatest(r.pruned_id, excluded.pruned_id)`,
    ),
  );
}

/** Removes a batch of the audit trail's entries older than 365 days: the one thing that may remove from it. */
export async function pruneAuditTrail(services: Services): Promise<void> {
  await write(services, async (tx) => {
    const [old] = await rows<{ ids: string[] | null }>(
      tx.db,
      sql`select array_agg(id::text) as ids from (select id from attune.audit_event
        where created < now() - interval '365 days' order by created limit ${sql.raw(String(batch))}) e`,
    );
    if (!old?.ids) return;
    await tx.db.execute(sql`set local attune.retention = 'on'`);
    await tx.db.execute(sql`delete from attune.audit_event where id = ${anyOf(old.ids)}`);
  });
}

/** Removes a batch of credentials that ended a day ago, but for API tokens: people look those up. */
export async function pruneTokens(services: Services): Promise<void> {
  await write(services, (tx) =>
    tx.db.execute(
      sql`delete from attune.token where id in (select id from attune.token
        where kind <> 'api' and coalesce(revoked_at, expires_at) < now() - interval '1 day'
        order by coalesce(revoked_at, expires_at) limit ${sql.raw(String(batch))} for update skip locked)`,
    ),
  );
}

/** Removes a batch of idempotency keys older than the 24 hours that they count. */
export async function pruneIdempotencyKeys(services: Services): Promise<void> {
  await write(services, (tx) =>
    tx.db.execute(
      sql`delete from attune.idempotency_key where id in (select id from attune.idempotency_key
        where created < now() - interval '24 hours' order by created limit ${sql.raw(String(batch))} for update skip locked)`,
    ),
  );
}

/**
 * The embedded database has no autovacuum: the function returned, called in every sweep, vacuums and analyses the tables that
 * change most, every few minutes. On PostgreSQL it does nothing.
 */
export function createVacuum(services: Services): () => Promise<void> {
  let last = Date.now();
  return async () => {
    if (services.kind !== "pglite" || Date.now() - last < vacuumEveryMs) return;
    last = Date.now();
    for (const table of ["execution", "event", "enforcement", "worker", "trigger", "timer", "notification"]) {
      await services.db.execute(sql`vacuum (analyze) attune.${sql.identifier(table)}`);
    }
    await services.db.execute(sql`vacuum (analyze) attune_jobs.job`);
  };
}

const pruneEveryMs = 60_000;
const sweepFilesEveryMs = 3600_000;
/** A file without a row that has not been written to for so long was left by a process that died, or by a version that was removed. */
const fileAgeMs = 3600_000;

/**
 * The function returned, called in every sweep, removes what artifacts keep no longer, once a minute, and files that belong to
 * no version, once an hour.
 */
export function createArtifactKeeper(services: Services): () => Promise<void> {
  let pruned = Number.NEGATIVE_INFINITY;
  let swept = Number.NEGATIVE_INFINITY;
  return async () => {
    const now = Date.now();
    if (now - pruned >= pruneEveryMs) {
      pruned = (await pruneArtifacts(services)) ? Number.NEGATIVE_INFINITY : now;
    }
    if (now - swept < sweepFilesEveryMs) return;
    swept = now;
    const removed = await sweepFiles(services, fileAgeMs);
    if (removed > 0) services.log.info({ files: removed }, "removed files that belong to no artifact");
  };
}
