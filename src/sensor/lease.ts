import { hostname } from "node:os";
import { type SQL, sql } from "drizzle-orm";
import { rows } from "../db/client.ts";
import type { Tx } from "../db/tx.ts";
import { type ProcessIdentity, thisHost, thisProcess } from "../lib/process-identity.ts";

/** The right to run a sensor: whatever its process causes is stored only while the row has this generation. */
export interface Lease {
  sensor: string;
  generation: string;
}

/** A lease that was just taken. */
export interface Claim extends Lease {
  /** How often the sensor has ended by itself since it last ran well. */
  failures: number;
  /** Processes of the server that ran it before on this host, and may have left something of it. */
  former: ProcessIdentity[];
  /** The number of its last entry in the log. */
  logSeq: string;
}

const isOf = ({ sensor, generation }: Lease): SQL =>
  sql`p.sensor = ${sensor}::bigint and p.generation = ${generation}::bigint and p.lease_owner is not null`;
const seconds = (ms: number): SQL => sql`make_interval(secs => ${ms / 1000}::float8)`;

/** How many former processes of other hosts are remembered: each restart of a container is another host. */
const mostFormer = 20;

/**
 * Takes the lease of a sensor whose row has that generation and no lease, an expired one, or one whose owner `isOwnerDead`. What has the former
 * lease can store nothing from then on, and its token is revoked. Returns null when another process was faster.
 */
export async function claimSensor(
  tx: Tx,
  { sensor, generation }: Lease,
  { leaseMs, isOwnerDead, fingerprint }: { leaseMs: number; isOwnerDead: boolean; fingerprint: string },
): Promise<Claim | null> {
  await tx.db.execute(
    sql`insert into attune.sensor_process (sensor) select id from attune.sensor where id = ${sensor}::bigint on conflict do nothing`,
  );
  // A process that was stopped within a transaction keeps the row locked until the database ends that: meanwhile the other sensors go on.
  const free = await rows(
    tx.db,
    sql`select id::text from attune.sensor_process where sensor = ${sensor}::bigint for no key update skip locked`,
  );
  if (free.length === 0) return null;
  const owner = JSON.stringify(thisProcess());
  const [claimed] = await rows<Omit<Claim, "sensor">>(
    tx.db,
    sql`update attune.sensor_process p set generation = p.generation + 1, lease_owner = ${owner}::text::jsonb,
        lease_expires_at = now() + ${seconds(leaseMs)}, status = 'starting', since = now(), pid = null, host = ${hostname()},
        next_start_at = null, fingerprint = ${fingerprint},
        failures = case when p.fingerprint = ${fingerprint} then p.failures else 0 end,
        former = (select coalesce(jsonb_agg(f.value), '[]') from (
          select distinct f.value from jsonb_array_elements(p.former || coalesce(p.lease_owner, '[]')) f limit ${mostFormer}::int) f)
      where p.sensor = ${sensor}::bigint and p.generation = ${generation}::bigint
        and (p.lease_owner is null or p.lease_expires_at < now() or ${isOwnerDead}::boolean)
      returning generation::text as "generation", failures as "failures", former as "former",
        coalesce((select max(l.seq) from attune.sensor_log l where l.sensor = p.sensor), 0)::text as "logSeq"`,
  );
  if (!claimed) return null;
  await revokeTokens(tx, sensor);
  return { sensor, ...claimed, former: claimed.former.filter(({ host }) => host === thisHost()) };
}

async function revokeTokens(tx: Tx, sensor: string): Promise<void> {
  await tx.db.execute(
    sql`update attune.token set revoked_at = now() where sensor = ${sensor}::bigint and revoked_at is null`,
  );
}

