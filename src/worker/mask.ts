import type { ExecutionOutcome } from "../execution/finish.ts";
import type { Json } from "../lib/json.ts";
import type { Mask } from "../secrecy/mask.ts";

type Stream = "stdout" | "stderr" | "system";
type Emit = (stream: Stream, text: string) => void;

/** An action's output on its way to the log, each stream masked across its pieces. */
export interface MaskedOutput {
  onOutput: Emit;
  /** Hands on what was held back. */
  end(): void;
}

/** Masks what is handed to `emit`, in order and at once; only an end with which a secret may begin waits for what follows. */
export function maskOutput(mask: Mask | null, emit: Emit): MaskedOutput {
  if (mask === null) return { onOutput: emit, end: () => {} };
  const streams = { stdout: mask.stream(), stderr: mask.stream() };
  const hand: Emit = (stream, text) => {
    if (text !== "") emit(stream, text);
  };
  return {
    onOutput: (stream, text) => {
      if (stream === "system") emit(stream, mask.text(text));
      else hand(stream, streams[stream].write(text));
    },
    end: () => {
      hand("stdout", streams.stdout.end());
      hand("stderr", streams.stderr.end());
    },
  };
}

/** How an attempt ended, without the secrets that its action may have put into the data, the error or the reason. */
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

/** Exit code and duration are ours: numbers, whatever their digits. */
function maskData(mask: Mask, result: Json): Json {
  if (typeof result !== "object" || result === null || Array.isArray(result)) return mask.json(result);
  return "data" in result ? { ...result, data: mask.json(result["data"] ?? null) } : result;
}
