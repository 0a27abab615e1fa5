import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { rmSync, statSync, symlinkSync } from "node:fs";
import { Duplex } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import { type ProcessSpec, type Started, startCold, startedOf } from "../../process/start.ts";
import { type Base, baseOf, ownVariables, room } from "./base.ts";
import { createKept, type Kept } from "./kept.ts";
import type { WarmOptions, WarmStarter } from "./warm.ts";

/** The next spare is started when an action has ended, or has run for this time: its start would delay a short one. */
const pauseMs = 250;
/** How long a spare may take until it begins. */
const beginMs = 10_000;
const harmless = new Set(["NODE_ENV", "NODE_PATH", "NODE_EXTRA_CA_CERTS", "NODE_TLS_REJECT_UNAUTHORIZED"]);

/**
 * Gives actions to a Node.js process that has started for the same base before, and waits (`spare.cjs`). Each is used once; then the next one is
 * started. The first action of a base is started cold, and so is any for which no spare is there.
 *
 * The request, its length and JSON, goes to descriptor 3; the spare writes a byte there when it begins: before, nothing of the action
 * has run. When it reads the end instead, the worker has ended, and so does the spare. Its main module is a link that is missing until then, so that the action is
 * loaded as the main module of any process.
 */
export function createNodeStarter(options: WarmOptions, script: string): WarmStarter {
  const spares = createKept<Spare>({ most: 4, idleMs: options.idleMs });
  const traits = {
    file: /\.[cm]?js$/,
    refuses: (name: string) => name.startsWith("NODE_") && !harmless.has(name),
    home: `${options.directory}/home`,
  };
  const places = { script, directory: options.directory };
  return {
    start: async (spec) => {
      const base = isFile(spec.args[0]) ? baseOf(spec, traits) : null;
      const spare = base && spares.find(base.key);
      if (!base) return await startCold(spec);
      const prepare = () => spares.add(base.key, () => startSpare(base, places));
      if (spare) {
        spares.remove(base.key, spare);
        const begun = await spare.begin(spec);
        if (begun !== null) {
          void Promise.race([begun.exited, sleep(pauseMs, null, { ref: false })]).then(prepare);
          return begun;
        }
      }
      const started = await startCold(spec);
      void started.exited.then(prepare);
      return started;
    },
    usage: spares.usage,
    [Symbol.dispose]: spares[Symbol.dispose],
  };
}

function isFile(path: string | undefined): boolean {
  return path !== undefined && (statSync(path, { throwIfNoEntry: false })?.isFile() ?? false);
}

interface Spare extends Kept {
  /** Starts the action; null when nothing of it has run, and it must be started in another way. */
  begin(spec: ProcessSpec): Promise<Started | null>;
}

function startSpare(base: Base, { script, directory }: { script: string; directory: string }): Spare {
  const main = `${directory}/${randomBytes(8).toString("hex")}`;
  const child = spawn(base.command, [main, room.argument], {
    cwd: base.cwd,
    env: { ...base.env, ...room.variable, NODE_OPTIONS: `--require=${JSON.stringify(script)}` },
    detached: true,
    ...base.runAs,
    stdio: ["pipe", "pipe", "pipe", "pipe"],
  });
  const control = child.stdio[3];
  for (const pipe of child.stdio) pipe?.on("error", () => {});
  const started = startedOf(child, true).catch(() => null);
  const begun = new Promise<boolean>((resolve) => {
    control?.once("data", () => resolve(true));
    control?.once("close", () => resolve(false));
  });
  child.once("exit", () => rmSync(main, { force: true }));
  const end = () => void child.kill("SIGKILL");
  return {
    get pid() {
      return child.exitCode === null && child.signalCode === null ? (child.pid ?? null) : null;
    },
    isBusy: () => false,
    end,
    begin: async (spec) => {
      const process = await started;
      if (process === null || !(control instanceof Duplex)) return null;
      const limit = new AbortController();
      const late = sleep(beginMs, false, { signal: limit.signal }).catch(() => false);
      symlinkSync(spec.args[0] ?? "", main);
      control.write(requestOf(spec));
      const hasBegun = await Promise.race([begun, late]);
      limit.abort();
      control.destroy();
      if (!hasBegun) {
        end();
        return null;
      }
      if (spec.stdin !== null) return { ...process, isWarm: true };
      process.stdin?.destroy();
      return { ...process, stdin: null, isWarm: true };
    },
  };
}

function requestOf(spec: ProcessSpec): Buffer {
  const stdin = spec.stdin === null ? null : "socket";
  const text = Buffer.from(
    JSON.stringify({ directory: spec.cwd, args: spec.args, variables: ownVariables(spec), stdin }),
  );
  const length = Buffer.alloc(4);
  length.writeUInt32BE(text.length);
  return Buffer.concat([length, text]);
}
