import type { Services } from "../db/services.ts";
import { Refusal } from "../errors.ts";
import type { Claim } from "../execution/claim.ts";
import type { Outcome } from "../execution/finish.ts";
import { askAndPark } from "../inquiry/create.ts";

/** Whether the execution asks a person: then it is not run but left to wait, without a worker and without a slot. */
export function isInquiry({ entrypoint, runtimeRef }: Claim): boolean {
  return entrypoint === "core.inquire" && runtimeRef === "core.action.builtin";
}

/** Asks, and answers null when the execution waits by itself from now on; else how it ended. Throws what is no refusal. */
export async function inquire(services: Services, claim: Claim): Promise<Outcome | null> {
  const { id, attempt } = claim;
  const ended = { id, attempt, result: null };
  try {
    if (await askAndPark(services, claim)) return null;
    return { ...ended, status: "cancelled", error: null, reason: "stopped by request" };
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    const { code, message } = error;
    return { ...ended, status: "failed", error: { code, message }, reason: message };
  }
}

/** How an execution ends that could not ask, for a reason that is not its own. */
export function notAsked({ id, attempt }: Claim, cause: unknown): Outcome {
  const message = `The question could not be stored: ${cause instanceof Error ? cause.message : String(cause)}`;
  return { id, attempt, status: "failed", result: null, error: { code: "NOT_ASKED", message }, reason: message };
}
