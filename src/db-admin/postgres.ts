import { sql } from "drizzle-orm";
import type postgres from "postgres";
import type { Consent, DropOptions } from "../cli/administration.ts";
import { connect, type Db, reasonOf, rows, usualLimits, withoutPassword } from "../db/client.ts";
import { StartError } from "../errors.ts";
import { codeOf, openExisting, patient, type Target } from "./target.ts";

/** Databases that every server has, from which others are created and dropped. */
const ofServer = ["postgres", "template1"];

/** PostgreSQL's codes: two processes that create the same database at once, and one that others use. */
const exists = ["42P04", "23505"];
const inUse = "55006";

/** Creates the database. Returns false when it exists, also when another process has just created it. */
export async function createPostgres(target: Target, url: string): Promise<boolean> {
  const existing = await openExisting(target);
  if (existing) {
    await existing[Symbol.asyncDispose]();
    return false;
  }
  return await withServer(url, async (client, name) => {
    try {
      // Not from template1, which may have another encoding, and must not be used by others meanwhile.
      await client.unsafe(`create database ${quoted(name)} encoding 'UTF8' template template0`);
      return true;
    } catch (error) {
      if (exists.includes(codeOf(error))) return false;
      throw new StartError(
        `PostgreSQL does not create ${target.place} (${reasonOf(error)}): let an administrator create it with the encoding UTF8, owned by this user.`,
        { cause: error },
      );
    }
  });
}

/** Drops the database. Returns false when there is none. Refuses one with tables of something else. */
export async function dropPostgres(
  target: Target,
  { url, consent, force, again }: DropOptions & { url: string; consent: Consent },
): Promise<boolean> {
  const database = await openExisting(target);
  if (!database) return false;
  try {
    await refuseForeign(database.db, target);
    if (again) await requireCreation(database.db, target);
  } finally {
    await database[Symbol.asyncDispose]();
  }
  if (!force) await withServer(url, (client, name) => refuseUsed(client, name, target));
  await consent();
  return await withServer(url, async (client, name) => {
    try {
      await client.unsafe(`drop database if exists ${quoted(name)}${force ? " with (force)" : ""}`);
      return true;
    } catch (error) {
      if (codeOf(error) === inUse) await refuseUsed(client, name, target);
      throw new StartError(`PostgreSQL does not drop ${target.place}: ${reasonOf(error)}.`, { cause: error });
    }
  });
}

async function refuseForeign(db: Db, { place }: Target): Promise<void> {
  const found = await rows<{ name: string }>(
    db,
    sql`select c.oid::regclass::text as name from pg_class c join pg_namespace n on n.oid = c.relnamespace
      where c.relkind in ('r', 'p', 'v', 'm', 'f') and n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
        and n.nspname not in ('attune', 'attune_jobs', 'attune_migrations')
        and not exists (select from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e')
      order by 1 limit 4`,
  );
  if (found.length === 0) return;
  const names = found.map(({ name }) => name);
  throw new StartError(
    `The database at ${place} has tables of something else (${names.slice(0, 3).join(", ")}${names.length > 3 ? ", …" : ""}): move them to another database first, or drop it with PostgreSQL's own tools.`,
  );
}

async function requireCreation(db: Db, { place }: Target): Promise<void> {
  const [user] = await rows<{ may: boolean }>(
    db,
    sql`select rolcreatedb or rolsuper as may from pg_roles where rolname = current_user`,
  );
  if (user?.may) return;
  throw new StartError(
    `This user may not create databases, so the one at ${place} stays: empty it with "attune db clean", or let an administrator drop and create it.`,
  );
}

async function refuseUsed(client: postgres.Sql, name: string, { place }: Target): Promise<void> {
  const sessions = await client<{ application: string; count: number }[]>`
    select coalesce(nullif(application_name, ''), 'without a name') as application, count(*)::int as count
    from pg_stat_activity where datname = ${name} group by 1 order by 1`;
  if (sessions.length === 0) return;
  const list = sessions.map(({ application, count }) => `${count} × ${application}`).join(", ");
  throw new StartError(
    `The database at ${place} has connections of others (${list}): stop the servers first, or end their connections with --force.`,
  );
}

const quoted = (name: string) => `"${name.replaceAll('"', '""')}"`;

/** Runs the work in a database of the same server other than the one of the URL; `name` is that one's. */
async function withServer<T>(url: string, work: (client: postgres.Sql, name: string) => Promise<T>): Promise<T> {
  const own = connectTo(url);
  const name = own.options.database; // which may come from the environment or be the user's
  await own.end();
  let refusal: unknown = null;
  for (const other of ofServer.filter((one) => one !== name)) {
    const place = new URL(url);
    place.pathname = `/${other}`;
    const client = connectTo(place.href);
    try {
      refusal = await client`select 1`.then(
        () => null,
        (error: unknown) => error,
      );
      if (refusal === null) return await work(client, name);
    } finally {
      await client.end({ timeout: 5 });
    }
  }
  throw new StartError(
    `The server of ${withoutPassword(url)} lets this user into neither ${ofServer.join(" nor ")} (${reasonOf(refusal)}): let an administrator create or drop the database.`,
    { cause: refusal },
  );
}

const connectTo = (url: string) => connect(url, { ...usualLimits, ...patient }, { max: 1, name: "attune db" });
