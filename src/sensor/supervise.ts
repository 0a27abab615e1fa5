import type { Services } from "../db/services.ts";
import { write } from "../db/tx.ts";
import { startWokenLoop } from "../db/wake.ts";
import { endProcesses } from "../lib/action-processes.ts";
import { globalId } from "../lib/global-id.ts";
import { isAlive, thisHost } from "../lib/process-identity.ts";
import { createScratch } from "../lib/scratch.ts";
import { openEnvironments } from "../process/environments/environments.ts";
import { type FoundRuntime, findInterpreters } from "../process/interpreters.ts";
import { createPersistence, type Persist } from "../process/persist.ts";
import { createMask } from "../secrecy/mask.ts";
import { openSettings } from "../secrecy/settings.ts";
import { claimSensor, forgetFormer, type Lease, noteWaiting, releaseSensor, renewLeases } from "./lease.ts";
import { type RunningSensor, type SensorHost, startRun } from "./run.ts";
import { findSensors, fingerprintOf, type KnownSensor } from "./wanted.ts";

/** A runtime of sensors: that of actions whose environments it shares, and variables of its own. */
interface SensorRuntime {
  environment: string | null;
  variables: Readonly<Record<string, string>>;
}

const runtimes: ReadonlyMap<string, SensorRuntime> = new Map<string, SensorRuntime>([
  ["core.sensor.shell", { environment: null, variables: {} }],
  // Python keeps back what it writes to a pipe: unbuffered, an event is stored when it is written.
  ["core.sensor.python", { environment: "core.action.python", variables: { PYTHONUNBUFFERED: "1" } }],
  ["core.sensor.nodejs", { environment: "core.action.nodejs", variables: {} }],
]);

/** Fallback for missed wake-ups. */
const pollMs = 5000;
/** Returns after how long at the latest a process looks for sensors to run, which is how late a lost lease is found, in milliseconds. */
export const lookMs = (leaseMs: number): number => Math.min(pollMs, leaseMs / 4);
/** How long a sensor may take to end after SIGTERM, in milliseconds. */
const usualGraceMs = 30_000;
/** How much longer a stop waits for the database, in milliseconds. */
const patienceMs = 2000;
const defaultPath = "/usr/local/bin:/usr/bin:/bin";

/** The host of sensors, and how they are supervised. */
export interface SensorOptions {
  host: Pick<SensorHost, "apiUrl" | "base" | "releases" | "runAs"> & { buildBase: Readonly<Record<string, string>> };
  environmentsDir: string;
  /** How long a lease is valid without being renewed, in milliseconds. */
  leaseMs: number;
  graceMs?: number;
  backoffMs?: number;
  /** How long the end of the supervision waits for sensors to end, in milliseconds: then they are killed. By default as long as they may take. */
  stopMs?: number;
}

/** What this process runs, by the sensor's id. */
interface Running extends RunningSensor {
  fingerprint: string;
  /** Before the last renewal of its lease, of the monotonic clock. */
  renewedAt: number;
}

/** What is opened when the first sensor is started. */
interface Opened {
  host: SensorHost;
  found: readonly FoundRuntime[];
  close(): Promise<void>;
}

/** What the parts of the supervision share. */
interface Supervision {
  services: Services;
  leaseMs: number;
  running: Map<string, Running>;
  persist: Persist;
  open(): Promise<Opened>;
  /** Looks again soon. */
  wake(): void;
}

/**
 * Starts the supervision of sensors: each one that is wanted runs on exactly one of any number of processes, as long as that one renews its
 * lease, and is started again when it ends or when what it was started with changes.
 */
