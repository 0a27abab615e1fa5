import { sql } from "drizzle-orm";
import type { Consent } from "../cli/administration.ts";
import { type Db, rows } from "../db/client.ts";
import { migrationLock, readMigrations } from "../db/migrate.ts";
import { StartError } from "../errors.ts";

/** Tables whose rows are part of the schema: migrations write them. */
const ofSchema = ["execution_move"];

/** Sessions of servers. This session's own name is among them, but not its process. */
const ofServers = "('attune', 'attune listener', 'attune jobs', 'attune migrations')";

/**
 * Removes all rows but those of the schema, in one transaction, and returns how many tables it has emptied. Ids are not given again, and old
 * cursors have expired. Throws StartError when servers use the database, or migrations are pending.
 */
export async function clean(db: Db, place: string, consent: Consent): Promise<number> {
  await refuse(db, place);
  await consent();
  return await db.transaction(async (tx) => {
    // A server that starts now waits for this lock before it loads its packs.
    await tx.execute(sql`select pg_advisory_xact_lock(${migrationLock}::bigint)`);
    await refuse(tx, place);
    const tables = await rows<{ name: string }>(
      tx,
      sql`select c.oid::regclass::text as name from pg_class c join pg_namespace n on n.oid = c.relnamespace
        where c.relkind in ('r', 'p') and not c.relispartition and (n.nspname = 'attune' and c.relname <> all (${`{${ofSchema.join(",")}}`}::text[])
          or n.nspname = 'attune_jobs' and c.relname in ('job', 'job_dependency', 'queue_stats', 'warning')) order by 1`,
    );
    const [log] = await rows<{ newest: string }>(tx, sql`select newest::text from attune.notification_extent()`);
    // The audit trail refuses to be emptied.
    const guards = await rows<{ table: string; name: string }>(
      tx,
      sql`select g.tgrelid::regclass::text as table, quote_ident(g.tgname) as name from pg_trigger g
        join pg_class c on c.oid = g.tgrelid where c.relnamespace = to_regnamespace('attune') and g.tgtype::int & 32 > 0`,
    );
    const turn = async (word: "disable" | "enable") => {
      for (const { table, name } of guards) await tx.execute(sql.raw(`alter table ${table} ${word} trigger ${name}`));
    };
    await turn("disable");
    await tx.execute(sql.raw(`truncate ${tables.map(({ name }) => name).join(", ")}`));
    await turn("enable");
    await tx.execute(
      sql`insert into attune.notification_retention (pruned_id) select n from (values (${log?.newest ?? "0"}::bigint)) v(n) where n > 0`,
    );
    return tables.length;
  });
}

async function refuse(db: Db, place: string): Promise<void> {
  const { pending } = await readMigrations(db);
  if (pending.length > 0) {
    throw new StartError(`The database at ${place} lacks ${pending.length} migrations: run "attune db migrate" first.`);
  }
  const [servers] = await rows<{ count: number }>(
    db,
    sql`select count(*)::int as count from pg_stat_activity
      where datname = current_database() and pid <> pg_backend_pid() and application_name in ${sql.raw(ofServers)}`,
  );
  if (!servers?.count) return;
  throw new StartError(`Servers use the database at ${place} (${servers.count} connections): stop them first.`);
}
