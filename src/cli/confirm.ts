import { once } from "node:events";
import { createInterface } from "node:readline/promises";
import { Failure, UsageFailure } from "./failure.ts";
import type { Terminal } from "./terminal.ts";

/** Throws UsageFailure when there is no terminal to ask on, and no option has agreed. */
export function requireTerminal({ stdin }: Terminal, yes: boolean | undefined, command: string): void {
  if (yes || stdin.isTTY) return;
  throw new UsageFailure(`There is no terminal to ask on: "${command} --yes" goes on without asking.`);
}

/** Asks on the terminal. Throws Failure unless the response is `yes`. */
export async function confirm({ stdin, stderr, signal }: Terminal, question: string): Promise<void> {
  const asking = createInterface({ input: stdin, output: stderr });
  // A terminal in this mode sends Ctrl-C as a character.
  asking.on("SIGINT", () => process.kill(process.pid, "SIGINT"));
  const closed = once(asking, "close").then(() => "");
  try {
    const response = asking.question(`${question} Type "yes" to go on: `, { signal }).catch(() => "");
    const isAgreed = (await Promise.race([response, closed])).trim().toLowerCase() === "yes";
    signal.throwIfAborted();
    if (!isAgreed) throw new Failure("Nothing was changed.");
  } finally {
    asking.close();
  }
}
