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

export interface Registration {
  id: string;
  name: string;
}

/** A runtime that this host has: its command, and what it said its version is. */
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

const run = promisify(execFile);
/** What this version knows how to run; an action in another runtime waits, and then fails naming it. */
const served = new Set(["core.action.builtin", "core.action.shell", "core.action.python", "core.action.nodejs"]);

/** Asks every action runtime's interpreters for their version; the first that answers as expected is used. */
export async function findRuntimes(services: Services, path: string): Promise<FoundRuntime[]> {
  const known = await rows<{ ref: string; distributions: { commands?: Distribution[] } }>(
    services.db,
    sql`select ref, distributions from attune.runtime where runtime_type = 'action' order by ref`,
  );
  const looked = known
    .filter(({ ref }) => served.has(ref))
    .map(async ({ ref, distributions }) => {
      if (ref === "core.action.builtin") return { ref, command: null, version: null };
      for (const distribution of distributions.commands ?? []) {
        const version = await versionOf(distribution, path);
        if (version !== null) return { ref, command: distribution.command, version };
      }
      return null;
    });
  return (await Promise.all(looked)).filter((found) => found !== null);
}

async function versionOf({ command, args, pattern }: Distribution, path: string): Promise<string | null> {
  try {
    const { stdout, stderr } = await run(command, args ?? [], { env: { PATH: path }, timeout: 10_000 });
    const output = `${stdout}${stderr}`;
    if (!pattern) return "";
    if (!compileRegex(pattern).test(output)) return null;
    return output.trim().split("\n")[0] ?? "";
  } catch {
    return null; // not installed here: reported by its absence from the worker's capabilities
  }
}

/** Adds this process to the workers. */
export async function registerWorker(
  services: Services,
  worker: { runtimes: readonly FoundRuntime[]; slots: number; labels: JsonObject },
): Promise<Registration> {
  const host = hostname();
  const capabilities = {
    runtimes: Object.fromEntries(worker.runtimes.map(({ ref, version }) => [ref, { version }])),
    labels: worker.labels,
    slots: worker.slots,
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

/** Says that the worker is alive; answers whether it may claim: its row is there and not cordoned. */
export async function beat(services: Services, worker: Registration, busy: boolean): Promise<boolean> {
  const [row] = await write(services, (tx) =>
    rows<{ cordoned: boolean }>(
      tx.db,
      sql`update attune.worker set last_heartbeat = now(), status = ${busy ? "busy" : "active"}
        where id = ${worker.id}::bigint returning cordoned`,
    ),
  );
  return row !== undefined && !row.cordoned;
}

/** The worker has stopped in good order. */
export async function signOff(services: Services, worker: Registration): Promise<void> {
  await write(services, (tx) =>
    tx.db.execute(sql`update attune.worker set status = 'inactive' where id = ${worker.id}::bigint`),
  );
}
