import { createHash } from "node:crypto";
import { sql } from "drizzle-orm";
import { type Db, rows } from "../db/client.ts";
import type { JsonObject } from "../lib/json.ts";
import type { ProcessIdentity } from "../lib/process-identity.ts";
import type { SealedSettings } from "../secrecy/settings.ts";

/** A rule that a sensor serves: it wants events of the trigger. */
export interface ServedRule {
  trigger: string;
  rule: string;
  trigger_params: JsonObject;
}

/** A sensor that is to run, or whose process has a lease or waits for its next start. */
export interface KnownSensor {
  id: string;
  ref: string;
  packRef: string | null;
  entrypoint: string;
  runtimeRef: string;
  config: JsonObject;
  secrets: SealedSettings;
  release: { digest: string; path: string; environments: Readonly<Record<string, string>> } | null;
  /** The enabled rules on its enabled triggers, by their refs. */
  rules: ServedRule[];
  /** Whether it is enabled and has such a rule. */
  isWanted: boolean;
  generation: string;
  fingerprint: string | null;
  /** The process of the server that has its lease; null: none. */
  owner: ProcessIdentity | null;
  /** Whether its lease has ended, though it was not given back. */
  isExpired: boolean;
  isWaiting: boolean;
  /** In how many milliseconds it may be started; null: at once. */
  dueInMs: number | null;
}

/** Returns every sensor that is wanted or has a process. */
export async function findSensors(db: Db): Promise<KnownSensor[]> {
  return await rows<KnownSensor>(
    db,
    sql`select s.id::text as "id", s.ref, s.pack_ref as "packRef", s.entrypoint, s.runtime_ref as "runtimeRef", coalesce(s.config, '{}') as "config",
        s.secrets, case when r.id is not null then jsonb_build_object('digest', r.digest, 'path', r.path, 'environments', r.environments) end as "release",
        coalesce(served.rules, '[]') as "rules", s.enabled and served.rules is not null as "isWanted",
        coalesce(p.generation, 0)::text as "generation", p.fingerprint, p.lease_owner as "owner",
        coalesce(p.lease_expires_at < now(), false) as "isExpired", coalesce(p.status = 'waiting', false) as "isWaiting",
        (extract(epoch from p.next_start_at - now()) * 1000)::float8 as "dueInMs"
      from attune.sensor s left join attune.pack k on k.id = s.pack left join attune.pack_release r on r.id = k.active_release
        left join attune.sensor_process p on p.sensor = s.id
        left join lateral (select jsonb_agg(jsonb_build_object('trigger', g.ref, 'rule', u.ref, 'trigger_params', u.trigger_params) order by u.ref) as rules
          from attune.trigger g join attune.rule u on u.trigger = g.id where g.sensor = s.id and g.enabled and u.enabled) served on true
      where s.enabled and served.rules is not null or p.status <> 'stopped' order by s.id`,
  );
}

/** Returns a text that is the same as long as the sensor would be started in the same way. `settings` are its settings with their secrets. */
export function fingerprintOf({ entrypoint, runtimeRef, release, rules }: KnownSensor, settings: JsonObject): string {
  const parts = [entrypoint, runtimeRef, release?.digest ?? null, rules, settings];
  return createHash("sha256").update(JSON.stringify(parts)).digest("hex");
}
