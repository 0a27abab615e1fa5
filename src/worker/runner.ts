import { type Engine, write } from "../db/engine.ts";
import { appendLogs, type LogEntry } from "../execution/append.ts";
import type { Claim } from "../execution/claim.ts";
import { finishExecutions, type Outcome } from "../execution/finish.ts";
import { createBatch } from "../lib/batch.ts";
import { faultPoint } from "../lib/fault.ts";
import { perform, type Surroundings } from "./perform.ts";

/** What runs at the moment, and the way its output and results reach the database. */
export interface Runner {
  /** Runs a claimed execution in the background, to its reported end. */
  begin(claim: Claim): void;
  /** How many executions of these runtimes are running. */
  count(runtimes: readonly string[]): number;
  /** Stops an execution that was cancelled; nothing if it is not running here. */
  cancel(id: string): void;
  /** Resolves when nothing runs any more; after `ms` milliseconds what is left is stopped, and its end is not reported. */
  drain(ms: number): Promise<void>;
}

const cancelled = new Error("the execution was cancelled");
const handBack = new Error("the worker is stopping");
/** Tries to store a result: the database may be away for a moment. */
const maxTries = 6;

/** `ended` is called whenever an execution has ended and a slot is free. */
export function createRunner(engine: Engine, surroundings: Surroundings, ended: () => void): Runner {
  const running = new Map<string, { claim: Claim; abort: AbortController; ended: Promise<void> }>();
  const finish = createBatch<Outcome, boolean>({
    size: 100,
    lanes: engine.kind === "pglite" ? 1 : 2,
    run: async (outcomes) => {
      faultPoint("finish.before");
      const applied = await persist(() => write(engine, (tx) => finishExecutions(tx, outcomes)));
      faultPoint("finish.after_commit");
      return applied;
    },
  });
  const append = createBatch<LogEntry, true>({
    size: 50,
    lanes: 1,
    run: async (entries) => {
      await persist(() => write(engine, (tx) => appendLogs(tx, entries)));
      return entries.map(() => true as const);
    },
  });

  async function run(claim: Claim, signal: AbortSignal): Promise<void> {
    let seq = BigInt(claim.logSeq);
    const written: Promise<unknown>[] = [];
    const onOutput = (stream: LogEntry["stream"], text: string) => {
      seq += 1n;
      written.push(append({ execution: claim.id, seq: String(seq), stream, at: new Date().toISOString(), text }));
    };
    const outcome = await perform({ claim, signal, onOutput }, surroundings);
    // The log stands before the end does: who follows it sees all of it.
    const failures = (await Promise.allSettled(written)).filter(({ status }) => status === "rejected");
    if (failures.length > 0)
      engine.log.error({ execution: claim.id, lost: failures.length }, "output could not be stored");
    if (signal.reason !== handBack) await finish(outcome);
  }

  return {
    begin: (claim) => {
      const abort = new AbortController();
      const done = run(claim, abort.signal)
        .catch((error: unknown) => engine.log.error({ err: error, execution: claim.id }, "running an execution"))
        .finally(() => {
          running.delete(claim.id);
          ended();
        });
      running.set(claim.id, { claim, abort, ended: done });
    },
    count: (runtimes) => [...running.values()].filter(({ claim }) => runtimes.includes(claim.runtimeRef)).length,
    cancel: (id) => running.get(id)?.abort.abort(cancelled),
    drain: async (ms) => {
      const all = Promise.all([...running.values()].map((each) => each.ended));
      await Promise.race([all, new Promise((resolve) => setTimeout(resolve, ms).unref())]);
      for (const { abort } of running.values()) abort.abort(handBack);
      await all;
    },
  };
}

async function persist<T>(store: () => Promise<T>): Promise<T> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await store();
    } catch (error) {
      if (tries === maxTries) throw error;
      await new Promise((resolve) => setTimeout(resolve, 100 * 2 ** tries));
    }
  }
}
