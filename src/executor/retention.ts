import { sql } from "drizzle-orm";
import { pruneArtifacts, sweepFiles } from "../artifact/retention.ts";
import { anyOf, rows } from "../db/client.ts";
import type { Services } from "../db/services.ts";
import { write } from "../db/tx.ts";

const batch = 5000;
const vacuumEveryMs = 180_000;

/** Deletes a batch of notifications older than seven days; cursors before them expire. */
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

/** Deletes a batch of audit events older than 365 days. Nothing else may delete audit events. */
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

/** Deletes a batch of tokens that ended more than a day ago, except API tokens: users look those up. */
export async function pruneTokens(services: Services): Promise<void> {
  await write(services, (tx) =>
    tx.db.execute(
      sql`delete from attune.token where id in (select id from attune.token
        where kind <> 'api' and coalesce(revoked_at, expires_at) < now() - interval '1 day'
        order by coalesce(revoked_at, expires_at) limit ${sql.raw(String(batch))} for update skip locked)`,
    ),
  );
}

/**
 * Deletes a batch of webhooks' deliveries older than seven days, with the events of accepted ones left as they are. Signed deliveries with
 * an id are kept: without them, a captured request could be sent again.
 */
export async function pruneDeliveries(services: Services): Promise<void> {
  await write(services, (tx) =>
    tx.db.execute(
      sql`delete from attune.webhook_delivery where id in (select id from attune.webhook_delivery
        where (hmac_verified is not true or delivery_id is null) and created < now() - interval '7 days'
        order by created limit ${sql.raw(String(batch))} for update skip locked)`,
    ),
  );
}

/** Deletes a batch of idempotency keys older than 24 hours, the time for which they are valid. */
export async function pruneIdempotencyKeys(services: Services): Promise<void> {
  await write(services, (tx) =>
    tx.db.execute(
      sql`delete from attune.idempotency_key where id in (select id from attune.idempotency_key
        where created < now() - interval '24 hours' order by created limit ${sql.raw(String(batch))} for update skip locked)`,
    ),
  );
}

/**
 * Returns a function for every sweep, which vacuums and analyses the tables that change most, every few minutes. Only the embedded
 * database needs it, because it has no autovacuum; on PostgreSQL it does nothing.
 */
export function createVacuum(services: Services): () => Promise<void> {
  let last = Date.now();
  return async () => {
    if (services.kind !== "pglite" || Date.now() - last < vacuumEveryMs) return;
    last = Date.now();
    for (const table of [
      "execution",
      "event",
      "enforcement",
      "worker",
      "trigger",
      "timer",
      "notification",
      "webhook_delivery",
    ]) {
      await services.db.execute(sql`vacuum (analyze) attune.${sql.identifier(table)}`);
    }
    await services.db.execute(sql`vacuum (analyze) attune_jobs.job`);
  };
}

const pruneEveryMs = 60_000;
const sweepFilesEveryMs = 3600_000;
/** A file without a row that is unchanged for this long was left by a process that died, or by a version that was deleted. */
const fileAgeMs = 3600_000;

/**
 * Returns a function for every sweep, which deletes versions past their retention once a minute, and files without a version once an
 * hour.
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
