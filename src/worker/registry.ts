import { hostname } from "node:os";
import { sql } from "drizzle-orm";
import { rows } from "../db/client.ts";
import type { Services } from "../db/services.ts";
import { write } from "../db/tx.ts";
import type { JsonObject } from "../lib/json.ts";
import { thisProcess } from "../lib/process-identity.ts";
import { type FoundRuntime, findInterpreters } from "../process/interpreters.ts";
import { runtimes } from "./runtimes/table.ts";

/** A registered worker. */
export interface Registration {
  id: string;
  name: string;
}

/** Returns the supported action runtimes on this host: the first command of each that reports a version as expected. */
export async function findRuntimes(
  services: Services,
  path: string,
  env: Readonly<Record<string, string>> = {},
): Promise<FoundRuntime[]> {
  return await findInterpreters(services, new Set(runtimes.keys()), { path, env });
}

/** Registers this process as a worker. */
export async function registerWorker(
  services: Services,
  worker: {
    runtimes: readonly FoundRuntime[];
    slots: number;
    runtimeSlots: ReadonlyMap<string, number>;
    labels: JsonObject;
  },
): Promise<Registration> {
  const host = hostname();
  const capabilities = {
    runtimes: Object.fromEntries(worker.runtimes.map(({ ref, version }) => [ref, { version }])),
    labels: worker.labels,
    slots: worker.slots,
    runtime_slots: Object.fromEntries(worker.runtimeSlots),
  };
  const [registered] = await write(services, (tx) =>
    rows<Registration>(
      tx.db,
      sql`insert into attune.worker (name, worker_type, host, status, capabilities, meta, last_heartbeat)
        values (${`${host}-${process.pid}`}, 'local', ${host}, 'active', ${JSON.stringify(capabilities)}::text::jsonb,
          ${JSON.stringify({ process: { ...thisProcess() } })}::text::jsonb, now())
        returning id::text, name`,
    ),
  );
  if (!registered) throw new Error("the worker could not be registered");
  return registered;
}

/** What a worker learns at its heartbeat. */
export interface Beat {
  /** Whether it may not claim: it is cordoned, or its row is gone. */
  cordoned: boolean;
  /** In how many milliseconds it must hand back what it runs; null: it may finish. */
  drainsInMs: number | null;
}

/** Records a heartbeat, and whether all slots are taken. */
export async function beat(services: Services, worker: Registration, busy: boolean): Promise<Beat> {
  const [row] = await write(services, (tx) =>
    rows<Beat>(
      tx.db,
      sql`update attune.worker set last_heartbeat = now(), status = ${busy ? "busy" : "active"}
        where id = ${worker.id}::bigint
        returning cordoned, (extract(epoch from drains_at - clock_timestamp()) * 1000)::float8 as "drainsInMs"`,
    ),
  );
  return row ?? { cordoned: true, drainsInMs: null };
}

/** Marks the worker as inactive after an orderly stop. */
export async function signOff(services: Services, worker: Registration): Promise<void> {
  await write(services, (tx) =>
    tx.db.execute(sql`update attune.worker set status = 'inactive' where id = ${worker.id}::bigint`),
  );
}
