import { chmodSync, copyFileSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Services } from "../../db/services.ts";
import { type ProcessSpec, type Starter, startCold } from "../../process/start.ts";
import { createNodeStarter } from "./node.ts";
import { createPythonStarter } from "./python.ts";

/** After this time without an action an interpreter ends. */
const defaultIdleMs = 5 * 60_000;

export interface WarmOptions {
  /** A directory of the worker's own, with a short path. */
  directory: string;
  /** The user of actions; null: the worker's own. */
  runAs: ProcessSpec["runAs"];
  /** After how much time without an action, in milliseconds, an interpreter ends. */
  idleMs: number;
}

/** Starts the actions of one runtime by interpreters that have started before. */
export interface WarmStarter extends Disposable {
  start: Starter;
  usage(): { processes: number; bytes: number };
}

/** The interpreters that a worker keeps. */
export interface WarmInterpreters extends Disposable {
  /** Returns how actions of the runtime are started. */
  starterOf(runtimeRef: string): Starter;
}

const noInterpreters: WarmInterpreters = {
  starterOf: () => startCold,
  [Symbol.dispose]: () => {},
};

/** What is kept, and where. */
export interface InterpretersOptions {
  /** Whether any are kept: else every action is started in a new process. */
  isOn: boolean;
  /** The directory for temporary files. */
  scratch: string;
  runAs: ProcessSpec["runAs"];
  idleMs?: number;
}

/** Keeps interpreters for Python and Node.js, on Linux: they need /proc. */
export async function createInterpreters(
  { log, metrics }: Pick<Services, "log" | "metrics">,
  { isOn, scratch, runAs, idleMs = defaultIdleMs }: InterpretersOptions,
): Promise<WarmInterpreters> {
  if (!isOn || process.platform !== "linux") return noInterpreters;
  const directory = join(scratch, "warm");
  mkdirSync(directory, { mode: 0o711 });
  if (runAs != null) chmodSync(scratch, 0o711);
  // Another user may not be able to read the directory of the program.
  const place = (name: string) => {
    const path = join(directory, name);
    copyFileSync(fileURLToPath(new URL(name, import.meta.url)), path);
    chmodSync(path, 0o644);
    return path;
  };
  const options = { directory, runAs, idleMs };
  const starters = new Map<string, WarmStarter>();
  starters.set("core.action.nodejs", createNodeStarter(options, place("spare.cjs")));
  metrics.read(() => {
    for (const [runtime, starter] of starters) {
      const { processes, bytes } = starter.usage();
      metrics.interpreters.set({ runtime }, processes);
      metrics.interpreterBytes.set({ runtime }, bytes);
    }
  });
  try {
    starters.set("core.action.python", await createPythonStarter(options, place("fork.py")));
  } catch (error) {
    log.warn({ err: error }, "no interpreters are kept for Python");
  }
  return {
    starterOf: (runtime) => {
      const starter = starters.get(runtime);
      if (starter === undefined) return startCold;
      return async (spec) => {
        const started = await starter.start(spec);
        metrics.starts.inc({ runtime, start: started.isWarm ? "warm" : "cold" });
        return started;
      };
    },
    [Symbol.dispose]: () => {
      for (const starter of starters.values()) starter[Symbol.dispose]();
    },
  };
}
