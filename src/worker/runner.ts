import { sql } from "drizzle-orm";
import { rows } from "../db/client.ts";
import type { Services } from "../db/services.ts";
import { write } from "../db/tx.ts";
import type { ExecutionLogEntry } from "../execution/append.ts";
import { signCause } from "../execution/cause.ts";
import { type Claim, moveDeadline } from "../execution/claim.ts";
import type { ExecutionOutcome } from "../execution/finish.ts";
import { openSecrets } from "../execution/secret.ts";
import { inProgress, statusIn } from "../execution/states.ts";
import { askAndPark } from "../inquiry/create.ts";
import { endEarlierAttempts } from "../lib/action-processes.ts";
import { globalId } from "../lib/global-id.ts";
import type { ProcessIdentity } from "../lib/process-identity.ts";
import { attemptContext, formatTraceparent, parseTraceparent } from "../lib/trace.ts";
import { maskOutput } from "../process/mask.ts";
import { createPersistence, type Persist } from "../process/persist.ts";
import { createInstallRows } from "./install/rows.ts";
import { fitResult, keepFiles } from "./leftovers.ts";
import { maskOutcome } from "./mask.ts";
import { createTestRows } from "./pack-test/rows.ts";
import { performAction } from "./perform.ts";
import { listenForProgress } from "./progress.ts";
import { createReporter, type Reporter } from "./report.ts";
import type { HostEnvironment } from "./runtimes/runtime.ts";

/** Runs claimed executions, and stores their output and outcomes. */
export interface Runner {
  /**
   * Runs an execution in the background that was claimed by a statement of that time (of the monotonic clock), and reports its outcome. A
   * process that was stopped meanwhile may have lost it: an old claim is compared with its row first.
   */
  begin(claim: Claim, askedAt: number): void;
  /** Returns how many executions of these runtimes are running. */
  count(runtimes: readonly string[]): number;
  /** Stops an execution that was cancelled; does nothing if it is not running here. */
  cancel(id: string): void;
  /** Returns whether results wait for the database; what is kept is bounded only if nothing is claimed meanwhile. */
  isWaiting(): boolean;
  /**
   * Compares what runs here with the attempts that are this worker's according to the database: stops those that are no longer its own.
   * Returns those that never began here and never will, because the answer to their claim was lost.
   */
  compare(read: () => Promise<readonly HeldAttempt[]>): Promise<HeldAttempt[]>;
  /** Stops what is running without reporting outcomes, and resolves when it has stopped. */
  letGo(): Promise<void>;
  /** Resolves when nothing is running; after `ms` milliseconds the remaining executions are stopped without reporting outcomes. */
  drain(ms: number): Promise<void>;
}

/** An attempt of an execution that is a worker's according to the database. */
export interface HeldAttempt {
  id: string;
  attempt: number;
  /** Whether it was claimed longer ago than any answer takes. */
  isOld: boolean;
}

const cancelled = new Error("the execution was cancelled");
const handBack = new Error("the worker is stopping");
const notOwn = new Error("the execution is no longer this worker's");
const waits = "results wait for the database: this worker claims nothing until they are stored";
const keyOf = ({ id, attempt }: { id: string; attempt: number }) => `${id}/${attempt}`;

/** Creates a runner. It calls `ready` whenever a slot has become free, and when results that waited for the database are stored. */
export function createRunner(services: Services, host: HostEnvironment, ready: () => void): Runner {
  const running = new Map<string, { claim: Claim; abort: AbortController; ended: Promise<void> }>();
  /** Attempts that were let go before the answer to their claim arrived: if it still does, they do not begin. */
  const letGo = new Set<string>();
  let handingBack = false;
  const { persist, isWaiting, stop } = createPersistence(services.log, waits, ready);
  const parts = { services, host, persist, reporter: createReporter(services, persist) };

  const handBackAll = async () => {
    const all = [...running.values()];
    for (const { abort } of all) abort.abort(handBack);
    await Promise.all(all.map((each) => each.ended));
  };
  return {
    letGo: handBackAll,
    begin: (claim, askedAt) => {
      if (letGo.delete(keyOf(claim))) return;
      const abort = new AbortController();
      const ended = runToEnd(parts, { claim, askedAt }, abort.signal).then(
        () => {
          running.delete(keyOf(claim));
          ready();
        },
        // Its end is not stored: it keeps its slot, so that it is neither forgotten nor run again.
        (error: unknown) => services.log.error({ err: error, execution: claim.id }, "reporting an execution's end"),
      );
      running.set(keyOf(claim), { claim, abort, ended });
    },
    count: (runtimes) => [...running.values()].filter(({ claim }) => runtimes.includes(claim.runtimeRef)).length,
    cancel: (id) => {
      for (const { claim, abort } of running.values()) if (claim.id === id) abort.abort(cancelled);
    },
    isWaiting,
    compare: async (read) => {
      const before = [...running];
      const held = await read();
      if (handingBack) return [];
      const own = new Set(held.map(keyOf));
      for (const [key, { abort }] of before) if (!own.has(key)) abort.abort(notOwn);
      const lost = held.filter((each) => each.isOld && !running.has(keyOf(each)));
      for (const each of lost) letGo.add(keyOf(each));
      return lost;
    },
    drain: async (ms) => {
      const all = Promise.all([...running.values()].map((each) => each.ended));
      await Promise.race([all, new Promise((resolve) => setTimeout(resolve, ms).unref())]);
      handingBack = true;
      stop();
      await handBackAll();
    },
  };
}

/** What running a claim needs. */
interface Parts {
  services: Services;
  host: HostEnvironment;
  persist: Persist;
  reporter: Reporter;
}

