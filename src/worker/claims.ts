import { hostname } from "node:os";
import { sql } from "drizzle-orm";
import { createExecutionToken } from "../access/execution-token.ts";
import { anyOf, rows } from "../db/client.ts";
import type { Services } from "../db/services.ts";
import { write } from "../db/tx.ts";
import type { Claim } from "../execution/claim.ts";
import { loseExecutions } from "../execution/lose.ts";
import { inProgress, statusIn } from "../execution/states.ts";
import { type Loop, startLoop } from "../lib/loop.ts";
import { createPace } from "../lib/pace.ts";
import { createScratch, removeLeftScratch } from "../lib/scratch.ts";
import { startEnvironments } from "../process/environments/environments.ts";
import type { FoundRuntime } from "../process/interpreters.ts";
import { startReleaseCare } from "./install/care.ts";
import { type Pool, startPool } from "./pool.ts";
import { beat, type Registration, registerWorker, signOff } from "./registry.ts";
import { createRunner, type HeldAttempt, type Runner } from "./runner.ts";
import type { HostEnvironment } from "./runtimes/runtime.ts";
import { runtimes as knownRuntimes } from "./runtimes/table.ts";
import { createInterpreters } from "./warm/warm.ts";

/** How many actions that need no process may run at once: many can wait for their responses together. */
const sharedSlots = 200;
const beatMs = 10_000;
/** Short actions may take and free the last slot many times a second. */
const statusPace = { everyMs: 500, burst: 4 };

/** The runtimes, slots and host of a worker. */
export interface WorkerOptions {
  runtimes: readonly FoundRuntime[];
  /** How many processes may run at once. */
  slots: number;
  /** How many actions of a runtime may run at once, by its ref, where that is fewer than the slots. */
  runtimeSlots: ReadonlyMap<string, number>;
  /** What it has besides, by name: actions may select it. */
  labels: Readonly<Record<string, string>>;
  host: Omit<HostEnvironment, "environments" | "interpreters" | "issueToken" | "scratch" | "warm">;
  /** The directory of the environments of packs. */
  environmentsDir: string;
  /** Whether interpreters are kept for later actions. */
  warm: boolean;
  /** How long stopping waits for running executions, in milliseconds; the remaining ones are handed back. */
  stopMs: number;
}

/** Registers and starts a worker: it sends heartbeats, claims executions for its free slots, runs them and reports the outcomes. */
export async function startClaims(services: Services, options: WorkerOptions): Promise<AsyncDisposable> {
  await removeLeftScratch();
  const scratch = createScratch();
  const labels = { ...options.labels, host: hostname() };
  const registration = await registerWorker(services, { ...options, labels });
  const failed = (error: unknown) => services.log.error({ err: error }, "worker");
  const interpreters = new Map(options.runtimes.map(({ ref, command }) => [ref, command ?? ""]));
  const pools: Pool[] = [];
  const issueToken = (claim: Claim) => write(services, (tx) => createExecutionToken(tx, claim));
  const environments = startEnvironments(services, {
    ...{ directory: options.environmentsDir, worker: registration.id, runtimes: options.runtimes },
    ...{ releases: options.host.releases, host: options.host },
  });
  const releaseCare = startReleaseCare(services, options.host.installs.directory);
  const warm = await createInterpreters(services, {
    ...{ isOn: options.warm, scratch: scratch.directory, runAs: options.host.runAs },
  });
  const host = { ...options.host, interpreters, issueToken, environments, scratch: scratch.directory, warm };
  for (const { ref } of options.runtimes) knownRuntimes.get(ref)?.start?.(host).catch(failed);
  const runner = createRunner(services, host, () => {
    for (const pool of pools) pool.slotFreed();
    heartbeat.showLoad();
  });
  const refs = options.runtimes.map(({ ref }) => ref);
  const [processes, shared] = [refs.filter(takesSlot), refs.filter((ref) => !takesSlot(ref))];
  const heartbeat = startHeartbeat(services, registration, {
    runner,
    failed,
    isBusy: () => runner.count(processes) >= options.slots,
    resumed: () => wakeAll(pools),
  });
  showSlots(services, runner, [
    { pool: "builtin", refs: shared, slots: sharedSlots },
    { pool: "process", refs: processes, slots: options.slots },
  ]);
  const mayClaim = () => heartbeat.mayClaim() && !runner.isWaiting() && services.room.shortage() === null;
  const { runtimeSlots: limits } = options;
  const claimed = () => heartbeat.showLoad();
  const of = { runner, registration, labels, limits, mayClaim, claimed, failed };
  pools.push(startPool(services, { ...of, runtimes: shared, slots: sharedSlots }));
  pools.push(startPool(services, { ...of, runtimes: processes, slots: options.slots }));
  const cancels = startLoop({
    failed,
    pass: async () => {
      if (runner.count(refs) > 0) for (const id of await findCancelled(services, registration)) runner.cancel(id);
      return beatMs;
    },
  });
  const unsubscribe = [services.wake.on("cancel", () => cancels.wake()), services.wake.on("worker", heartbeat.wake)];
  return {
    [Symbol.asyncDispose]: async () => {
      for (const each of unsubscribe) each();
      await Promise.all(pools.map((pool) => pool[Symbol.asyncDispose]()));
      await runner.drain(options.stopMs);
      await Promise.all([environments[Symbol.asyncDispose](), releaseCare[Symbol.asyncDispose]()]);
      await Promise.all([heartbeat[Symbol.asyncDispose](), cancels[Symbol.asyncDispose]()]);
      warm[Symbol.dispose]();
      scratch.remove();
      await handBack(services, registration);
    },
  };
}