/** Extends leases. Returns the sensors whose leases this process still has, and those that no longer exist. */
export async function renewLeases(
  tx: Tx,
  leases: readonly Lease[],
  leaseMs: number,
): Promise<{ kept: Set<string>; gone: Set<string> }> {
  const renewed = await rows<{ sensor: string }>(
    tx.db,
    sql`update attune.sensor_process p set lease_expires_at = now() + ${seconds(leaseMs)}
      from jsonb_to_recordset(${JSON.stringify(leases)}::text::jsonb) as r(sensor bigint, generation bigint)
      where p.sensor = r.sensor and p.generation = r.generation and p.lease_owner is not null returning p.sensor::text as "sensor"`,
  );
  const kept = new Set(renewed.map(({ sensor }) => sensor));
  if (kept.size === leases.length) return { kept, gone: new Set() };
  const gone = await rows<{ sensor: string }>(
    tx.db,
    sql`select r.sensor::text as "sensor" from jsonb_to_recordset(${JSON.stringify(leases)}::text::jsonb) as r(sensor bigint)
      where not exists (select from attune.sensor s where s.id = r.sensor)`,
  );
  return { kept, gone: new Set(gone.map(({ sensor }) => sensor)) };
}

/** Records that nothing of the former processes of this host is left. Returns whether the lease is still valid, as do the next ones. */
export async function forgetFormer(tx: Tx, lease: Lease): Promise<boolean> {
  return await change(
    tx,
    lease,
    sql`former = (select coalesce(jsonb_agg(f.value), '[]') from jsonb_array_elements(p.former) f where f.value ->> 'host' <> ${thisHost()})`,
  );
}

/** Records that the sensor runs in the process with that id. */
export async function markRunning(tx: Tx, lease: Lease, pid: number): Promise<boolean> {
  return await change(tx, lease, sql`status = 'running', since = now(), pid = ${pid}::int`);
}

/** Records that the sensor was asked to end. */
export async function markStopping(tx: Tx, lease: Lease): Promise<boolean> {
  return await change(tx, lease, sql`status = 'stopping', since = now()`);
}

/** How the run of a sensor ended: it was stopped, or ended by itself, for that reason. */
export type End = { kind: "stopped" } | { kind: "failed"; error: string; failures: number; delayMs: number };

/** Gives the lease back. A sensor that ended by itself may be started again after its delay. */
export async function releaseSensor(tx: Tx, lease: Lease, end: End): Promise<boolean> {
  const released = await change(
    tx,
    lease,
    end.kind === "stopped"
      ? sql`lease_owner = null, lease_expires_at = null, pid = null, since = now(), status = 'stopped', failures = 0`
      : sql`lease_owner = null, lease_expires_at = null, pid = null, since = now(), status = 'waiting', restarts = p.restarts + 1,
          failures = ${end.failures}::int, next_start_at = now() + ${seconds(end.delayMs)}, last_error = ${end.error}, last_error_at = now()`,
  );
  if (released) await revokeTokens(tx, lease.sensor);
  tx.announce("sensor");
  return released;
}

async function change(tx: Tx, lease: Lease, fields: SQL): Promise<boolean> {
  const changed = await rows(
    tx.db,
    sql`update attune.sensor_process p set ${fields} where ${isOf(lease)} returning p.id::text`,
  );
  return changed.length > 0;
}

/** Locks the lease's row against a takeover until the end of the transaction, and records the time of an event. Returns whether it is valid. */
export async function holdLease(tx: Tx, lease: Lease): Promise<boolean> {
  return await change(tx, lease, sql`last_event_at = now()`);
}

/**
 * Records that nothing waits to run any longer because it is not wanted, and that what is wanted has no interpreter on any host that
 * looked for one: `missing` are sensors with their runtimes.
 */
export async function noteWaiting(
  tx: Tx,
  { unwanted, missing }: { unwanted: readonly string[]; missing: readonly { sensor: string; error: string }[] },
): Promise<void> {
  if (unwanted.length > 0) {
    await tx.db.execute(
      sql`update attune.sensor_process p set status = 'stopped', since = now(), next_start_at = null, failures = 0
        where p.status = 'waiting' and p.sensor in (select value::bigint from jsonb_array_elements_text(${JSON.stringify(unwanted)}::text::jsonb))`,
    );
  }
  for (const { sensor, error } of missing) {
    await tx.db.execute(
      sql`insert into attune.sensor_process as p (sensor, status, last_error, last_error_at)
        select id, 'waiting', ${error}, now() from attune.sensor where id = ${sensor}::bigint
        on conflict (sensor) do update set status = 'waiting', since = now(), last_error = excluded.last_error, last_error_at = now()
          where p.lease_owner is null and (p.status <> 'waiting' or p.last_error is distinct from excluded.last_error)`,
    );
  }
}
