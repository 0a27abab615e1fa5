import type { Services } from "../db/services.ts";
import { write } from "../db/tx.ts";
import { appendLogs, type ExecutionLogEntry } from "../execution/append.ts";
import type { Claim } from "../execution/claim.ts";
import { type ExecutionOutcome, finishExecutions } from "../execution/finish.ts";
import { openSecrets } from "../execution/secret.ts";
import { createBatcher } from "../lib/batch.ts";
import { faultPoint } from "../lib/fault.ts";
import { failedToAsk, inquire, isInquiry } from "./inquire.ts";
import { fitResult, keepFiles } from "./leftovers.ts";
import { maskOutcome, maskOutput } from "./mask.ts";
import { type HostEnvironment, performAction } from "./perform.ts";
import { persist } from "./persist.ts";
import { listenForProgress } from "./progress.ts";

/** Runs claimed executions, and stores their output and outcomes. */
export interface Runner {
  /** Runs a claimed execution in the background and reports its outcome. */
  begin(claim: Claim): void;
  /** Returns how many executions of these runtimes are running. */
  count(runtimes: readonly string[]): number;
  /** Stops an execution that was cancelled; does nothing if it is not running here. */
  cancel(id: string): void;
  /** Resolves when nothing is running; after `ms` milliseconds the remaining executions are stopped without reporting outcomes. */
  drain(ms: number): Promise<void>;
}

const cancelled = new Error("the execution was cancelled");
const handBack = new Error("the worker is stopping");

/** Creates a runner. It calls `ended` whenever an execution has ended and its slot is free. */
export function createRunner(services: Services, host: HostEnvironment, ended: () => void): Runner {
  const running = new Map<string, { claim: Claim; abort: AbortController; ended: Promise<void> }>();
  const finish = createBatcher<ExecutionOutcome, boolean>({
    size: 100,
    lanes: services.kind === "pglite" ? 1 : 2,
    run: async (outcomes) => {
      faultPoint("finish.before");
      const applied = await persist(() => write(services, (tx) => finishExecutions(tx, outcomes)));
      faultPoint("finish.after_commit");
      return applied;
    },
  });
  const append = createBatcher<ExecutionLogEntry, true>({
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
      const opened = openParameters(services, claim);
      if ("error" in opened) return unreadable(claim, opened.error);
      const { config, mask } = opened;
      const { onOutput, end } = maskOutput(mask, log);
      const report = (text: string) => onOutput("system", text);
      const collectArtifacts = (directory: string) => keepFiles(services, claim, directory, { report, mask });
      const actionRun = { claim: { ...claim, config }, signal, mask, onOutput, collectArtifacts };
      const outcome = await performAction(actionRun, host);
      end();
      return maskOutcome(mask, outcome);
    };
    // People read the question: its parameters keep their secrets hidden.
    const outcome = isInquiry(claim)
      ? await persist(() => inquire(services, claim)).catch((error: unknown) => failedToAsk(claim, error))
      : await runAction();
    if (outcome === null) return; // the execution is parked: no worker ends it
    await progress.end();
    // The log is stored before the outcome, so that readers get all of it.
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

/** Returns the parameters with their secrets. A secret that cannot be decrypted fails the execution, not the worker. */
function openParameters({ keyring }: Services, { config, secrets }: Claim) {
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
