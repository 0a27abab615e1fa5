import type { ExecutionOutcome } from "../execution/finish.ts";
import type { Json } from "../lib/json.ts";
import type { Mask } from "../secrecy/mask.ts";

/** Returns the outcome with secrets masked in its data, error and reason. */
export function maskOutcome(mask: Mask | null, outcome: ExecutionOutcome): ExecutionOutcome {
  if (mask === null) return outcome;
  const { result, error, reason } = outcome;
  return {
    ...outcome,
    result: maskData(mask, result),
    error: error && {
      ...error,
      message: mask.text(error.message),
      ...(error.detail === undefined ? {} : { detail: mask.json(error.detail) }),
    },
    reason: reason && mask.text(reason),
  };
}

/** Exit code and duration come from the worker, so they are not masked. */
function maskData(mask: Mask, result: Json): Json {
  if (typeof result !== "object" || result === null || Array.isArray(result)) return mask.json(result);
  return "data" in result ? { ...result, data: mask.json(result["data"] ?? null) } : result;
}
