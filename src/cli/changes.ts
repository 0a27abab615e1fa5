import type { Context } from "./context.ts";
import { Failure, UsageFailure } from "./failure.ts";
import { withoutSteering } from "./terminal.ts";

/**
 * Does the work now, and again after each change of the files in a directory. What fails is printed, and the next change is waited for. It ends with
 * Ctrl-C only.
 */
export async function atEachChange(context: Context, directory: string, work: () => Promise<unknown>): Promise<never> {
  const { author, signal, stderr } = context.terminal;
  for await (const _ of author.changes(directory, signal)) {
    try {
      await work();
    } catch (error) {
      if (signal.aborted || !(error instanceof Failure) || error instanceof UsageFailure) throw error;
      stderr.write(`error: ${withoutSteering(error.message)}\n`);
    }
    signal.throwIfAborted();
    context.note(`Waiting for changes in ${directory}; Ctrl-C ends.`);
  }
  throw new Error("the changes of a directory have no end");
}
