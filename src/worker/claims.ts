import { sql } from "drizzle-orm";
import { createExecutionToken } from "../access/execution-token.ts";
import { anyOf, rows } from "../db/client.ts";
import type { Services } from "../db/services.ts";
import { write } from "../db/tx.ts";
import { ConflictError } from "../errors.ts";
import { type Claim, claimExecutions } from "../execution/claim.ts";
import { loseExecutions } from "../execution/lose.ts";
import { inProgress, statusIn } from "../execution/states.ts";
import { faultPoint } from "../lib/fault.ts";
import { type Loop, startLoop } from "../lib/loop.ts";
import { createPace } from "../lib/pace.ts";
import { createScratch, removeLeftScratch } from "../lib/scratch.ts";
import type { BuildHost } from "./environments/build.ts";
import { startEnvironments } from "./environments/environments.ts";
import { beat, type FoundRuntime, type Registration, registerWorker, signOff } from "./registry.ts";
import { createRunner, type HeldAttempt, type Runner } from "./runner.ts";
import type { HostEnvironment } from "./runtimes/runtime.ts";
import { runtimes as knownRuntimes } from "./runtimes/table.ts";

/** How many actions that need no process may run at once: many can wait for their responses together. */
const sharedSlots = 200;
const claimSize = 100;
const beatMs = 10_000;
/** Short actions may take and free the last slot many times a second. */
const statusPace = { everyMs: 500, burst: 4 };
/** Fallback for wake-ups that a killed process did not send. */
const pollMs = 2000;

/** The runtimes, slots and host of a worker. */
export interface WorkerOptions {
  runtimes: readonly FoundRuntime[];
  /** How many processes may run at once. */
  slots: number;
  host: Omit<HostEnvironment, "environments" | "interpreters" | "issueToken" | "scratch"> &
    Pick<BuildHost, "buildBase">;
  /** The directory of the environments of packs. */
  environmentsDir: string;
  /** How long stopping waits for running executions, in milliseconds; the remaining ones are handed back. */
  stopMs: number;
}

/** Registers and starts a worker: it sends heartbeats, claims executions for its free slots, runs them and reports the outcomes. */
export async function startClaims(services: Services, options: WorkerOptions): Promise<AsyncDisposable> {
  await removeLeftScratch();
  const scratch = createScratch();
  const registration = await registerWorker(services, { runtimes: options.runtimes, slots: options.slots, labels: {} });
  const failed = (error: unknown) => services.log.error({ err: error }, "worker");
  const interpreters = new Map(options.runtimes.map(({ ref, command }) => [ref, command ?? ""]));
  const pools: Pool[] = [];
  const issueToken = (claim: Claim) => write(services, (tx) => createExecutionToken(tx, claim));
  const environments = startEnvironments(services, {
    ...{ directory: options.environmentsDir, worker: registration, runtimes: options.runtimes },
    ...{ releases: options.host.releases, host: options.host },
  });
  const host = { ...options.host, interpreters, issueToken, environments, scratch: scratch.directory };
  const runner = createRunner(services, host, () => {
    for (const { due, loop } of pools) if (due.size > 0) loop.wake();
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
  const start = (runtimes: string[], slots: number) => {
    const due = new Set(runtimes);
    const pass = async () => {
      if (due.size === 0) for (const ref of runtimes) due.add(ref);
      if (!mayClaim()) return pollMs;
      const isMore = await claimDue(services, runner, { runtimes, slots, due, registration });
      heartbeat.showLoad();
      return isMore ? 0 : pollMs;
    };
    pools.push({ runtimes, due, loop: startLoop({ failed, pass }) });
  };
  start(shared, sharedSlots);
  start(processes, options.slots);
  const cancels = startLoop({
    failed,
    pass: async () => {
      if (runner.count(refs) > 0) for (const id of await findCancelled(services, registration)) runner.cancel(id);
      return beatMs;
    },
  });
  const unsubscribe = [
    services.wake.on("cancel", () => cancels.wake()),
    services.wake.on("worker", heartbeat.wake),
    ...pools.flatMap(({ due, loop, runtimes }) =>
      runtimes.map((ref) =>
        services.wake.on(`execution:${ref}`, () => {
          due.add(ref);
          loop.wake();
        }),
      ),
    ),
  ];
  return {
    [Symbol.asyncDispose]: async () => {
      for (const each of unsubscribe) each();
      await Promise.all(pools.map(({ loop }) => loop[Symbol.asyncDispose]()));
      await runner.drain(options.stopMs);
      await environments[Symbol.asyncDispose]();
      await Promise.all([heartbeat[Symbol.asyncDispose](), cancels[Symbol.asyncDispose]()]);
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
  for (const { loop } of pools) loop.wake();
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
  let shownBusy = false;
  const loop = startLoop({
    failed,
    pass: async () => {
      await turn();
      const paused = !mayClaim;
      shownBusy = isBusy();
      mayClaim = await beat(services, worker, shownBusy);
      if (paused && mayClaim) resumed();
      await releaseLostClaims(services, worker, runner);
      return beatMs;
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

/** Runtimes that share slots. `due`: those whose queues may have jobs. */
interface Pool {
  runtimes: readonly string[];
  due: Set<string>;
  loop: Loop;
}

/** Claims executions for the free slots from the queues that are due. Returns whether there may be more that can be claimed now. */
async function claimDue(
  services: Services,
  runner: Runner,
  { runtimes, slots, due, registration }: Omit<Pool, "loop"> & { slots: number; registration: Registration },
): Promise<boolean> {
  for (const runtimeRef of [...due]) {
    const limit = Math.min(claimSize, slots - runner.count(runtimes));
    if (limit <= 0) return false; // the next free slot wakes the pool, which is still due
    due.delete(runtimeRef);
    const claimed = await claim(services, registration, { runtimeRef, limit });
    if (claimed === null || claimed.jobs === limit) due.add(runtimeRef);
    if (claimed === null) return false; // the heartbeat finds out when the worker may claim again
    const { claims } = claimed;
    if (claims.length > 0) faultPoint("claim.after_commit");
    for (const each of claims) runner.begin(each);
  }
  return due.size > 0;
}

/** Returns null when the worker was cordoned after its last heartbeat. */
async function claim(services: Services, registration: Registration, from: { runtimeRef: string; limit: number }) {
  try {
    return await write(services, (tx) => claimExecutions(tx, registration, from));
  } catch (error) {
    if (error instanceof ConflictError) return null;
    throw error;
  }
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
