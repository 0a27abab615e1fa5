import { fileURLToPath } from "node:url";
import { sql } from "drizzle-orm";
import { migrate as migratePglite } from "drizzle-orm/pglite/migrator";
import { drizzle } from "drizzle-orm/postgres-js";
import { migrate as migratePostgres } from "drizzle-orm/postgres-js/migrator";
import postgres from "postgres";
import { type Database, type Db, rows } from "./client.ts";
import { relations } from "./relations.ts";

const migrationsFolder = fileURLToPath(new URL("../../drizzle", import.meta.url));
const settings = { migrationsFolder, migrationsSchema: "attune_migrations", migrationsTable: "migration" };
/** Held while migrating and while putting a restored database right, by any number of processes in turn. */
const lockKey = 4_127_001;

/**
 * Brings the database's tables up to this program's version and, after a restore into another cluster, empties the
 * notification log and raises its epoch. `prepare` runs under the same lock (the job queue makes its own tables there), and what it returns is returned.
 */
export async function migrate<T>(database: Database, prepare: () => Promise<T>): Promise<T> {
  if (database.url === null) {
    await migratePglite(database.db as never, settings); // asks for its driver's own class
    await restoreEpoch(database.db);
    return await prepare();
  }
  // The lock belongs to a session: all is done on this connection, whose statements may take as long as they do.
  const holder = postgres(database.url, {
    max: 1,
    onnotice: () => {},
    connection: { search_path: "attune, public", application_name: "attune migrations" },
  });
  try {
    await holder`select pg_advisory_lock(${lockKey})`;
    const db = drizzle({ client: holder, relations });
    await migratePostgres(db, settings);
    await restoreEpoch(db);
    return await prepare();
  } finally {
    await holder.end({ timeout: 5 });
  }
}

/**
 * Transaction ids belong to a cluster: after a dump and restore the stored labels may lie in the new cluster's future, and the
 * feed would be silent; and cursors of the old database may lie behind changes that the new one never had. Then the log is
 * emptied, every label reset and the epoch raised: old cursors are refused.
 */
async function restoreEpoch(db: Db): Promise<void> {
  await db.transaction(async (tx) => {
    const labelled = await rows<{ table: string }>(
      tx,
      sql`select quote_ident(c.relname) as table from pg_attribute a join pg_class c on c.oid = a.attrelid
        where c.relnamespace = 'attune'::regnamespace and c.relkind = 'r' and a.attname = 'changed' and not a.attisdropped`,
    );
    const newest = labelled.map(({ table }) => sql`select max(changed) from attune.${sql.raw(table)}`);
    const [found] = await rows<{ future: boolean; written: string | null; database: string }>(
      tx,
      sql`select coalesce(max(label) >= pg_current_xact_id(), false) as future,
          (select database from attune.notification_epoch) as written,
          (select d.oid || '@' || c.system_identifier from pg_database d, pg_control_system() c where d.datname = current_database()) as database
        from (select max(xid) from attune.notification union all ${sql.join(newest, sql` union all `)}) as labels(label)`,
    );
    if (!found) throw new Error("the notification log could not be compared with the cluster");
    if (found.written === found.database && !found.future) return;
    if (found.written !== null) await raiseEpoch(tx, labelled);
    await tx.execute(sql`update attune.notification_epoch set database = ${found.database}`);
  });
}

async function raiseEpoch(tx: Db, labelled: readonly { table: string }[]): Promise<void> {
  await tx.execute(sql`delete from attune.notification`);
  for (const { table } of labelled) {
    // Nothing else about the rows changes: no version, no notification, and ended executions may be relabelled too.
    await tx.execute(sql`alter table attune.${sql.raw(table)} disable trigger user`);
    await tx.execute(sql`update attune.${sql.raw(table)} set changed = pg_current_xact_id()`);
    await tx.execute(sql`alter table attune.${sql.raw(table)} enable trigger user`);
  }
  await tx.execute(
    sql`update attune.notification_epoch set epoch = greatest(epoch + 1, extract(epoch from now())::bigint), pruned_xid = '0', pruned_id = 0, raised_at = now()`,
  );
}
