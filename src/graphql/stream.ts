import { stoppable } from "../lib/stoppable.ts";

/** A stream's message, or the error that it ends with. */
export type Message<T> = { value: T } | { ending: unknown };

/**
 * A subscription's stream. What the source throws becomes its last message, so that the subscriber gets an error with a
 * code and a completed stream rather than a broken connection.
 */
export function messages<T>(source: (signal: AbortSignal) => AsyncGenerator<T, void>) {
  return stoppable<Message<T>>(async function* (signal) {
    try {
      for await (const value of source(signal)) yield { value };
    } catch (ending) {
      yield { ending };
    }
  });
}

/** The message's value; throws the error that the stream ends with. */
export function unwrap<T>(message: Message<T>): T {
  if ("ending" in message) throw message.ending;
  return message.value;
}