export function startSensors(services: Services, options: SensorOptions): AsyncDisposable {
  const { leaseMs, graceMs = usualGraceMs, stopMs = graceMs } = options;
  const running = new Map<string, Running>();
  const persistence = createPersistence(services.log, "the output of sensors waits for the database");
  let opening: Promise<Opened> | null = null;
  let isStopping = false;
  const open = () => {
    opening ??= openHost(services, options);
    return opening;
  };
  const all = { services, leaseMs, running, persist: persistence.persist, open, wake: () => loop.wake() };
  // Before the lease ends, the process is gone: another host cannot end it.
  const watch = setInterval(
    () => {
      const late = [...running.values()].filter(({ renewedAt }) => performance.now() - renewedAt > leaseMs * 0.75);
      for (const each of late) each.kill("Its lease could not be renewed in time: it is ended.");
    },
    Math.min(500, leaseMs / 8),
  );
  const loop = startWokenLoop(services.wake, "sensor", {
    pass: async () => {
      await renew(all);
      return isStopping ? leaseMs / 4 : await supervise(all);
    },
    failed: (error) => services.log.error({ err: error }, "sensors"),
  });
  const unsubscribe = services.wake.on("environment", loop.wake);
  const endAll = async () => {
    for (const each of running.values()) each.stop();
    await Promise.all([...running.values()].map(({ ended }) => ended));
  };
  return {
    [Symbol.asyncDispose]: async () => {
      isStopping = true;
      unsubscribe();
      // Without the database the ends of sensors cannot be stored; other processes find that this one has ended.
      const giveUp = setTimeout(persistence.stop, stopMs + patienceMs);
      const killing = setTimeout(() => killAll(running, "It has not ended in time: it is killed."), stopMs);
      await endAll();
      await loop[Symbol.asyncDispose]();
      await endAll(); // the pass that was under way may have started one
      clearTimeout(giveUp);
      clearTimeout(killing);
      clearInterval(watch);
      await (await opening)?.close();
    },
  };
}

function killAll(running: ReadonlyMap<string, Running>, reason: string): void {
  for (const each of running.values()) each.kill(reason);
}

/** Extends the leases of what runs here. What another process has taken is ended at once, and what was deleted in order. */
async function renew({ services, leaseMs, running }: Supervision): Promise<void> {
  if (running.size === 0) return;
  const before = performance.now();
  const mine = [...running.values()];
  const leases = mine.map(({ claim: { sensor, generation } }) => ({ sensor, generation }));
  const { kept, gone } = await write(services, (tx) => renewLeases(tx, leases, leaseMs));
  for (const each of mine) {
    if (kept.has(each.claim.sensor)) each.renewedAt = before;
    else if (gone.has(each.claim.sensor)) each.stop();
    else each.kill();
  }
}

/** Stops what is not to run as it does, and starts what may be started. Returns the milliseconds after which it is to be called again. */
async function supervise(all: Supervision): Promise<number> {
  const { services, running, leaseMs } = all;
  const known = await findSensors(services.db);
  stopUnwanted(services, running, known);
  for (const each of running.values()) {
    if (await each.isOutdated()) each.stop("Its environment was built anew: it is started again in that.");
  }
  const free = known.filter((each) => !running.has(each.id) && isFree(each));
  for (const each of free) if (!each.isWanted && each.owner !== null) await retire(all, each);
  const startable = free.filter(({ isWanted }) => isWanted);
  const due = startable.filter((each) => isDue(services, each));
  const { found } = due.length > 0 ? await all.open() : { found: [] };
  const missing = due.filter(({ runtimeRef }) => !found.some(({ ref }) => ref === runtimeRef));
  await note(services, { unwanted: known.filter((each) => !each.isWanted && each.isWaiting), missing });
  for (const each of due) if (!missing.includes(each)) await start(all, each);
  const next = startable.flatMap(({ dueInMs }) => (dueInMs === null ? [] : [Math.max(1, Math.ceil(dueInMs))]));
  return Math.min(lookMs(leaseMs), ...next);
}

/** Takes the lease of a sensor and starts it; does nothing when another process was faster. */
async function start(
  { services, leaseMs, running, persist, open, wake }: Supervision,
  sensor: KnownSensor,
): Promise<void> {
  const { host, found } = await open();
  const { values, secrets } = openSettings(services.keyring, sensor);
  const fingerprint = fingerprintOf(sensor, values);
  const runtime = runtimes.get(sensor.runtimeRef);
  const command = found.find(({ ref }) => ref === sensor.runtimeRef)?.command ?? null;
  if (runtime === undefined || command === null) return;
  const renewedAt = performance.now();
  const taking = { leaseMs, fingerprint, isOwnerDead: isDead(sensor) };
  const claim = await write(services, (tx) => claimSensor(tx, leaseOf(sensor), taking));
  if (claim === null) return;
  const interpreter = { ...runtime, command };
  const run = startRun(services, host, persist, {
    sensor,
    claim,
    settings: values,
    mask: createMask(secrets),
    interpreter,
  });
  running.set(sensor.id, { ...run, fingerprint, renewedAt });
  void run.ended.then(() => {
    running.delete(sensor.id);
    wake();
  });
}

