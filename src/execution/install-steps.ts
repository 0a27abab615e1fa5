import type { Db } from "../db/client.ts";
import type { Services } from "../db/services.ts";
import { followLog, readLog, type StoredLog } from "./log.ts";

/** The steps of an installation of a pack, in their order. */
export const installSteps = [
  "fetch",
  "checksum",
  "check",
  "dependencies",
  "environments",
  "tests",
  "activate",
] as const;
export type InstallStep = (typeof installSteps)[number];

const statuses = ["running", "done", "failed", "skipped"] as const;
export type InstallStepStatus = (typeof statuses)[number];

/** How far a step of an installation is. */
export interface StepProgress {
  step: InstallStep;
  status: InstallStepStatus;
  /** The attempt of the execution: each begins with the first step. */
  attempt: number;
  /** For how long the step has run, in milliseconds. */
  durationMs: number;
  /** What is being done, what was found, or why it failed; null: there is nothing to say. */
  message: string | null;
}

const longestMessage = 1000;
const marker = "::step ";
const pattern = new RegExp(
  `^${marker}(${installSteps.join("|")}) (${statuses.join("|")}) attempt (\\d{1,6}) after (\\d{1,12}) ms(?:: (.*))?\\n$`,
  "s",
);

/** Returns the entry of the log, in the stream `system`, that says how far a step is: a line for people that `readStep` reads too. */
export function writeStep({ step, status, attempt, durationMs, message }: StepProgress): string {
  const text = message?.replaceAll(/\s+/g, " ").trim().slice(0, longestMessage).toWellFormed() ?? "";
  return `${marker}${step} ${status} attempt ${attempt} after ${Math.round(durationMs)} ms${text === "" ? "" : `: ${text}`}\n`;
}

/** Returns how far a step is according to an entry of the log; null for other entries. */
export function readStep({ stream, text }: Pick<StoredLog, "stream" | "text">): StepProgress | null {
  const [, step, status, attempt, durationMs, message] = (stream === "system" && pattern.exec(text)) || [];
  if (step === undefined) return null;
  return {
    step: step as InstallStep, // by the pattern, as the status
    status: status as InstallStepStatus,
    attempt: Number(attempt),
    durationMs: Number(durationMs),
    message: message ?? null,
  };
}

/** A stored report of a step. Its number in the log is its position. */
export interface StoredStep extends StepProgress {
  seq: bigint;
  at: Date;
}

const stepOf = (entry: StoredLog): StoredStep[] => {
  const step = readStep(entry);
  return step ? [{ ...step, seq: entry.seq, at: entry.at }] : [];
};

/** Yields the reports of an installation after `after` (0: all), then new ones, until the execution has ended. Throws NotFoundError. */
export async function* followSteps(
  services: Services,
  execution: bigint,
  after: bigint,
  signal: AbortSignal,
): AsyncGenerator<StoredStep, void> {
  for await (const entry of followLog(services, execution, after, signal, marker)) yield* stepOf(entry);
}

/** Returns at most `limit` reports of an installation after `after`. Throws NotFoundError. */
export async function readSteps(
  db: Db,
  execution: bigint,
  page: { after: bigint; limit: number },
): Promise<StoredStep[]> {
  return (await readLog(db, execution, { ...page, marker })).entries.flatMap(stepOf);
}
