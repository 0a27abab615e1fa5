import { execFile } from "node:child_process";
import { hostname } from "node:os";
import { promisify } from "node:util";
import { sql } from "drizzle-orm";
import { rows } from "../db/client.ts";
import type { Services } from "../db/services.ts";
import { write } from "../db/tx.ts";
import type { JsonObject } from "../lib/json.ts";
import { thisProcess } from "../lib/process-identity.ts";
import { compileRegex } from "../lib/regex.ts";
import { runtimes } from "./runtimes/table.ts";

/** A registered worker. */
export interface Registration {
  id: string;
  name: string;
}

/** A runtime on this host, with its command and the version that it reported. */
export interface FoundRuntime {
  ref: string;
  command: string | null;
  version: string | null;
}

interface Distribution {
  command: string;
  args?: string[];
  pattern?: string;
}

interface Distributions {
  commands?: Distribution[];
  min_version?: string | null;
}

const run = promisify(execFile);

/** Returns the supported action runtimes on this host: the first command of each that reports a version as expected. */
export async function findRuntimes(
  services: Services,
  path: string,
  env: Readonly<Record<string, string>> = {},
): Promise<FoundRuntime[]> {
  const known = await rows<{ ref: string; distributions: Distributions }>(
    services.db,
    sql`select ref, distributions from attune.runtime where runtime_type = 'action' order by ref`,
  );
  const searches = known
    .filter(({ ref }) => runtimes.has(ref))
    .map(async ({ ref, distributions }) => {
      if (runtimes.get(ref)?.slots === "shared") return { ref, command: null, version: null };
      for (const distribution of distributions.commands ?? []) {
        const version = await versionOf(distribution, { ...env, PATH: path });
        if (version === null) continue;
        if (isAtLeast(version, distributions.min_version ?? null)) {
          return { ref, command: distribution.command, version };
        }
        services.log.warn(
          { runtime: ref, command: distribution.command, version, minVersion: distributions.min_version },
          "an interpreter is older than its runtime requires",
        );
      }
      return null;
    });
  return (await Promise.all(searches)).filter((found) => found !== null);
}

async function versionOf(
  { command, args, pattern }: Distribution,
  env: Record<string, string>,
): Promise<string | null> {
  try {
    const { stdout, stderr } = await run(command, args ?? [], { env, timeout: 10_000 });
    const output = `${stdout}${stderr}`;
    if (!pattern) return "";
    if (!compileRegex(pattern).test(output)) return null;
    return output.trim().split("\n")[0] ?? "";
  } catch {
    return null; // not installed: it is missing from the worker's capabilities
  }
}

/**
 * Returns whether the first version number in the text, such as "Python 3.11.2", is at least that version: numbers separated by dots are
 * compared one by one. True where either has none.
 */
export function isAtLeast(text: string, version: string | null): boolean {
  const numbers = (of: string | null) =>
    /\d+(?:\.\d+)*/
      .exec(of ?? "")?.[0]
      .split(".")
      .map(Number) ?? [];
  const found = numbers(text);
  if (found.length === 0) return true;
  for (const [index, required] of numbers(version).entries()) {
    const part = found[index] ?? 0;
    if (part !== required) return part > required;
  }
  return true;
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