/** Runs a claim and reports its outcome. Rejects when the outcome cannot be stored. */
async function run(parts: Parts, claim: Claim, signal: AbortSignal): Promise<ExecutionOutcome | null> {
  const { services, host, persist, reporter } = parts;
  let seq = BigInt(claim.logSeq);
  const stored: Promise<boolean>[] = [];
  const progress = listenForProgress(services, claim, persist);
  const log = (stream: ExecutionLogEntry["stream"], text: string) => {
    seq += 1n;
    const entry = { execution: claim.id, seq: String(seq), stream, at: new Date().toISOString(), text };
    stored.push(
      reporter.append(entry).then(
        () => true,
        () => false,
      ),
    );
    if (stream === "stdout") progress.take(text);
  };
  const runAction = async (): Promise<ExecutionOutcome | null> => {
    const opened = openParameters(services, claim);
    if ("error" in opened) return unreadable(claim, opened.error);
    const { config, mask } = opened;
    const { onOutput, end } = maskOutput(mask, log);
    const report = (text: string) => onOutput("system", text);
    const collectArtifacts = (directory: string) => keepFiles(services, claim, directory, { report, mask, persist });
    // People read the question: its parameters keep their secrets hidden.
    const ask = () => persist(() => write(services, (tx) => askAndPark(tx, claim)));
    const restartTime = (extraMs: number) => persist(() => write(services, (tx) => moveDeadline(tx, claim, extraMs)));
    const tests = createTestRows(services, claim, persist);
    const installs = createInstallRows(services, claim, persist);
    const cause = () => signCause(services.keyring, claim.id);
    const own = { claim: { ...claim, config }, cause, signal, mask, onOutput };
    const actionRun = { ...own, collectArtifacts, ask, restartTime, tests, installs };
    const issueToken = () => persist(() => host.issueToken(claim));
    const outcome = await performAction(actionRun, { ...host, issueToken });
    end();
    return outcome && maskOutcome(mask, outcome);
  };
  const outcome = await runAction();
  if (outcome === null) return null; // the execution is parked: no worker ends it
  await progress.end();
  // The log is stored before the outcome, so that readers get all of it.
  const lost = (await Promise.all(stored)).filter((isStored) => !isStored).length;
  if (lost > 0) services.log.error({ execution: claim.id, lost }, "output could not be stored");
  if (signal.reason !== handBack) await reporter.finish(await fitResult(services, claim, { outcome, persist }));
  return outcome;
}

/** Runs a claim as one span of its trace, whose id the action and its children know. */
async function runTraced(parts: Parts, claim: Claim, signal: AbortSignal): Promise<void> {
  const { tracing } = parts.services;
  const parent = parseTraceparent(claim.traceContext);
  if (tracing === null || parent === null) return void (await run(parts, claim, signal));
  const context = attemptContext(parent, claim);
  const from = Date.now();
  const outcome = await run(parts, { ...claim, traceContext: formatTraceparent(context) }, signal);
  tracing.record({
    name: `execute ${claim.actionRef}`,
    ...({ kind: "consumer", context, parent, from, to: Date.now() } as const),
    attributes: {
      "attune.execution": globalId("Execution", claim.id),
      "attune.action": claim.actionRef,
      "attune.runtime": claim.runtimeRef,
      "attune.attempt": claim.attempt,
      "attune.queued_ms": Math.max(0, Math.round(claim.queuedSeconds * 1000)),
      "attune.status": outcome?.status ?? "running",
    },
    error: outcome?.error?.message ?? null,
  });
}

/** Within this time, in milliseconds, nothing gives away a claim: a worker counts as lost after 30 s. */
const freshMs = 10_000;

/** Runs a claim to its reported end, whatever fails: a row left `running` would look like a claim that never began. */
async function runToEnd(
  parts: Parts,
  { claim, askedAt }: { claim: Claim; askedAt: number },
  signal: AbortSignal,
): Promise<void> {
  try {
    if (claim.attempt > 1 && !(await endEarlierAttempts(claim.id, await findEarlierWorkers(parts, claim)))) {
      parts.services.log.warn({ execution: claim.id }, "processes of an earlier attempt could not be ended");
    }
    if (performance.now() - askedAt > freshMs && !(await isOwn(parts, claim))) return;
    await runTraced(parts, claim, signal);
  } catch (error) {
    parts.services.log.error({ err: error, execution: claim.id }, "running an execution");
    if (signal.reason !== handBack) await parts.reporter.finish(broken(claim));
  }
}

/** Returns the processes of the workers that ran the execution before. */
async function findEarlierWorkers({ services, persist }: Parts, { id }: Claim): Promise<ProcessIdentity[]> {
  const found = await persist(() =>
    rows<{ process: ProcessIdentity | null }>(
      services.db,
      sql`select distinct w.meta -> 'process' as process from attune.execution_transition t join attune.worker w on w.id = t.worker
        where t.execution = ${id}::bigint`,
    ),
  );
  return found.flatMap(({ process }) => process ?? []);
}

/** Returns whether the attempt is still this worker's. */
async function isOwn({ services, persist }: Parts, { id, attempt }: Claim): Promise<boolean> {
  const found = await persist(() =>
    rows(
      services.db,
      sql`select e.id::text from attune.execution e where e.id = ${id}::bigint and e.attempt = ${attempt}::int
        and ${statusIn(inProgress, "e.status")}`,
    ),
  );
  if (found.length === 0) services.log.warn({ execution: id }, "a claim was lost before it began");
  return found.length > 0;
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

/** The error itself is only in the server's log: it may quote statements with secrets. */
function broken({ id, attempt }: Claim): ExecutionOutcome {
  const message = "An internal error of the worker stopped the action; the server's log names it.";
  return { id, attempt, status: "failed", result: null, error: { code: "WORKER_ERROR", message }, reason: message };
}