function showSlots(
  { metrics }: Services,
  runner: Runner,
  pools: readonly { pool: string; refs: readonly string[]; slots: number }[],
): void {
  metrics.read(() => {
    for (const { pool, refs, slots } of pools) {
      metrics.slots.set({ pool }, slots);
      metrics.slotsUsed.set({ pool }, runner.count(refs));
    }
  });
}

function wakeAll(pools: readonly Pool[]): void {
  for (const pool of pools) pool.wake();
}

const takesSlot = (ref: string) => knownRuntimes.get(ref)?.slots === "process";

/** The heartbeat of a worker. */
interface Heartbeat extends Loop {
  /** Returns whether the worker may claim, according to the last heartbeat. */
  mayClaim(): boolean;
  /** Writes at once whether all slots are taken, if that has changed. */
  showLoad(): void;
}

interface HeartbeatOptions {
  runner: Runner;
  isBusy(): boolean;
  /** Is called when the worker may claim again. */
  resumed(): void;
  failed(error: unknown): void;
}

function startHeartbeat(
  services: Services,
  worker: Registration,
  { runner, isBusy, resumed, failed }: HeartbeatOptions,
): Heartbeat {
  const turn = createPace(statusPace);
  let mayClaim = true;
  let hasDrained = false;
  let shownBusy = false;
  const loop = startLoop({
    failed,
    pass: async () => {
      await turn();
      const paused = !mayClaim;
      shownBusy = isBusy();
      const { cordoned, drainsInMs } = await beat(services, worker, shownBusy);
      mayClaim = !cordoned;
      if (paused && mayClaim) resumed();
      await releaseLostClaims(services, worker, runner);
      if (drainsInMs === null) hasDrained = false;
      else if (drainsInMs <= 0 && !hasDrained) hasDrained = await drain(services, worker, runner);
      return drainsInMs !== null && drainsInMs > 0 ? Math.min(beatMs, drainsInMs) : beatMs;
    },
  });
  return {
    ...loop,
    mayClaim: () => mayClaim,
    showLoad: () => {
      if (isBusy() !== shownBusy) loop.wake();
    },
  };
}

async function findCancelled(services: Services, worker: Registration): Promise<string[]> {
  const found = await rows<{ id: string }>(
    services.db,
    sql`select id::text from attune.execution where status = 'canceling' and worker = ${worker.id}::bigint`,
  );
  return found.map(({ id }) => id);
}

/**
 * Returns to the queue what is this worker's according to the database but never began here: the answer to its claim was lost. An answer
 * that arrives later begins nothing.
 */
async function releaseLostClaims(services: Services, worker: Registration, runner: Runner): Promise<void> {
  const mine = sql`e.worker = ${worker.id}::bigint`;
  const lost = await runner.compare(() =>
    rows<HeldAttempt>(
      services.db,
      sql`select e.id::text, e.attempt, e.started_at < clock_timestamp() - make_interval(secs => ${beatMs / 1000}::int) as "isOld"
        from attune.execution e where ${statusIn(inProgress, "e.status")} and ${mine}`,
    ),
  );
  if (lost.length === 0) return;
  services.log.warn({ executions: lost.map(({ id }) => id) }, "claims whose answers were lost return to the queue");
  const these = sql`${mine} and e.id = ${anyOf(lost.map(({ id }) => id))} and (e.id, e.attempt) in (select r.id, r.attempt
    from jsonb_to_recordset(${JSON.stringify(lost)}::text::jsonb) as r(id bigint, attempt int))`;
  await write(services, (tx) => loseExecutions(tx, these, "the answer to its claim was lost", { began: false }));
}

/** Hands back what a worker still runs whose time to finish is over: it returns to the queue, as its actions define. Returns true. */
async function drain(services: Services, worker: Registration, runner: Runner): Promise<true> {
  await runner.letGo();
  await write(services, (tx) => loseExecutions(tx, sql`e.worker = ${worker.id}::bigint`, "the worker was drained"));
  return true;
}

/** Ends the worker: what it still runs returns to the queue, as its actions define. If that fails, the sweep finds that its process has ended. */
async function handBack(services: Services, worker: Registration): Promise<void> {
  try {
    const mine = sql`e.worker = ${worker.id}::bigint`;
    await write(services, (tx) => loseExecutions(tx, mine, "the worker stopped"));
    await signOff(services, worker);
  } catch (error) {
    services.log.error({ err: error }, "signing off");
  }
}