/** Ends what a lost process left of a sensor that is not wanted any longer. */
async function retire({ services, leaseMs }: Supervision, sensor: KnownSensor): Promise<void> {
  const taking = { leaseMs, fingerprint: sensor.fingerprint ?? "", isOwnerDead: isDead(sensor) };
  const claim = await write(services, (tx) => claimSensor(tx, leaseOf(sensor), taking));
  if (claim === null) return;
  const id = globalId("Sensor", sensor.id);
  if (!(await endProcesses(claim.former.map((process) => ({ process, id }))))) {
    services.log.warn({ sensor: sensor.ref }, "processes of a sensor could not be ended");
  }
  await write(services, async (tx) => {
    await forgetFormer(tx, claim);
    await releaseSensor(tx, claim, { kind: "stopped" });
  });
}

const leaseOf = ({ id, generation }: KnownSensor): Lease => ({ sensor: id, generation });

/** Whether the owner of the lease is a process of this host that has ended. */
const isDead = ({ owner }: KnownSensor): boolean => owner !== null && owner.host === thisHost() && !isAlive(owner);

const isFree = (sensor: KnownSensor): boolean => sensor.owner === null || sensor.isExpired || isDead(sensor);

/** Whether it may be started now: its delay is over, or it would be started otherwise than before. */
function isDue({ keyring }: Services, sensor: KnownSensor): boolean {
  if (sensor.dueInMs === null || sensor.dueInMs <= 0) return true;
  return fingerprintOf(sensor, openSettings(keyring, sensor).values) !== sensor.fingerprint;
}

/** Stops what is not wanted any longer, and what would be started otherwise now. */
function stopUnwanted(
  { keyring }: Services,
  running: ReadonlyMap<string, Running>,
  known: readonly KnownSensor[],
): void {
  for (const [id, each] of running) {
    const now = known.find((sensor) => sensor.id === id);
    const isSame = now?.isWanted && fingerprintOf(now, openSettings(keyring, now).values) === each.fingerprint;
    if (!isSame) each.stop();
  }
}

async function note(
  services: Services,
  { unwanted, missing }: { unwanted: readonly KnownSensor[]; missing: readonly KnownSensor[] },
): Promise<void> {
  if (unwanted.length + missing.length === 0) return;
  const noted = {
    unwanted: unwanted.map(({ id }) => id),
    missing: missing.map(({ id, runtimeRef }) => ({
      sensor: id,
      error: runtimes.has(runtimeRef)
        ? `No host of sensors has the interpreter of ${runtimeRef}.`
        : `This version runs no sensors in ${runtimeRef}.`,
    })),
  };
  await write(services, (tx) => noteWaiting(tx, noted));
}

async function openHost(services: Services, options: SensorOptions): Promise<Opened> {
  const { base, buildBase, runAs, releases } = options.host;
  const wanted = new Set(runtimes.keys());
  const found = await findInterpreters(services, wanted, { path: base["PATH"] ?? defaultPath });
  const scratch = createScratch();
  const environments = openEnvironments(services, {
    ...{ directory: options.environmentsDir, worker: null, releases, host: { base, buildBase, runAs } },
    runtimes: found.flatMap((each) => {
      const ref = runtimes.get(each.ref)?.environment ?? null;
      return ref === null ? [] : [{ ...each, ref }];
    }),
  });
  const { graceMs = usualGraceMs, backoffMs = 1000 } = options;
  return {
    found,
    host: { ...options.host, environments, scratch: scratch.directory, graceMs, backoffMs },
    close: async () => {
      await environments[Symbol.asyncDispose]();
      scratch.remove();
    },
  };
}
