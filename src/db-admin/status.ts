import { type SQL, sql } from "drizzle-orm";
import type { DatabaseStatus } from "../cli/administration.ts";
import { type Database, type Db, rows } from "../db/client.ts";
import { readMigrations } from "../db/migrate.ts";

/** Above this number, the rows of a table are estimated. */
const counted = 10_000;

/** Returns what `attune db status` shows of an open database. */
export async function readStatus({ db, kind }: Database, place: string, version: string): Promise<DatabaseStatus> {
  const { applied, pending } = await readMigrations(db);
  const [server] = await rows<{ version: string; size: string }>(
    db,
    sql`select current_setting('server_version') as version, pg_database_size(current_database())::text as size`,
  );
  return {
    version,
    database: {
      kind: kind === "pglite" ? "embedded" : kind,
      version: `${kind === "pglite" ? "embedded PostgreSQL" : "PostgreSQL"} ${server?.version}`,
      place,
      sizeBytes: Number(server?.size),
    },
    migrations: { applied: applied.length, pending, latest: applied.at(-1) ?? null },
    connections: kind === "pglite" ? [] : await readConnections(db),
    tables: await readTables(db),
  };
}

function readConnections(db: Db): Promise<DatabaseStatus["connections"]> {
  return rows(
    db,
    sql`select coalesce(nullif(application_name, ''), 'without a name') as application, count(*)::int as count
      from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid() group by 1 order by 1`,
  );
}

async function readTables(db: Db): Promise<DatabaseStatus["tables"]> {
  const tables = await rows<{ name: string; estimate: number }>(
    db,
    sql`select c.relname as name, c.reltuples::float8 as estimate from pg_class c join pg_namespace n on n.oid = c.relnamespace
      where n.nspname = 'attune' and c.relkind in ('r', 'p') and not c.relispartition order by c.relname collate "C"`,
  );
  if (tables.length === 0) return [];
  const counts = tables.map(
    ({ name }): SQL =>
      sql`(select count(*)::int from (select from attune.${sql.identifier(name)} limit ${counted + 1}) t)`,
  );
  const [found] = await rows<{ counts: number[] }>(db, sql`select array[${sql.join(counts, sql`, `)}] as counts`);
  return tables.map(({ name, estimate }, i) => {
    const exact = found?.counts[i] ?? 0;
    const isEstimate = exact > counted;
    return { name, rows: isEstimate ? Math.max(exact, Math.round(estimate)) : exact, isEstimate };
  });
}
