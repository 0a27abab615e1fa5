import { sql } from "drizzle-orm";
import { rows } from "../db/client.ts";
import { type Engine, write } from "../db/engine.ts";
import { claimExecutions } from "../execution/claim.ts";
import { loseExecutions } from "../execution/lose.ts";
import { faultPoint } from "../lib/fault.ts";
import { type Loop, startLoop } from "../lib/loop.ts";
import type { Surroundings } from "./perform.ts";
import { beat, type FoundRuntime, type Registration, registerWorker, signOff } from "./registry.ts";
import { createRunner, type Runner } from "./runner.ts";

/** Built-in actions cost no process: many may wait for their answers at a time. */
const builtinSlots = 200;
const claimSize = 100;
const beatMs = 10_000;
/** Behind the wake-ups: finds what a killed process did not announce. */
const pollMs = 2000;

export interface WorkerOptions {
  runtimes: readonly FoundRuntime[];
  /** How many processes may run at a time. */
  slots: number;
  surroundings: Omit<Surroundings, "interpreters">;
  /** How long stopping waits for what runs, in milliseconds; what is left then is handed back. */
  stopMs: number;
}

/** Starts the worker role: registers, beats, claims what it has slots for, runs it and reports the results. */
export async function startWorker(engine: Engine, options: WorkerOptions): Promise<{ stop(): Promise<void> }> {
  const registration = await registerWorker(engine, { runtimes: options.runtimes, slots: options.slots, labels: {} });
  const lease = { mayClaim: true };
  const failed = (error: unknown) => engine.log.error({ err: error }, "worker");
  const interpreters = new Map(options.runtimes.map(({ ref, command }) => [ref, command ?? ""]));
  const pools: Pool[] = [];
  const runner = createRunner(engine, { ...options.surroundings, interpreters }, () => {
    for (const pool of pools) if (pool.due.size > 0) pool.loop.wake();
  });
  const refs = options.runtimes.map(({ ref }) => ref);
  const isBuiltin = (ref: string) => ref === "core.action.builtin";
  const start = (runtimes: string[], slots: number) => {
    const due = new Set(runtimes);
    const pass = async () => {
      if (due.size === 0) for (const ref of runtimes) due.add(ref);
      const more = lease.mayClaim && (await claimDue(engine, runner, { runtimes, slots, due, registration }));
      return more ? 0 : pollMs;
    };
    pools.push({ runtimes, due, loop: startLoop({ failed, pass }) });
  };
  start(refs.filter(isBuiltin), builtinSlots);
  start(
    refs.filter((ref) => !isBuiltin(ref)),
    options.slots,
  );
  const heartbeat = startLoop({
    failed,
    pass: async () => {
      lease.mayClaim = await beat(engine, registration, runner.count(refs) > 0);
      return beatMs;
    },
  });
  const cancels = startLoop({
    failed,
    pass: async () => {
      if (runner.count(refs) > 0) for (const id of await findCancelled(engine, registration)) runner.cancel(id);
      return beatMs;
    },
  });
  const unsubscribe = [
    engine.wake.on("cancel", () => cancels.wake()),
    ...pools.flatMap(({ due, loop, runtimes }) =>
      runtimes.map((ref) =>
        engine.wake.on(`execution:${ref}`, () => {
          due.add(ref);
          loop.wake();
        }),
      ),
    ),
  ];
  return {
    stop: async () => {
      for (const each of unsubscribe) each();
      await Promise.all(pools.map(({ loop }) => loop.stop()));
      await runner.drain(options.stopMs);
      await Promise.all([heartbeat.stop(), cancels.stop()]);
      const mine = sql`e.worker = ${registration.id}::bigint`;
      await write(engine, (tx) => loseExecutions(tx, mine, "the worker stopped"));
      await signOff(engine, registration);
    },
  };
}

/** Runtimes that share slots. `due`: those in whose queues something may be waiting. */
interface Pool {
  runtimes: readonly string[];
  due: Set<string>;
  loop: Loop;
}

/** Claims what there are slots for from the queues that are due; answers whether more may be waiting and could be taken. */
async function claimDue(
  engine: Engine,
  runner: Runner,
  { runtimes, slots, due, registration }: Omit<Pool, "loop"> & { slots: number; registration: Registration },
): Promise<boolean> {
  for (const runtimeRef of [...due]) {
    const limit = Math.min(claimSize, slots - runner.count(runtimes));
    if (limit <= 0) return false; // the first slot that becomes free wakes the pool again: it is still due
    due.delete(runtimeRef);
    const { claims, jobs } = await write(engine, (tx) => claimExecutions(tx, registration, { runtimeRef, limit }));
    if (jobs === limit) due.add(runtimeRef);
    if (claims.length > 0) faultPoint("claim.after_commit");
    for (const claim of claims) runner.begin(claim);
  }
  return due.size > 0;
}

async function findCancelled(engine: Engine, worker: Registration): Promise<string[]> {
  const found = await rows<{ id: string }>(
    engine.db,
    sql`select id::text from attune.execution where status = 'canceling' and worker = ${worker.id}::bigint`,
  );
  return found.map(({ id }) => id);
}
