import { chmodSync, existsSync, mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { finished } from "node:stream/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { createSensorToken } from "../access/sensor-token.ts";
import type { Services } from "../db/services.ts";
import { write } from "../db/tx.ts";
import { endProcesses } from "../lib/action-processes.ts";
import { globalId } from "../lib/global-id.ts";
import type { JsonObject } from "../lib/json.ts";
import { thisProcess } from "../lib/process-identity.ts";
import { EnvironmentError, type Environments, type Wanted } from "../process/environments/environments.ts";
import { type Setting, variablesIn } from "../process/environments/recipe.ts";
import { endGroup, signalGroup } from "../process/group.ts";
import type { Persist } from "../process/persist.ts";
import { createSecretFiles, giveTo } from "../process/secret-files.ts";
import { type ProcessSpec, type RunAs, type Started, startCold, startMessage } from "../process/start.ts";
import type { Mask } from "../secrecy/mask.ts";
import { countFailure, delayAfter } from "./backoff.ts";
import { type Claim, type End, forgetFormer, markRunning, markStopping, releaseSensor } from "./lease.ts";
import { createLogger, type Logger } from "./logger.ts";
import { createSink } from "./sink.ts";
import { sensorVariables } from "./variables.ts";
import type { KnownSensor } from "./wanted.ts";

/** The host of sensors. */
export interface SensorHost {
  base: Readonly<Record<string, string>>;
  apiUrl: string;
  runAs: RunAs | null;
  /** The directories of releases on this host by digest, where they differ from those that they were loaded from. */
  releases: ReadonlyMap<string, string>;
  scratch: string;
  environments: Pick<Environments, "enter" | "refresh">;
  /** How long a sensor may take to end after SIGTERM, in milliseconds. */
  graceMs: number;
  /** The first delay before a sensor is started again, in milliseconds. */
  backoffMs: number;
}

/** A sensor to run: its row, its settings with their secrets, and the runtime on this host. */
export interface SensorRun {
  sensor: KnownSensor;
  claim: Claim;
  settings: JsonObject;
  mask: Mask | null;
  interpreter: { command: string; environment: string | null; variables: Readonly<Record<string, string>> };
}

/** A sensor that this process runs. */
export interface RunningSensor {
  claim: Claim;
  /** Ends it in order, for the reason in its log; it may be started again. */
  stop(reason?: string): void;
  /** Whether its environment was built anew since it was started. */
  isOutdated(): Promise<boolean>;
  /** Ends it at once, for the reason in its log: its lease is lost, or about to end. */
  kill(reason?: string): void;
  /** Resolves when nothing of it is left and its end is stored. */
  ended: Promise<void>;
}

/** What stops a run. */
interface Stop {
  signal: AbortSignal;
  /** Is set while it has a process. */
  child: Started | null;
  killAt: number | null;
  isKilled: boolean;
  /** The environment that it runs in; null: none, or none yet. */
  environment: { wanted: Wanted; path: string } | null;
}

/** The reason why a sensor could not be started. */
class NotStarted extends Error {}

/** Starts a claimed sensor. Whatever it causes is stored only while its lease is valid; its end gives the lease back. */
export function startRun(services: Services, host: SensorHost, persist: Persist, run: SensorRun): RunningSensor {
  const aborting = new AbortController();
  const stop: Stop = { signal: aborting.signal, child: null, killAt: null, isKilled: false, environment: null };
  const { claim, mask } = run;
  const log = createLogger(services, { lease: claim, seq: claim.logSeq, mask, persist });
  const kill = (reason?: string) => {
    if (reason !== undefined && !stop.isKilled) log.report(reason);
    stop.isKilled = true;
    aborting.abort();
    if (stop.child !== null) signalGroup(stop.child.pid, "SIGKILL");
    stop.killAt = performance.now();
  };
  const finish = async () => {
    const started = performance.now();
    const error = await runOnce(services, host, { ...run, persist, log, stop, kill }).catch((thrown: unknown) => {
      if (!(thrown instanceof NotStarted))
        services.log.error({ err: thrown, sensor: run.sensor.ref }, "running a sensor");
      return thrown instanceof Error ? thrown.message : String(thrown);
    });
    const end = endOf(claim, host, { error: stop.signal.aborted ? null : error, ranMs: performance.now() - started });
    if (end.kind === "failed") log.report(`${error} It is started again in ${end.delayMs / 1000} s.`);
    await log.end();
    await persist(() => write(services, (tx) => releaseSensor(tx, claim, end)));
  };
  return {
    claim,
    kill,
    isOutdated: async () => {
      if (stop.environment === null || stop.child === null) return false;
      const { wanted, path } = stop.environment;
      const now = await host.environments.refresh(wanted);
      return now !== null && now !== path;
    },
    stop: (reason) => {
      if (stop.signal.aborted) return;
      if (reason !== undefined) log.report(reason);
      aborting.abort();
      stop.killAt = performance.now() + host.graceMs;
      if (stop.child === null) return;
      log.report("It is stopped: SIGTERM was sent to its process group.");
      signalGroup(stop.child.pid, "SIGTERM");
      persist(() => write(services, (tx) => markStopping(tx, claim))).catch(() => {});
      const { child } = stop;
      setTimeout(() => {
        if (stop.child === child) signalGroup(child.pid, "SIGKILL");
      }, host.graceMs).unref();
    },
    ended: finish().catch((error: unknown) => {
      services.log.error({ err: error, sensor: run.sensor.ref }, "storing the end of a sensor");
    }),
  };
}

function endOf(claim: Claim, host: SensorHost, { error, ranMs }: { error: string | null; ranMs: number }): End {
  if (error === null) return { kind: "stopped" };
  const failures = countFailure(claim.failures, ranMs);
  return { kind: "failed", error, failures, delayMs: delayAfter(failures, host.backoffMs) };
}

type Parts = SensorRun & { persist: Persist; log: Logger; stop: Stop; kill(): void };

/** Runs a sensor to the end of its process. Resolves with why it ended. */
async function runOnce(services: Services, host: SensorHost, parts: Parts): Promise<string> {
  const { sensor, claim, persist, stop } = parts;
  await endFormer(services, parts);
  const setting = await settingOf(host, parts);
  const scratch = createScratchOf(host);
  const files = createSecretFiles(scratch, host.runAs, host.runAs === null ? "own" : "user");
  try {
    const token = await persist(() => write(services, (tx) => createSensorToken(tx, sensor.id)));
    if (token === null) throw new NotStarted("The sensor was deleted.");
    const spec = specOf(host, parts, {
      setting,
      scratch,
      tokenFile: files.write("token", token),
      parameterFile: files.write("parameters", `${JSON.stringify(parts.settings)}\n`),
      triggersFile: files.write("triggers", `${JSON.stringify(sensor.rules)}\n`),
    });
    stop.signal.throwIfAborted();
    const child = await startCold(spec).catch((error: unknown) => {
      throw new NotStarted(startMessage(spec, error));
    });
    stop.child = child;
    if (stop.killAt !== null) signalGroup(child.pid, "SIGKILL"); // it was to be stopped while it was started
    parts.log.report(`Started as process ${child.pid}.`);
    return await follow(services, parts, child);
  } finally {
    stop.child = null;
    files.close();
    rmSync(scratch, { recursive: true, force: true });
  }

  async function follow(of: Services, { log, kill, mask }: Parts, child: Started): Promise<string> {
    const sink = createSink(of, {
      lease: claim,
      ref: sensor.ref,
      mask,
      persist,
      log,
      stopping: stop.signal,
      lost: kill,
    });
    const reading = Promise.allSettled([sink.follow(child.stdout), log.follow(child.stderr)]);
    const running = persist(() => write(of, (tx) => markRunning(tx, claim, child.pid)));
    running.then((isOwn) => isOwn || kill()).catch(() => {});
    const { exitCode, signalName } = await child.exited;
    await endGroup(child.pid, { killAt: stop.killAt, report: log.report });
    // What has left its group too: a next run must not run beside it.
    await endProcesses([{ process: thisProcess(), id: globalId("Sensor", sensor.id) }]);
    await endReading(child, reading, sink.isStoring);
    await running.catch(() => {});
    const how = exitCode === null ? `was ended by ${signalName}` : `exited with code ${exitCode}`;
    const tail = log.tail();
    return `The sensor ${how}.${tail === "" ? "" : ` The end of its stderr: ${tail}`}`;
  }
}

/** Ends what processes of the server that ran the sensor before left on this host. Throws when something of it stays: never are there two. */
async function endFormer(services: Services, { sensor, claim, persist }: Parts): Promise<void> {
  const id = globalId("Sensor", sensor.id);
  if (!(await endProcesses(claim.former.map((process) => ({ process, id }))))) {
    throw new NotStarted("Processes of an earlier run could not be ended.");
  }
  await persist(() => write(services, (tx) => forgetFormer(tx, claim)));
}

async function settingOf({ releases, environments }: SensorHost, parts: Parts): Promise<Setting> {
  const { sensor, interpreter, stop, log } = parts;
  const { release, packRef, entrypoint } = sensor;
  if (release === null) {
    throw new NotStarted(`The pack "${packRef}" has no files, so that there is no "${entrypoint}" to run.`);
  }
  const directory = releases.get(release.digest) ?? release.path;
  if (!existsSync(join(directory, entrypoint))) {
    throw new NotStarted(`There is no file "${entrypoint}" in the pack "${packRef}" on this host.`);
  }
  const { command, environment, variables } = interpreter;
  const checksum = environment === null ? undefined : release.environments[environment];
  if (environment === null || checksum === undefined) {
    return { command, directory, variables, programs: null, links: {} };
  }
  const wanted = {
    ...{ packRef: packRef ?? "", runtimeRef: environment, checksum },
    release: { digest: release.digest, path: directory },
  };
  const wait = async () => log.report(`Waiting for the environment of the pack "${packRef}".`);
  await environments.refresh(wanted); // what was built anew while it did not run
  const setting = await environments.enter(wanted, { signal: stop.signal, wait }).catch((error: unknown) => {
    throw error instanceof EnvironmentError ? new NotStarted(error.message) : error;
  });
  stop.environment = { wanted, path: setting.environment };
  return { ...setting, variables: { ...variables, ...setting.variables } };
}

function createScratchOf({ scratch, runAs }: SensorHost): string {
  if (runAs !== null) chmodSync(scratch, 0o711);
  const directory = mkdtempSync(join(scratch, "sensor-"));
  giveTo(directory, runAs);
  return directory;
}

function specOf(
  host: SensorHost,
  { sensor, stop }: Parts,
  {
    setting,
    scratch,
    ...files
  }: { setting: Setting; scratch: string; tokenFile: string; parameterFile: string; triggersFile: string },
): ProcessSpec {
  return {
    command: setting.command,
    args: [join(setting.directory, sensor.entrypoint)],
    cwd: setting.directory,
    env: { ...sensorVariables(sensor, host, { scratch, ...files }), ...variablesIn([setting], host.base) },
    runAs: host.runAs,
    stdin: null,
    timeoutMs: 0,
    graceMs: host.graceMs,
    signal: stop.signal,
  };
}

/**
 * Waits until everything that the process wrote is stored. A process that has left its group may hold the pipes open: they are closed when
 * they have brought nothing for a second.
 */
async function endReading(child: Started, reading: Promise<unknown>, isStoring: () => boolean): Promise<void> {
  const pipes = [child.stdout, child.stderr];
  let quiet = 0;
  let received = -1;
  const done = reading.then(() => true);
  while (!(await Promise.race([done, sleep(50, false)]))) {
    const now = pipes.reduce((sum, pipe) => sum + bytesRead(pipe), 0);
    quiet = now === received && !isStoring() ? quiet + 1 : 0;
    received = now;
    if (quiet < 20) continue;
    for (const pipe of pipes) pipe.destroy();
    await Promise.allSettled(pipes.map((pipe) => finished(pipe)));
    await reading;
    return;
  }
}

const bytesRead = (pipe: unknown): number =>
  typeof pipe === "object" && pipe !== null && "bytesRead" in pipe ? Number(pipe.bytesRead) : 0;
