import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import type { Socket } from "node:net";
import { constants } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import { type Exit, type ProcessSpec, type Started, startCold } from "../../process/start.ts";
import { type Base, baseOf, ownVariables, room } from "./base.ts";
import { type Connections, openConnections } from "./connections.ts";
import { createKept, type Kept } from "./kept.ts";
import type { WarmOptions, WarmStarter } from "./warm.ts";

/** How long a fork may take. */
const forkMs = 10_000;
/** These change nothing that differs between an interpreter and its fork. */
const harmless = new Set(["UNBUFFERED", "UTF8", "IOENCODING", "HASHSEED", "DONTWRITEBYTECODE", "NOUSERSITE", "PATH"]);
const prefix = "PYTHON";

/**
 * Starts actions as forks of a Python interpreter that has started for the same base before (`fork.py`). The first action of a base is started cold,
 * and so is any that cannot be started like that.
 *
 * Requests go to the interpreter's stdin: their length, and texts separated by NUL. It says on its stdout "ready", "unsupported", "refused" (with the
 * token and the reason) and "exit" (with the token and the exit code, or the negative number of the signal). The fork connects to
 * the worker three times, and begins when it has read a byte from its stdout: before, nothing of the action has run. When the interpreter's stdin
 * ends, as it does with the worker, it ends its forks.
 */
export async function createPythonStarter(options: WarmOptions, script: string): Promise<WarmStarter> {
  const { runAs, directory, idleMs } = options;
  const connections = await openConnections(`${directory}/${randomBytes(4).toString("hex")}`, runAs);
  const parents = createKept<Parent>({ most: 8, idleMs });
  const traits = {
    file: /\.py$/,
    refuses: (name: string) => name.startsWith(prefix) && !harmless.has(name.slice(prefix.length)),
    home: `${directory}/home`,
  };
  return {
    start: async (spec) => {
      const base = baseOf(spec, traits);
      const parent = base && parents.find(base.key);
      const forked = parent ? await parent.fork(spec) : null;
      if (forked !== null) return forked;
      const started = await startCold(spec);
      if (base && (!parent || parent.isOver())) {
        if (parent) parents.remove(base.key, parent);
        void started.exited.then(() => parents.add(base.key, () => startParent(base, script, connections)));
      }
      return started;
    },
    usage: parents.usage,
    [Symbol.dispose]: () => {
      parents[Symbol.dispose]();
      connections[Symbol.dispose]();
    },
  };
}

interface Parent extends Kept {
  /** Starts the action; null when nothing of it has run, and it must be started in another way. */
  fork(spec: ProcessSpec): Promise<Started | null>;
  /** Returns whether another one is needed. */
  isOver(): boolean;
}

interface Child {
  pid: number | null;
  /** Resolves without a process: it was refused, or has ended before it began. */
  refused: PromiseWithResolvers<null>;
  exited: PromiseWithResolvers<Exit>;
}

function startParent(base: Base, script: string, connections: Connections): Parent {
  const process = spawn(base.command, [script, room.argument], {
    cwd: base.cwd,
    env: { ...base.env, ...room.variable },
    detached: true,
    ...base.runAs,
    stdio: ["pipe", "pipe", "pipe"],
  });
  const children = new Map<string, Child>();
  let state = "starting" as "starting" | "ready" | "unsupported" | "over";
  const isReady = () => state === "ready";
  const over = () => {
    state = "over";
    for (const child of children.values()) giveUp(child);
    children.clear();
  };
  const hear = (line: string) => {
    const [word, token = "", text] = line.split(" ");
    const child = children.get(token);
    if (word === "ready" && state === "starting") state = "ready";
    else if (word === "unsupported") state = "unsupported";
    else if (word === "refused" && text === "stale") state = "over";
    if (child === undefined || (word !== "refused" && word !== "exit")) return;
    child.refused.resolve(null);
    child.exited.resolve(exitOf(Number(text)));
    children.delete(token);
  };
  process.on("error", over);
  process.stdout.on("close", over); // after all that it said
  for (const pipe of [process.stdin, process.stdout, process.stderr]) pipe.on("error", () => {});
  // Each new process would write that, too.
  process.stderr.on("data", () => {
    if (state === "starting") state = "unsupported";
  });
  eachLine(process, hear);
  const parent: Parent = {
    get pid() {
      return state === "starting" || state === "ready" ? (process.pid ?? null) : null;
    },
    isBusy: () => children.size > 0,
    isOver: () => state === "over",
    end: () => process.stdin.end(),
    fork: async (spec) => {
      if (!isReady()) return null;
      const child: Child = { pid: null, refused: Promise.withResolvers(), exited: Promise.withResolvers() };
      const token = randomBytes(16).toString("hex");
      children.set(token, child);
      const { arrived, cancel } = connections.expect(token, spec.stdin === null ? [1, 2] : [0, 1, 2]);
      process.stdin.write(requestOf(spec, token, connections.address));
      const limit = new AbortController();
      const late = sleep(forkMs, "late" as const, { signal: limit.signal }).catch(() => null);
      const arrival = await Promise.race([arrived, child.refused.promise, late]);
      limit.abort();
      if (arrival === null || arrival === "late") {
        cancel(); // a fork that comes later reads the end of its connection, and does not begin
        if (arrival === "late") process.kill("SIGKILL");
        if (state === "over" && children.size === 0) parent.end();
        return null;
      }
      child.pid = arrival.pid;
      return begin(arrival.pid, arrival.sockets, child.exited.promise);
    },
  };
  return parent;
}

function begin(pid: number, sockets: ReadonlyMap<number, Socket>, exited: Promise<Exit>): Started {
  const [stdin, stdout, stderr] = [sockets.get(0) ?? null, sockets.get(1), sockets.get(2)];
  if (stdout === undefined || stderr === undefined) throw new Error("a forked process has no output");
  stdout.write("\n");
  return { pid, stdin, stdout, stderr, exited, isWarm: true, unref: () => {} };
}

function requestOf(spec: ProcessSpec, token: string, address: string): string {
  const variables = Object.entries(ownVariables(spec)).map(([name, value]) => `${name}=${value}`);
  const stdin = spec.stdin === null ? "null" : "socket";
  const text = [token, address, stdin, spec.cwd, String(spec.args.length), ...spec.args, ...variables].join("\0");
  return `${Buffer.byteLength(text)}\n${text}`;
}

function exitOf(code: number): Exit {
  if (code >= 0) return { exitCode: code, signalName: null };
  const [signalName = String(-code)] = Object.entries(constants.signals).find(([, number]) => number === -code) ?? [];
  return { exitCode: null, signalName };
}

/** The interpreter has ended: how its fork ends can no longer be known. */
function giveUp({ pid, refused, exited }: Child): void {
  refused.resolve(null);
  if (pid !== null) {
    try {
      process.kill(-pid, "SIGKILL");
    } catch {} // it has ended
  }
  const note = "The interpreter that had started it ended: SIGKILL was sent to the process group.";
  exited.resolve({ exitCode: null, signalName: "SIGKILL", note });
}

function eachLine(process: ChildProcess, hear: (line: string) => void): void {
  let unread = "";
  process.stdout?.on("data", (chunk: Buffer) => {
    const lines = `${unread}${chunk.toString()}`.split("\n");
    unread = lines.pop() ?? "";
    for (const line of lines) hear(line);
  });
}
