import { isFinal } from "../db/final.ts";
import type { Services } from "../db/services.ts";
import { write } from "../db/tx.ts";
import { appendLogs, type ExecutionLogEntry } from "../execution/append.ts";
import { type ExecutionOutcome, finishExecutions } from "../execution/finish.ts";
import { createBatcher } from "../lib/batch.ts";
import { faultPoint } from "../lib/fault.ts";
import type { Persist } from "../process/persist.ts";

/** Stores the output and the outcomes of executions, many in one statement, and keeps them until they are stored. */
export interface Reporter {
  finish(outcome: ExecutionOutcome): Promise<unknown>;
  append(entry: ExecutionLogEntry): Promise<unknown>;
}

/** Creates a reporter. An outcome that the database cannot store fails its execution; such an entry of a log is rejected. */
export function createReporter(services: Services, persist: Persist): Reporter {
  const storeOutcomes = (outcomes: ExecutionOutcome[]) =>
    persist(() => write(services, (tx) => finishExecutions(tx, outcomes)));
  const storeOutcome = async (outcome: ExecutionOutcome) => {
    try {
      return await storeOutcomes([outcome]);
    } catch (error) {
      if (!isFinal(error)) throw error;
      services.log.error({ err: error, execution: outcome.id }, "an outcome could not be stored");
      return await storeOutcomes([unstorable(outcome)]);
    }
  };
  const storeEntries = async (entries: ExecutionLogEntry[]) => {
    await persist(() => write(services, (tx) => appendLogs(tx, entries)));
    return entries.map(() => true as const);
  };
  const finish = createBatcher<ExecutionOutcome, boolean>({
    size: 100,
    lanes: services.kind === "pglite" ? 1 : 2,
    run: async (outcomes) => {
      faultPoint("finish.before");
      const [only, ...more] = outcomes;
      const applied = only && more.length === 0 ? await storeOutcome(only) : await storeOutcomes(outcomes);
      faultPoint("finish.after_commit");
      return applied;
    },
  });
  const append = createBatcher<ExecutionLogEntry, true>({ size: 50, lanes: 1, run: storeEntries });
  return {
    // What the database refuses to store does not hold up what it was stored with.
    finish: (outcome) =>
      finish(outcome).catch((error: unknown) => (isFinal(error) ? storeOutcome(outcome) : Promise.reject(error))),
    append: (entry) =>
      append(entry).catch((error: unknown) => (isFinal(error) ? storeEntries([entry]) : Promise.reject(error))),
  };
}

function unstorable({ id, attempt, status }: ExecutionOutcome): ExecutionOutcome {
  const message = `The action ended as ${status}, but the database cannot store what it returned.`;
  return {
    ...{ id, attempt, status: "failed", result: null },
    error: { code: "RESULT_NOT_STORABLE", message },
    reason: message,
  };
}
