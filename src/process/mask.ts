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
