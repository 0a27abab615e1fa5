import type { Services } from "../db/services.ts";
import { write } from "../db/tx.ts";
import { Refusal } from "../errors.ts";
import type { Claim } from "../execution/claim.ts";
import type { ExecutionOutcome } from "../execution/finish.ts";
import { askAndPark } from "../inquiry/create.ts";

/** Returns whether the execution creates an inquiry: then it is parked instead of run. */
export function isInquiry({ entrypoint, runtimeRef }: Claim): boolean {
  return entrypoint === "core.inquire" && runtimeRef === "core.action.builtin";
}

/** Creates the inquiry. Returns null when the execution is parked, else its outcome. Throws every error that is not a refusal. */
export async function inquire(services: Services, claim: Claim): Promise<ExecutionOutcome | null> {
  const { id, attempt } = claim;
  const ended = { id, attempt, result: null };
  try {
    if (await write(services, (tx) => askAndPark(tx, claim))) return null;
    return { ...ended, status: "cancelled", error: null, reason: "stopped by request" };
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    const { code, message } = error;
    return { ...ended, status: "failed", error: { code, message }, reason: message };
  }
}

/** Returns the outcome of an execution whose question could not be stored because of an internal error. */
export function failedToAsk({ id, attempt }: Claim, cause: unknown): ExecutionOutcome {
  const message = `The question could not be stored: ${cause instanceof Error ? cause.message : String(cause)}`;
  return { id, attempt, status: "failed", result: null, error: { code: "NOT_ASKED", message }, reason: message };
}
