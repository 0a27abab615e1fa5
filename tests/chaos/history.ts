import { appendFileSync, readFileSync } from "node:fs";
import type { ExecutionStatus, WaitsFor } from "../../src/execution/states.ts";

/** One line of a history. Ids are the rows' ids; times (`at`) are the host's, in milliseconds. */
export type Entry =
  | { kind: "run"; at: number; seed: number; minutes: number }
  /** Which webhooks a rule matches, by their `type`. */
  | { kind: "rule"; ref: string; types: string[] }
  | { kind: "webhook"; at: number; n: number; type: string }
  | { kind: "execute"; at: number; key: string; action: string }
  /** A response that accepts: the event's id for a webhook's number, the execution's for an idempotency key. */
  | { kind: "accepted"; at: number; n?: number; key?: string; id: string }
  | { kind: "refused"; at: number; n?: number; key?: string; reason: string }
  | { kind: "fault"; at: number; fault: string; target: string; ms: number }
  /** Recorded by the action: `alone` is whether it got the lock that processes of its execution hold until they end. */
  | { kind: "start"; at: number; execution: string; pid: number; ticks: string; alone: boolean }
  | { kind: "end"; at: number; execution: string; pid: number; ticks: string; code: number }
  /** A process that ended without recording it; `at` is when it was last seen alive. */
  | { kind: "gone"; at: number; execution: string; pid: number; ticks: string }
  /** The subscription begins after the transitions of executions up to this one. */
  | { kind: "subscribed"; at: number; execution: string }
  | { kind: "seen"; at: number; stream: number; cursor: string; execution: string; to: ExecutionStatus }
  /** What the database has at the end. */
  | { kind: "event"; id: string; n: number | null; evaluated: boolean }
  | { kind: "enforcement"; id: string; rule: string; event: string }
  | ({ kind: "execution" } & StoredExecution)
  | ({ kind: "transition" } & StoredTransition)
  | { kind: "policy"; ref: string; action: string; parameters: string[]; threshold: number }
  /** A policy was changed: its new limit, or null when it was disabled, holds from some moment between `at` and `until`. */
  | { kind: "limit"; at: number; until: number; policy: string; threshold: number | null }
  | { kind: "group"; id: string; policy: string; active: number; waiting: number }
  | { kind: "slot"; group: string; execution: string; state: string }
  /** Processes of actions that still live, and files that contain a secret, after everything has stopped. */
  | { kind: "left"; pid: number; execution: string }
  | { kind: "leak"; path: string }
  /** A process of Attune that was ready and ended although nobody had ended it. */
  | { kind: "died"; at: number; role: string; code: string }
  | { kind: "finished"; at: number };

export interface StoredExecution {
  id: string;
  action: string;
  status: ExecutionStatus;
  enforcement: string | null;
  config: Record<string, unknown>;
  waitsFor: WaitsFor | null;
  runAt: number | null;
  retryOf: string | null;
  retryCount: number;
  maxRetries: number | null;
  onWorkerLoss: string;
  parent: string | null;
}

export interface StoredTransition {
  id: string;
  execution: string;
  from: ExecutionStatus | null;
  to: ExecutionStatus;
  attempt: number;
  at: number;
}

/** A history that is being recorded in a file of JSON lines, which action processes append to as well. */
export function createHistory(path: string) {
  return {
    path,
    add: (entry: Entry) => appendFileSync(path, `${JSON.stringify(entry)}\n`),
    read: () => readHistory(path),
  };
}
export type History = ReturnType<typeof createHistory>;

/** Reads a history from its file. */
export function readHistory(path: string): Entry[] {
  return readFileSync(path, "utf8")
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as Entry);
}
