import type { ExecutionOutcome } from "../execution/finish.ts";
import type { Json } from "../lib/json.ts";
import type { Mask } from "../secrecy/mask.ts";

type Stream = "stdout" | "stderr" | "system";
type Emit = (stream: Stream, text: string) => void;

/** Masks an action's output before it is logged; secrets are found across the pieces of a stream. */
export interface MaskedOutput {
  onOutput: Emit;
  /** Emits the text that was held back. */
  end(): void;
}

/** Emits masked output in order and without delay; only a suffix that may begin a secret is held back until more text arrives. */
export function maskOutput(mask: Mask | null, emit: Emit): MaskedOutput {
  if (mask === null) return { onOutput: emit, end: () => {} };
  const streams = { stdout: mask.stream(), stderr: mask.stream() };
  const emitNonEmpty: Emit = (stream, text) => {
    if (text !== "") emit(stream, text);
  };
  return {
    onOutput: (stream, text) => {
      if (stream === "system") emit(stream, mask.text(text));
      else emitNonEmpty(stream, streams[stream].write(text));
    },
    end: () => {
      emitNonEmpty("stdout", streams.stdout.end());
      emitNonEmpty("stderr", streams.stderr.end());
    },
  };
}

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
