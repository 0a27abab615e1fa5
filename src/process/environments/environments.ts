import { mkdirSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { isFinal } from "../../db/final.ts";
import type { Services } from "../../db/services.ts";
import { write } from "../../db/tx.ts";
import { endLeftProcesses } from "../../lib/action-processes.ts";
import { globalId } from "../../lib/global-id.ts";
import { startLoop } from "../../lib/loop.ts";
import type { FoundRuntime } from "../interpreters.ts";
import { type BuildHost, buildEnvironment, createBuildLog, isComplete } from "./build.ts";
import { findWanted, removeUnused } from "./care.ts";
import { type Recipe, recipes, type Setting } from "./recipe.ts";
import {
  abandonBuild,
  type Build,
  claimBuild,
  type Environment,
  endBuild,
  findEnvironment,
  type Key,
  renewBuild,
  useAgain,
} from "./rows.ts";
import { openStore } from "./store.ts";
import { nextWake, orAborted } from "./waits.ts";

const renewMs = 10_000;
/** How often the log of a build is stored while it grows. */
const logMs = 1000;
const careMs = 60_000;
/** How long a search may take before the execution says that it waits. */
const promptMs = 500;
/** How much of a failed build's log the execution's error quotes. */
const quoted = 2000;

/** The reason why there is no environment. */
export class EnvironmentError extends Error {}

/** A release whose actions need an environment. */
export interface Wanted {
  packRef: string;
  runtimeRef: string;
  release: { digest: string /** Its directory on this host. */; path: string };
  /** The checksum of the files that define the environment. */
  checksum: string;
}

/** The environments of the packs on this host. */
export interface Environments extends AsyncDisposable {
  /**
   * Returns how to start an action of the release in its environment, which is built first if it is missing: by this worker, or another one.
   * `wait` is called when that takes long. Throws EnvironmentError when it cannot be built, and the signal's reason when that is aborted.
   */
  enter(wanted: Wanted, options: { signal: AbortSignal; wait(): Promise<void> }): Promise<Entered>;
  /**
   * Returns the path of the environment that an action would enter now; null while it is not ready. One that is to be built anew is built meanwhile,
   * whereas `enter` goes on with the former one, as long as its directory is there.
   */
  refresh(wanted: Wanted): Promise<string | null>;
}

/** How to start an action, and the environment that it is in. */
export interface Entered extends Setting {
  /** The path of the environment. */
  environment: string;
}

/** The host of the environments. */
export interface EnvironmentsOptions {
  /** The directory that holds them; it is created if it is missing. */
  directory: string;
  /** The id of the worker that builds; null: a process that is none. */
  worker: string | null;
  runtimes: readonly FoundRuntime[];
  /** The directories of releases on this host by digest, where they differ from those that they were loaded from. */
  releases: ReadonlyMap<string, string>;
  host: BuildHost;
}

/** Starts the care of environments: what active releases need is built at once, and what nothing needs any longer is removed. */
export function startEnvironments(services: Services, options: EnvironmentsOptions): Environments {
  const stopping = new AbortController();
  const builder = createBuilder(services, options, stopping.signal);
  const loop = startLoop({
    failed: (error) => services.log.error({ err: error }, "environments"),
    pass: async () => {
      const store = openStore(options.directory, { create: false });
      for (const wanted of await findWanted(services.db, { ...options, store })) {
        if (stopping.signal.aborted) break;
        // Its failure is in its row, and fails the executions that need it.
        await builder.find(wanted).catch((error: unknown) => {
          if (!(error instanceof EnvironmentError)) throw error;
          services.log.warn({ pack: wanted.packRef, runtime: wanted.runtimeRef }, error.message);
        });
      }
      if (store !== null) await removeUnused(services, { directory: options.directory, store });
      return careMs;
    },
  });
  const unsubscribe = services.wake.on("environment", loop.wake);
  return {
    enter: createEnter(builder),
    refresh: builder.refresh,
    [Symbol.asyncDispose]: async () => {
      unsubscribe();
      stopping.abort(new Error("the worker is stopping"));
      await Promise.all([loop[Symbol.asyncDispose](), builder.ended()]);
    },
  };
}

/** Opens the environments of a host for a process that only enters them, and builds those that it misses. */
export function openEnvironments(services: Services, options: EnvironmentsOptions): Environments {
  const stopping = new AbortController();
  const builder = createBuilder(services, options, stopping.signal);
  return {
    enter: createEnter(builder),
    refresh: builder.refresh,
    [Symbol.asyncDispose]: async () => {
      stopping.abort(new Error("the process is stopping"));
      await builder.ended();
    },
  };
}

function createEnter(builder: Builder): Environments["enter"] {
  const find = async (wanted: Wanted, { signal, wait }: { signal: AbortSignal; wait(): Promise<void> }) => {
    const searching = orAborted(builder.find(wanted), signal);
    const first = await Promise.race([searching, sleep(promptMs, null)]);
    if (first !== null) return first;
    await wait();
    return await searching;
  };
  return async (wanted, waiting) => {
    const path = builder.known(wanted) ?? (await find(wanted, waiting));
    const site = { interpreter: builder.interpreter(wanted).command, release: wanted.release.path, path };
    return { ...(await recipeOf(wanted).enter(site, wanted.release.digest)), environment: path };
  };
}

/** Finds and builds environments. */
interface Builder {
  /** Returns the path of an environment that was found before, if it is still there. */
  known(wanted: Wanted): string | null;
  /** Returns the path of the environment when it is ready. Callers with the same needs share one search. */
  find(wanted: Wanted): Promise<string>;
  interpreter(wanted: Wanted): { command: string; version: string };
  /** Returns the path of the environment if it is ready, and remembers it; begins to build what is to be built anew. */
  refresh(wanted: Wanted): Promise<string | null>;
  /** Resolves when no search runs. */
  ended(): Promise<void>;
}

function createBuilder(services: Services, options: EnvironmentsOptions, stopping: AbortSignal): Builder {
  const found = new Map<string, string>();
  const searches = new Map<string, Promise<string>>();
  const nameOf = ({ packRef, runtimeRef, checksum }: Wanted) => `${packRef}/${runtimeRef}/${checksum}`;
  const interpreter: Builder["interpreter"] = ({ packRef, runtimeRef }) => {
    const here = options.runtimes.find(({ ref }) => ref === runtimeRef);
    if (!here?.command) throw new EnvironmentError(`This worker has no ${runtimeRef} for the pack "${packRef}".`);
    return { command: here.command, version: here.version ?? "" };
  };
  const keyOf = (wanted: Wanted, { create }: { create: boolean }): Key => {
    const store = openStore(options.directory, { create }) ?? "";
    const { packRef, runtimeRef, checksum } = wanted;
    return { packRef, runtimeRef, checksum, interpreter: interpreter(wanted).version, store };
  };
  const search = async (wanted: Wanted): Promise<string> => {
    const key = keyOf(wanted, { create: true });
    const path = await findPath(services, key, {
      stopping,
      claim: (missing) => {
        const { worker, directory } = options;
        return write(services, (tx) => claimBuild(tx, key, { worker, directory, missing }));
      },
      build: (build) => perform(services, options, { build, wanted, command: interpreter(wanted).command, stopping }),
    });
    found.set(nameOf(wanted), path);
    return path;
  };
  const find = (wanted: Wanted): Promise<string> => {
    const name = nameOf(wanted);
    const running = searches.get(name) ?? search(wanted).finally(() => searches.delete(name));
    searches.set(name, running);
    return running;
  };
  return {
    interpreter,
    refresh: async (wanted) => {
      const stored = await findEnvironment(services.db, keyOf(wanted, { create: false }));
      if (stored?.status === "pending") {
        find(wanted).catch((error: unknown) => {
          if (!stopping.aborted)
            services.log.warn({ err: error, pack: wanted.packRef }, "building an environment anew");
        });
      }
      if (stored?.status !== "ready" || !isComplete(stored.path)) return null;
      found.set(nameOf(wanted), stored.path);
      return stored.path;
    },
    known: (wanted) => {
      const path = found.get(nameOf(wanted));
      return path !== undefined && isComplete(path) ? path : null;
    },
    find,
    ended: async () => void (await Promise.allSettled(searches.values())),
  };
}

interface Search {
  stopping: AbortSignal;
  claim(missing: string | null): Promise<Build | null>;
  build(build: Build): Promise<void>;
}

/** Returns the path of the environment: builds it, or waits until it is built. The database may be away meanwhile. */
async function findPath(services: Services, key: Key, { stopping, claim, build }: Search): Promise<string> {
  for (;;) {
    stopping.throwIfAborted();
    const woken = nextWake(services, stopping);
    try {
      const stored = await findEnvironment(services.db, key);
      if (stored !== null && (await isUsable(services, stored))) return stored.path;
      if (stored?.status === "failed" && !stored.isDue) throw failed(key, stored);
      const isMissing = stored?.status === "ready" || stored?.status === "outdated";
      const own = await claim(isMissing ? stored.path : null);
      if (own !== null) {
        await build(own);
        continue;
      }
      if (stored === null) await requireKey(services, key);
    } catch (error) {
      if (error instanceof EnvironmentError || isFinal(error)) throw error;
      services.log.warn({ err: error, pack: key.packRef }, "looking for an environment: trying again");
    }
    await woken();
  }
}

/** Returns whether actions may run in the environment; an outdated one is kept for those that come now. */
async function isUsable(services: Services, { id, path, status }: Environment): Promise<boolean> {
  if (!isComplete(path)) return false;
  return status === "ready" || (status === "outdated" && (await write(services, (tx) => useAgain(tx, id))));
}

/** Throws EnvironmentError when the pack or the runtime has been deleted: then nothing can be claimed. */
async function requireKey({ db }: Services, key: Key): Promise<void> {
  if ((await findEnvironment(db, key)) !== null) return;
  throw new EnvironmentError(`The pack "${key.packRef}" or the runtime ${key.runtimeRef} no longer exists.`);
}

function failed({ packRef, runtimeRef }: Key, { error, log }: { error: string | null; log: string | null }) {
  const end = (log ?? "").slice(-quoted);
  return new EnvironmentError(
    `The environment of the pack "${packRef}" for ${runtimeRef} could not be built: ${error} The end of its log:\n${end}`,
  );
}

/** Performs a claimed build and stores its end; one that is no longer this worker's is stopped. */
async function perform(
  services: Services,
  { host, directory }: EnvironmentsOptions,
  { build, wanted, command, stopping }: { build: Build; wanted: Wanted; command: string; stopping: AbortSignal },
): Promise<void> {
  const recipe = recipeOf(wanted);
  const [lost, log] = [new AbortController(), createBuildLog()];
  let stored = "";
  let renewedAt = performance.now();
  const renewal = startLoop({
    failed: (error) => services.log.error({ err: error }, "renewing the build of an environment"),
    pass: async () => {
      const text = log.text();
      if (text !== stored || performance.now() - renewedAt >= renewMs) {
        if (!(await write(services, (tx) => renewBuild(tx, build, text)))) lost.abort();
        stored = text;
        renewedAt = performance.now();
      }
      return logMs;
    },
  });
  services.log.info({ pack: wanted.packRef, runtime: wanted.runtimeRef, path: build.path }, "building an environment");
  const owner = globalId("PackEnvironment", build.id);
  await endLeftProcesses(owner);
  mkdirSync(directory, { recursive: true, mode: 0o755 });
  const site = { interpreter: command, release: wanted.release.path, path: build.path };
  const watched = { log, signal: AbortSignal.any([stopping, lost.signal]) };
  const error = await buildEnvironment({ owner, recipe, site }, host, watched);
  await renewal[Symbol.asyncDispose]();
  if (lost.signal.aborted) return;
  await write(services, (tx) =>
    stopping.aborted && error !== null ? abandonBuild(tx, build) : endBuild(tx, build, log.text(), error),
  );
}

function recipeOf({ runtimeRef }: Wanted): Recipe {
  const recipe = recipes.get(runtimeRef);
  if (!recipe) throw new EnvironmentError(`This version builds no environments for ${runtimeRef}.`);
  return recipe;
}
