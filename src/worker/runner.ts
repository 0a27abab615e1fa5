import type { Services } from "../db/services.ts";
import { write } from "../db/tx.ts";
import { appendLogs, type ExecutionLogEntry } from "../execution/append.ts";
import type { Claim } from "../execution/claim.ts";
import { type ExecutionOutcome, finishExecutions } from "../execution/finish.ts";
import { openSecrets } from "../execution/secret.ts";
import { createBatch } from "../lib/batch.ts";
import { faultPoint } from "../lib/fault.ts";
import { inquire, isInquiry, notAsked } from "./inquire.ts";
import { fitResult, keepFiles } from "./leftovers.ts";
import { maskOutcome, maskOutput } from "./mask.ts";
import { perform, type Surroundings } from "./perform.ts";
import { persist } from "./persist.ts";
import { listenForProgress } from "./progress.ts";

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

/** `ended` is called whenever an execution has ended and a slot is free. */
export function createRunner(services: Services, surroundings: Surroundings, ended: () => void): Runner {
  const running = new Map<string, { claim: Claim; abort: AbortController; ended: Promise<void> }>();
  const finish = createBatch<ExecutionOutcome, boolean>({
    size: 100,
    lanes: services.kind === "pglite" ? 1 : 2,
    run: async (outcomes) => {
      faultPoint("finish.before");
      const applied = await persist(() => write(services, (tx) => finishExecutions(tx, outcomes)));
      faultPoint("finish.after_commit");
      return applied;
    },
  });
  const append = createBatch<ExecutionLogEntry, true>({
    size: 50,
    lanes: 1,
    run: async (entries) => {
      await persist(() => write(services, (tx) => appendLogs(tx, entries)));
      return entries.map(() => true as const);
    },
  });

  async function run(claim: Claim, signal: AbortSignal): Promise<void> {
    let seq = BigInt(claim.logSeq);
    const written: Promise<unknown>[] = [];
    const progress = listenForProgress(services, claim);
    const log = (stream: ExecutionLogEntry["stream"], text: string) => {
      seq += 1n;
      written.push(append({ execution: claim.id, seq: String(seq), stream, at: new Date().toISOString(), text }));
      if (stream === "stdout") progress.take(text);
    };
    const runAction = async (): Promise<ExecutionOutcome> => {
      const given = openGiven(services, claim);
      if ("error" in given) return unreadable(claim, given.error);
      const { config, mask } = given;
      const { onOutput, end } = maskOutput(mask, log);
      const names = { say: (text: string) => onOutput("system", text), shown: mask?.text ?? ((name: string) => name) };
      const onLeft = (directory: string) => keepFiles(services, claim, directory, names);
      const outcome = await perform({ claim: { ...claim, config }, signal, mask, onOutput, onLeft }, surroundings);
      end();
      return maskOutcome(mask, outcome);
    };
    // A question is for people: it shows what everybody may see of the parameters.
    const outcome = isInquiry(claim)
      ? await persist(() => inquire(services, claim)).catch((error: unknown) => notAsked(claim, error))
      : await runAction();
    if (outcome === null) return; // it is parked: no worker has a say in it
    await progress.end();
    // The log stands before the end does: who follows it sees all of it.
    const failures = (await Promise.allSettled(written)).filter(({ status }) => status === "rejected");
    if (failures.length > 0)
      services.log.error({ execution: claim.id, lost: failures.length }, "output could not be stored");
    if (signal.reason !== handBack) await finish(await fitResult(services, claim, outcome));
  }

  return {
    begin: (claim) => {
      const abort = new AbortController();
      const done = run(claim, abort.signal)
        .catch((error: unknown) => services.log.error({ err: error, execution: claim.id }, "running an execution"))
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

/** The parameters as the action gets them; secrets that cannot be decrypted are no reason to stop the worker. */
function openGiven({ keyring }: Services, { config, secrets }: Claim) {
  try {
    return openSecrets(keyring, config, secrets);
  } catch (error) {
    return { error: error instanceof Error ? error.message : String(error) };
  }
}

function unreadable({ id, attempt }: Claim, reason: string): ExecutionOutcome {
  const message = `A secret among the parameters cannot be read: ${reason}.`;
  return {
    ...{ id, attempt, status: "failed", result: null },
    error: { code: "SECRET_UNREADABLE", message },
    reason: message,
  };
}
