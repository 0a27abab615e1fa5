import { randomBytes } from "node:crypto";
import { sql } from "drizzle-orm";
import { rows } from "../db/client.ts";
import type { Tx } from "../db/tx.ts";
import type { Session } from "./session.ts";
import { hashOf } from "./sessions.ts";

/**
 * Creates the token of a sensor's process, which may only emit events of the sensor's triggers, and returns its value; null when the
 * sensor no longer exists. It ends with the lease of the process.
 */
export async function createSensorToken(tx: Tx, sensor: string): Promise<string | null> {
  const value = `att_sensor_${randomBytes(32).toString("base64url")}`;
  const created = await rows(
    tx.db,
    sql`insert into attune.token (kind, token_hash, sensor, label) select 'sensor', ${hashOf(value)}, s.id, s.ref
      from attune.sensor s where s.id = ${sensor}::bigint returning id::text`,
  );
  return created.length > 0 ? value : null;
}

/**
 * Returns the sensor whose token the session has, records that it emits an event, and keeps the lease of its process until the transaction ends;
 * null when the token has ended with the lease, because a session may be a second old.
 */
export async function holdSensor(tx: Tx, { tokenId }: Session): Promise<{ id: string; ref: string } | null> {
  const token = sql`t.id = ${String(tokenId)}::bigint`;
  await tx.db.execute(
    sql`select from attune.sensor_process p where p.sensor = (select t.sensor from attune.token t where ${token}) for no key update`,
  );
  // Only a later statement sees what a process that took the lease meanwhile has revoked.
  const [sensor] = await rows<{ id: string; ref: string }>(
    tx.db,
    sql`update attune.sensor_process p set last_event_at = now() from attune.token t join attune.sensor s on s.id = t.sensor
      where ${token} and t.revoked_at is null and p.sensor = t.sensor and p.lease_expires_at > now()
      returning s.id::text as "id", s.ref as "ref"`,
  );
  return sensor ?? null;
}
