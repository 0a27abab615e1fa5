import { once } from "node:events";
import type { Readable, Writable } from "node:stream";
import type { Administer } from "./administration.ts";

/** A stream that may be a terminal, as those of the process are. */
type Stream<T> = T & { isTTY?: boolean; columns?: number };

/** What is done with the files of packs on this machine, without a server. */
export interface Author {
  /** Checks the packs in directories, together with those in `others`. */
  check(
    directories: readonly string[],
    others: readonly string[],
  ): Promise<
    { directory: string; ref: string | null; version: string | null; issues: { path: string; message: string }[] }[]
  >;
  /** Returns the JSON Schema of a kind of file; null for an unknown kind. */
  schema(kind: string): Promise<object | null>;
  kinds(): Promise<readonly string[]>;
  /** Returns the paths of the files that it has written. */
  create(ref: string, directory: string): Promise<string[]>;
  /** Imports a pack of StackStorm into a new directory. */
  importSt2(
    directory: string,
    options: { into: string | null; force: boolean; others: readonly string[] },
  ): Promise<{
    ref: string;
    version: string;
    directory: string;
    components: { kind: string; name: string; result: string; notes: string[] }[];
    counts: Record<string, Record<string, number>>;
  }>;
  /** Returns the files of a directory as a .tar.gz archive. */
  pack(directory: string): Promise<Buffer>;
  /** Returns an index of the archives in a directory, whose addresses begin with `base`. */
  index(directory: string, base: string, signal: AbortSignal): Promise<object>;
  /** Yields once at the beginning, and after each change of the files in a directory, until the signal aborts, which throws its reason. */
  changes(directory: string, signal: AbortSignal): AsyncIterable<void>;
  /** Returns the result of the tests. */
  test(
    directory: string,
    options: {
      runners: readonly string[] | null;
      signal: AbortSignal;
      onOutput(stream: "stdout" | "stderr" | "system", text: string): void;
    },
  ): Promise<object>;
}

/** What a command may use of its process. */
export interface Terminal {
  author: Author;
  administer: Administer;
  /** The environment's variables. */
  env: Readonly<Record<string, string | undefined>>;
  stdin: Stream<Readable>;
  stdout: Stream<Writable>;
  stderr: Stream<Writable>;
  /** Aborted when the user wants the command to end (Ctrl-C), or when what reads the output is gone. */
  signal: AbortSignal;
}

/** Writes text or bytes, and waits while the reader is slower than the command. */
export async function write(stream: Writable, text: string | Buffer, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted();
  if (!stream.write(text)) await once(stream, "drain", { signal });
}

/** Reads standard input to its end. */
export async function readInput({ stdin, signal }: Terminal): Promise<string> {
  const chunks: Buffer[] = [];
  const stop = () => stdin.destroy(signal.reason);
  signal.addEventListener("abort", stop);
  try {
    for await (const chunk of stdin) chunks.push(Buffer.from(chunk));
  } finally {
    signal.removeEventListener("abort", stop);
  }
  return Buffer.concat(chunks).toString("utf8");
}

/** Control characters other than tab and newline. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what it looks for.
const controls = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g;
// biome-ignore lint/suspicious/noControlCharactersInRegex: the same.
const controlsButColours = /\u001b(?!\[[\d;]*m)|[\u0000-\u0008\u000b\u000c\u000e-\u001a\u001c-\u001f\u007f-\u009f]/g;

const escaped = (character: string) => `\\x${character.charCodeAt(0).toString(16).padStart(2, "0")}`;

/** Returns the text with its control characters made visible, so that what others wrote cannot steer the terminal. */
export const withoutControls = (text: string): string => text.replace(controls, escaped);

/** The same for the output of actions, which may be coloured. */
export const withoutSteering = (text: string): string => text.replace(controlsButColours, escaped);
