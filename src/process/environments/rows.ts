import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { sql } from "drizzle-orm";
import { type Db, rows } from "../../db/client.ts";
import type { Tx } from "../../db/tx.ts";

/** What an environment is for, and where it is. */
export interface Key {
  packRef: string;
  runtimeRef: string;
  /** Of the files that define it. */
  checksum: string;
  /** The interpreter's version. */
  interpreter: string;
  /** The id of the directory of environments. */
  store: string;
}

/** An environment's row. */
export interface Environment {
  id: string;
  status: "pending" | "installing" | "ready" | "failed" | "outdated";
  path: string;
  error: string | null;
  log: string | null;
  /** Whether it may be tried again after a failure. */
  isDue: boolean;
}

/** A build that this process may perform, until its lease ends. */
export interface Build {
  id: string;
  path: string;
}

/** How long a build belongs to its worker without being renewed, in seconds. */
const leaseSeconds = 30;
/** How long a failure is the answer, in seconds; after that, the next execution tries again. */
const failureSeconds = 60;

const isOf = ({ packRef, runtimeRef, checksum, interpreter, store }: Key) =>
  sql`e.pack = (select id from attune.pack where ref = ${packRef}) and e.runtime = (select id from attune.runtime where ref = ${runtimeRef})
    and e.manifest_checksum = ${checksum} and e.interpreter = ${interpreter} and e.store = ${store}`;

/** Returns the environment's row; null if there is none. */
export async function findEnvironment(db: Db, key: Key): Promise<Environment | null> {
  const [found] = await rows<Environment>(
    db,
    sql`select e.id::text, e.status, e.path, e.install_error as error, e.install_log as log,
        e.updated < now() - make_interval(secs => ${failureSeconds}::int) as "isDue"
      from attune.pack_environment e where ${isOf(key)}`,
  );
  return found ?? null;
}

/** Records that an outdated environment is used again, so that it is not removed. Returns false when it was removed meanwhile. */
export async function useAgain(tx: Tx, id: string): Promise<boolean> {
  const found = await rows(
    tx.db,
    sql`update attune.pack_environment set updated = now() where id = ${id}::bigint returning id::text`,
  );
  return found.length > 0;
}

/**
 * Claims the build of an environment for the worker. Returns null while another one builds it, when it is ready (unless its directory, `missing`,
 * does not exist), when it failed less than a minute ago, and when its pack or runtime no longer exists. Each build gets a directory of
 * its own name in `directory`: what a lost one still writes never meets the next.
 */
export async function claimBuild(
  tx: Tx,
  key: Key,
  { worker, directory, missing }: { worker: string | null; directory: string; missing: string | null },
): Promise<Build | null> {
  const path = join(directory, `${key.packRef}.${randomBytes(8).toString("hex")}`);
  const claim = sql`'installing', ${worker}::bigint, now() + make_interval(secs => ${leaseSeconds}::int), ${path}, null, null`;
  const [build] = await rows<Build>(
    tx.db,
    sql`insert into attune.pack_environment as e (pack, runtime, store, manifest_checksum, interpreter,
        status, claimed_by, claim_expires_at, path, install_log, install_error)
      select p.id, rt.id, ${key.store}, ${key.checksum}, ${key.interpreter}, ${claim}
        from attune.pack p, attune.runtime rt where p.ref = ${key.packRef} and rt.ref = ${key.runtimeRef}
      on conflict (pack, runtime, manifest_checksum, interpreter, store) do update
        set (status, claimed_by, claim_expires_at, path, install_log, install_error) = row (${claim})
        where e.status = 'pending' or e.path = ${missing}
          or e.status = 'failed' and e.updated < now() - make_interval(secs => ${failureSeconds}::int)
          or e.status = 'installing' and (e.claim_expires_at < now() or e.claimed_by is not null and not exists (
            select from attune.worker w where w.id = e.claimed_by and w.status in ('active', 'busy')))
      returning e.id::text, e.path`,
  );
  return build ?? null;
}

const isOwn = ({ id, path }: Build) => sql`id = ${id}::bigint and path = ${path} and status = 'installing'`;

/** Extends the lease, and stores the log so far. Returns whether the build is still this worker's. */
export async function renewBuild(tx: Tx, build: Build, log: string): Promise<boolean> {
  const kept = await rows(
    tx.db,
    sql`update attune.pack_environment set claim_expires_at = now() + make_interval(secs => ${leaseSeconds}::int), install_log = ${log}
      where ${isOwn(build)} returning id::text`,
  );
  return kept.length > 0;
}

/** Stores the end of a build: `error` null: it is ready. Does nothing when it is no longer this worker's. */
export async function endBuild(tx: Tx, build: Build, log: string, error: string | null): Promise<void> {
  await tx.db.execute(
    sql`update attune.pack_environment e set claim_expires_at = null, claimed_by = null, install_log = ${log}, install_error = ${error},
        status = case when ${error}::text is not null then 'failed' when exists (select from attune.pack p
            join attune.pack_release r on r.id = p.active_release join attune.runtime rt on rt.id = e.runtime
            where p.id = e.pack and r.environments ->> rt.ref = e.manifest_checksum) then 'ready'
          else 'outdated' end::attune.pack_environment_status
      where ${isOwn(build)}`,
  );
  tx.announce("environment");
}

/** Gives a build back: the worker stops. */
export async function abandonBuild(tx: Tx, build: Build): Promise<void> {
  await tx.db.execute(
    sql`update attune.pack_environment set status = 'pending', claim_expires_at = null, claimed_by = null where ${isOwn(build)}`,
  );
  tx.announce("environment");
}
